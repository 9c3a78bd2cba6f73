"""The documents: every relative link leads somewhere, and every command line is one that the program takes."""

from __future__ import annotations

import re
import shlex
from pathlib import Path

import pytest
from typer.main import get_command

from cli import app

ROOT = Path(__file__).parents[1]
DOCUMENTS = [ROOT / "README.md", ROOT / "CONTRIBUTING.md", *sorted((ROOT / "docs").rglob("*.md"))]
# Decisions tell of commands that were turned down or are no more.
CURRENT = [path for path in DOCUMENTS if path.parent.name != "decisions"]
LINK = re.compile(r"\]\(([^)\s#]+)(?:#[^)]*)?\)")
INDENTED = re.compile(r"^ {4,}(?:\$ )?(?:\.venv/bin/)?(hemabench .+)$", re.MULTILINE)
QUOTED = re.compile(r"`(hemabench [^`\n]+)`")


def name_of(path: Path) -> str:
    return path.relative_to(ROOT).as_posix()


def command_lines(text: str) -> list[str]:
    """Lines and quotations that begin with the program's name; a backslash joins a line to the next."""
    joined = re.sub(r"\\\n\s*", " ", text)
    return [re.sub(r"\s+#.*", "", line).strip() for line in INDENTED.findall(joined) + QUOTED.findall(joined)]


def unknown_parts(line: str) -> list[str]:
    """What the program would not know in ``line``: its command, or an option."""
    words = shlex.split(line)[1:]
    commands = get_command(app).commands
    if words[0].startswith("-"):
        return [word for word in words if word not in {"--help", "-h", "--install-completion", "--show-completion"}]
    if words[0] not in commands:
        return [words[0]]
    options = {"--help", "-h"}
    for parameter in commands[words[0]].params:
        options |= {*parameter.opts, *parameter.secondary_opts}
    return [word for word in words[1:] if re.match(r"--?[a-z]", word) and word.partition("=")[0] not in options]


@pytest.mark.parametrize("document", DOCUMENTS, ids=name_of)
def test_every_relative_link_leads_somewhere(document):
    links = [link for link in LINK.findall(document.read_text()) if not re.match(r"[a-z]+:", link)]
    assert [link for link in links if not (document.parent / link).exists()] == []


@pytest.mark.parametrize("document", CURRENT, ids=name_of)
def test_every_command_line_is_one_that_the_program_takes(document):
    unknown = {line: found for line in command_lines(document.read_text()) if (found := unknown_parts(line))}
    assert unknown == {}


def test_an_option_that_is_not_there_is_found():
    (line,) = command_lines("    hemabench serve --runtime onnx --colour red  # a comment\n")
    assert unknown_parts(line) == ["--colour"]
    assert unknown_parts("hemabench frobnicate") == ["frobnicate"]


def test_the_index_names_every_document():
    index = (ROOT / "docs/README.md").read_text()
    named = {"README.md", *LINK.findall(index)}
    assert [path.name for path in (ROOT / "docs").glob("*.md") if path.name not in named] == []
