from __future__ import annotations

import io
import json
from pathlib import Path

from rich.console import Console, RenderableType

from analysis.load.runs import load_run
from analysis.load.summary import RunSummary, summarise
from analysis.load.tables import findings_table, scenario_table, summary_as_json, summary_tables
from analysis.wording import value_of
from contract.blood_cells import NOTICE


def summary_of(build, folder: Path, **options) -> RunSummary:
    return summarise(load_run(build.write(folder, **options)))


def printed(renderable: RenderableType, width: int = 160) -> str:
    console = Console(width=width, record=True, file=io.StringIO())
    console.print(renderable)
    return console.export_text()


def test_the_terminal_shows_answer_times_and_notice(build, tmp_path: Path) -> None:
    summary = summary_of(build, tmp_path)
    text = printed(summary_tables(summary))
    assert NOTICE in text
    for contender in summary.contenders:
        assert value_of(contender.figures.response_p50_ns, "bare_ms") in text
    assert "baseline" in text


def test_an_invalid_cell_has_a_verdict_and_no_number(build, tmp_path: Path) -> None:
    def spoil(cell, records, outcome):
        return records, build.outcome(cell, records, dropped=7)

    summary = summary_of(build, tmp_path, runtimes=("pytorch",), edit=spoil)
    (row,) = [
        line
        for line in printed(scenario_table(summary, "closed_loop")).splitlines()
        if "PyTorch" in line and "28" in line
    ]
    assert "invalid" in row
    assert "." not in row
    assert "7 arrivals" in printed(findings_table(summary))


def test_a_warning_is_said_once_with_all_its_cells(build, tmp_path: Path) -> None:
    text = printed(findings_table(summary_of(build, tmp_path, requests=300)))
    assert text.count("too few for p99") == 1
    assert "pytorch-28px" in text
    assert "onnx-28px" in text


def test_brackets_in_recorded_text_are_not_markup(build, tmp_path: Path) -> None:
    def fail(cell, records, outcome):
        return records, build.outcome(cell, records, error="[bold]lost [/nothing]")

    summary = summary_of(build, tmp_path, runtimes=("[red]",), edit=fail)
    assert "[bold]lost [/nothing]" in printed(summary_tables(summary), width=200)


def test_rendered_images_are_announced(build, tmp_path: Path) -> None:
    assert "accuracy is not" in printed(summary_tables(summary_of(build, tmp_path, data_is_real=False)))


def test_the_json_form_holds_every_estimate_with_interval_and_n(build, tmp_path: Path) -> None:
    summary = summary_of(build, tmp_path, requests=300)
    written = json.loads(summary_as_json(summary))
    for contender, expected in zip(written["contenders"], summary.contenders, strict=True):
        figure = expected.figures.response_p50_ns
        assert contender["figures"]["response_p50_ns"] == {
            "value": figure.value,
            "low": figure.low,
            "high": figure.high,
            "n": figure.n,
            "of": "requests",
        }
        assert contender["figures"]["response_p99_ns"]["reason"]
        assert contender["cells"][0]["verdict"]["status"] == "valid"
