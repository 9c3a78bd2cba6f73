from __future__ import annotations

import json
from pathlib import Path

from analysis.load.plots import parts_chart, time_chart
from analysis.load.runs import load_run
from analysis.load.summary import RunSummary, summarise
from analysis.plots import static_svg
from contract.timing import PARTS


def summary_of(build, folder: Path, **options) -> RunSummary:
    return summarise(load_run(build.write(folder, **options)))


def rows_of(spec) -> list[dict]:
    (rows,) = spec["datasets"].values()
    return rows


def test_a_time_chart_holds_every_valid_median_with_its_interval(build, tmp_path: Path) -> None:
    summary = summary_of(build, tmp_path, resolutions_px=(28, 64))
    for quantity, name in (("response", "response_p50_ns"), ("infer", "infer_p50_ns")):
        rows = rows_of(time_chart(summary, "closed_loop", quantity))
        expected = [getattr(contender.figures, name) for contender in summary.of_scenario("closed_loop")]
        assert [(row["value_ms"], row["low_ms"], row["high_ms"]) for row in rows] == [
            (figure.value / 1e6, figure.low / 1e6, figure.high / 1e6) for figure in expected
        ]


def test_an_invalid_cell_is_a_gap_and_not_a_bridge(build, tmp_path: Path) -> None:
    def drop(cell, records, outcome):
        return records, None if cell.resolution_px == 64 else outcome

    summary = summary_of(build, tmp_path, runtimes=("pytorch",), resolutions_px=(28, 64, 128), edit=drop)
    values = [row["value_ms"] for row in rows_of(time_chart(summary, "closed_loop", "response"))]
    assert [value is None for value in values] == [False, True, False]


def test_without_numbers_there_is_no_chart(build, tmp_path: Path) -> None:
    summary = summary_of(build, tmp_path, edit=lambda cell, records, outcome: (records, None))
    assert time_chart(summary, "closed_loop", "response") is None
    assert parts_chart(summary, "closed_loop", 28) is None


def test_a_parts_chart_stacks_every_part_and_the_network(build, tmp_path: Path) -> None:
    summary = summary_of(build, tmp_path, runtimes=("pytorch",))
    rows = rows_of(parts_chart(summary, "closed_loop", 28))
    assert len(rows) == len(PARTS) + 1
    figures = summary.contenders[0].figures
    stacked = sum(row["value_ms"] for row in rows)
    assert abs(stacked - figures.round_trip_p50_ns.value / 1e6) < 0.05 * stacked


def test_a_chart_is_the_same_text_every_time_and_names_no_address(build, tmp_path: Path) -> None:
    summary = summary_of(build, tmp_path)
    first, second = (json.dumps(time_chart(summary, "closed_loop", "response")) for _ in range(2))
    assert first == second
    assert "http" not in first


def test_charts_can_be_drawn_without_a_browser(build, tmp_path: Path) -> None:
    summary = summary_of(build, tmp_path)
    for spec in (time_chart(summary, "closed_loop", "infer"), parts_chart(summary, "closed_loop", 28)):
        svg = static_svg(spec, 400)
        assert svg.startswith("<svg")
        assert "PyTorch" in svg
        assert "currentColor" in svg  # the page's text colour, light or dark
        assert " id=" not in svg  # several drawings share a page, and ids would collide
