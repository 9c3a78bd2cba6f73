"""The README's commands are run, against a service of their own."""

from __future__ import annotations

import json
import re
import shlex
import shutil
import socket
import subprocess
import sys
import time
import urllib.request
from collections.abc import Iterator
from pathlib import Path

import pytest
from PIL import Image

from cli import COMMANDS
from contract.blood_cells import LABELS
from contract.progress import silent
from train.export import ExportSettings, export_all
from train.sources.synthetic import render_cells

ROOT = Path(__file__).parents[1]
README = (ROOT / "README.md").read_text()
# Indented lines are commands; two or more spaces and a hash begin their comment.
LINES = [re.sub(r"\s+# .*", "", line.strip()) for line in README.splitlines() if line.startswith("    ")]


def lines_starting(*beginnings: str) -> list[str]:
    found = [line for line in LINES if line.startswith(beginnings)]
    assert found, f"the README has no line that starts with {beginnings}"
    return found


@pytest.fixture(scope="module")
def artifacts(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("artifacts")
    export_all(ExportSettings(resolutions_px=(28, 64), formats=("onnx", "stablehlo"), artifacts=folder), silent)
    return folder


@pytest.fixture(scope="module")
def port(artifacts: Path) -> Iterator[int]:
    """Where the README's own `hemabench serve` line listens, with the port and the artifacts of this test."""
    with socket.create_server(("127.0.0.1", 0)) as free:
        number = free.getsockname()[1]
    (line,) = lines_starting(".venv/bin/hemabench serve")
    command = in_this_environment(line, number, Path())
    with subprocess.Popen([*command, "--artifacts", str(artifacts)], cwd=ROOT) as process:
        wait_until_ready(number, process)
        yield number
        process.terminate()


def wait_until_ready(port: int, process: subprocess.Popen[bytes]) -> None:
    until = time.monotonic() + 120
    while True:
        try:
            with urllib.request.urlopen(f"http://127.0.0.1:{port}/readyz", timeout=1):
                return
        except OSError:
            assert process.poll() is None, "the service ended"
            assert time.monotonic() < until, "the service was not ready in time"
            time.sleep(0.1)


@pytest.fixture
def cell(tmp_path: Path) -> Path:
    images, _ = render_cells(1, 200, seed=4)
    path = tmp_path / "cell.png"
    Image.fromarray(images[0]).save(path)
    return path


def in_this_environment(line: str, port: int, cell: Path) -> list[str]:
    """The words of ``line`` with this interpreter, this port and this image."""
    words = shlex.split(line.replace("3000", str(port)).replace("cell.png", str(cell)))
    if words[0].endswith("hemabench"):
        words[:1] = [sys.executable, "-m", "cli"]
    return words


def test_the_first_two_commands_are_the_two_that_matter():
    assert [line for line in LINES if line][:2] == ["make run", "make test"]


@pytest.mark.parametrize("line", lines_starting("make "))
def test_make_knows_its_targets(line):
    shown = subprocess.run([*shlex.split(line), "-n"], cwd=ROOT, capture_output=True, text=True, check=False)
    assert shown.returncode == 0, shown.stderr


@pytest.mark.parametrize("setting", ["PROFILE=quick", "DATA_ROOT=folder", "TRAIN=1", "DEVICE=cuda"])
def test_make_takes_the_settings_that_the_readme_lists(setting):
    assert setting in README
    plain, given = (
        subprocess.run(["make", "-n", "-B", "run", *more], cwd=ROOT, capture_output=True, text=True, check=True).stdout
        for more in ([], [setting])
    )
    assert setting.startswith("DATA_ROOT") or plain != given  # the data root travels as an environment variable


def test_every_command_is_in_the_readme():
    assert [name for name in (command.__name__ for command in COMMANDS) if f"`hemabench {name}`" not in README] == []


@pytest.mark.skipif(shutil.which("curl") is None, reason="curl is not installed")
@pytest.mark.parametrize("line", lines_starting("curl"))
def test_curl_gets_an_answer(line, port, cell):
    answered = subprocess.run(
        [*in_this_environment(line, port, cell), "--silent"], capture_output=True, text=True, check=True
    )
    answer = json.loads(answered.stdout)
    assert answer["model"]["resolution"] == 64
    assert answer["notice"].startswith("Research use only")


@pytest.mark.parametrize("line", lines_starting(".venv/bin/hemabench classify"))
def test_classify_gets_an_answer(line, port, cell, artifacts):
    command = [*in_this_environment(line, port, cell), "--artifacts", str(artifacts)]
    shown = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=False)
    assert shown.returncode == 0, shown.stderr
    assert "Research use only" in shown.stdout
    assert "%" in shown.stdout


def test_the_python_example_gets_an_answer(port, cell):
    (code,) = re.findall(r"```python\n(.+?)```", README, re.DOTALL)
    code = code.replace("3000", str(port)).replace("cell.png", str(cell))
    shown = subprocess.run([sys.executable, "-c", code], cwd=ROOT, capture_output=True, text=True, check=False)
    assert shown.returncode == 0, shown.stderr
    label, probability, _ = shown.stdout.split()
    assert label in LABELS
    assert 1 / 8 <= float(probability) <= 1


def test_a_folder_is_counted_for_programs_too(port, cell, tmp_path):
    out = tmp_path / "predictions.csv"
    words = ["classify", str(cell.parent), "--url", f"http://127.0.0.1:{port}", "--out", str(out), "--json"]
    command = [sys.executable, "-m", "cli", *words]
    shown = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=False)
    assert shown.returncode == 0, shown.stderr
    counts = {"answered": 1, "refused": 0, "skipped": 0, "out_of_distribution": 0, "refusals": {}}
    assert json.loads(shown.stdout) == {"out": str(out), **counts}
