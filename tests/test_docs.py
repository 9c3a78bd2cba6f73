"""The documents: every relative link leads somewhere, and every command line is one that the program takes."""

from __future__ import annotations

import re
import shlex
from pathlib import Path

import pytest
from typer.main import get_command

from cli import COMMANDS, app
from commands.console import FAILED, INTERRUPTED, WRONG_USAGE

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


def test_the_cards_are_those_of_the_committed_weights(monkeypatch):
    monkeypatch.syspath_prepend(str(ROOT / "docs"))
    import cards

    assert cards.CARDS.read_text() == cards.cards(), "Next: python docs/cards.py"


def test_every_command_of_the_pages_that_stop_and_print_is_named():
    page = (ROOT / "docs/commands.md").read_text()
    unnamed = {command.__name__ for command in COMMANDS} - {"info", "doctor", "serve", "report"}
    assert {name for name in unnamed if f"`{name}`" not in page.partition("## Ctrl-C")[2]} == set()


def test_every_command_but_serve_prints_json():
    commands = get_command(app).commands
    without = [name for name, command in commands.items() if "--json" not in str([p.opts for p in command.params])]
    assert without == ["serve"]


def test_the_exit_codes_are_those_of_the_program():
    page = (ROOT / "docs/commands.md").read_text()
    codes = set(map(int, re.findall(r"^\| (\d+) \|", page, re.MULTILINE)))
    assert codes == {0, FAILED, WRONG_USAGE, INTERRUPTED}
