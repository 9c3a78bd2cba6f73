"""docs/api.md says what is true: its commands are run, its table is the table of codes."""

from __future__ import annotations

import re
import shlex
import subprocess
import sys
from pathlib import Path

import msgspec
import pytest

from contract.blood_cells import LABELS, NOTICE
from serving.http.codes import CODES

ROOT = Path(__file__).parents[2]
PAGE = (ROOT / "docs" / "api.md").read_text()
DOCUMENTED_URL = "http://127.0.0.1:3000"


def blocks(language):
    return re.findall(rf"^```{language}\n(.*?)^```", PAGE, flags=re.MULTILINE | re.DOTALL)


@pytest.fixture
def folder(tmp_path, cell_png):
    (tmp_path / "cell.png").write_bytes(cell_png)
    (tmp_path / "other.jpg").write_bytes(cell_png)
    (tmp_path / "notes.txt").write_text("no image")
    return tmp_path


@pytest.mark.parametrize("command", [block for block in blocks("sh") if block.startswith("curl")])
def test_every_curl_line_is_answered(command, folder, serving_null):
    words = shlex.split(command.replace(DOCUMENTED_URL, serving_null.url))
    answered = subprocess.run([*words, "--silent"], cwd=folder, capture_output=True, check=True).stdout
    answer = msgspec.json.decode(answered)
    assert answer["notice"] == NOTICE
    outcomes = [result["outcome"] for result in answer.get("results", [])]
    assert outcomes == (["answer", "answer", "error"] if command.count("-F") == 3 else [])


def said_by(code, folder, service):
    environment = {"PYTHONPATH": str(ROOT)}
    command = [sys.executable, "-c", code.replace(DOCUMENTED_URL, service.url)]
    return subprocess.run(command, cwd=folder, env=environment, capture_output=True, text=True, check=True).stdout


def test_the_python_examples_run(folder, serving_null):
    with_bentoml, own = sorted(blocks("python"), key=lambda code: "import bentoml" not in code)
    said = said_by(own, folder, serving_null)
    assert len(said.splitlines()) == 3
    assert "unsupported_image" in said
    assert said_by(with_bentoml, folder, serving_null).strip() in LABELS


def test_the_table_is_the_table_of_codes():
    lines = [f"| {code.status} | `{name}` | {code.meaning} |" for name, code in CODES.items()]
    (table,) = re.findall(r"<!-- codes -->\n(.*?)<!-- /codes -->", PAGE, flags=re.DOTALL)
    assert table.splitlines()[2:] == lines, "\n".join(lines)
