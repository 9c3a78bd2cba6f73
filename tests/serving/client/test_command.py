"""`hemabench classify` of a folder: its last line and its exit code."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[3]


@pytest.fixture
def classify(tmp_path, serving_null):
    """``classify(name)`` runs the command on the folder of that name; ``p.csv`` beside it gets the rows."""

    def run(folder, *words):
        places = [str(tmp_path / folder), "--url", serving_null.url, "--out", str(tmp_path / "p.csv")]
        command = [sys.executable, "-m", "cli", "classify", *places, *words]
        return subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=False)

    return run


@pytest.fixture
def cells(tmp_path, cell_png):
    """A folder with one image and three files that are none."""
    folder = tmp_path / "cells"
    folder.mkdir()
    (folder / "a.png").write_bytes(cell_png)
    (folder / "b.txt").write_text("no image")
    (folder / "c.txt").write_text("no image")
    (folder / "d.png").write_bytes(cell_png[:-9])
    return folder


def test_the_last_line_counts_and_names_the_commonest_refusals(cells, classify):
    for counts in ("1 answered, 3 refused, 0 there already", "0 answered, 0 refused, 4 there already"):
        shown = classify("cells")
        assert shown.returncode == 0, shown.stderr
        (line,) = shown.stdout.splitlines()
        assert line.endswith(
            f"p.csv: {counts}; in all 0 out of distribution, refused: unsupported_image 2, corrupt_image 1"
        )


def test_where_nothing_was_answered_the_command_fails_and_its_counts_are_printed(cells, classify):
    (cells / "a.png").unlink()
    shown = classify("cells", "--json")
    assert shown.returncode == 1
    counts = json.loads(shown.stdout)
    assert (counts["answered"], counts["out_of_distribution"]) == (0, 0)
    assert counts["refusals"] == {"unsupported_image": 2, "corrupt_image": 1}
    message = shown.stderr.splitlines()[-1]
    assert message.startswith("error: no file below ")
    assert "Next: see why under error_message in" in message
