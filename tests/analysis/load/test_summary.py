from __future__ import annotations

from pathlib import Path

import pytest

from analysis.load.runs import load_run
from analysis.load.summary import RunSummary, summarise
from analysis.statistics import Absent, Estimate
from contract.errors import InvalidSettings


def summary_of(build, folder: Path, *, baseline: str | None = None, **options) -> RunSummary:
    return summarise(load_run(build.write(folder, **options)), baseline=baseline)


def drop(*names: str):
    """An edit that leaves the named cells without an outcome."""
    return lambda cell, records, outcome: (records, None if cell.name in names else outcome)


def test_every_planned_cell_is_in_the_summary_once(build, tmp_path: Path) -> None:
    summary = summary_of(
        build, tmp_path, resolutions_px=(28, 64), scenarios=("closed_loop", "open_loop"), repetitions=2, requests=100
    )
    assert sorted(cell.cell.name for cell in summary.cells) == sorted(cell.name for cell in summary.plan.cells)
    assert summary.count("valid") == len(summary.plan.cells) == 16
    assert summary.resolutions_px == (28, 64)
    assert summary.scenarios == ("closed_loop", "open_loop")


def test_ratios_are_to_the_baseline_at_the_same_resolution(build, tmp_path: Path) -> None:
    summary = summary_of(build, tmp_path, resolutions_px=(28, 64))
    for contender in summary.contenders:
        base = next(
            other
            for other in summary.contenders
            if (other.runtime, other.resolution_px) == ("pytorch", contender.resolution_px)
        )
        ratio = contender.response_ratio
        assert isinstance(ratio, Estimate)
        assert ratio.value == contender.figures.response_p50_ns.value / base.figures.response_p50_ns.value
        assert ratio.low <= ratio.value <= ratio.high


def test_another_baseline_can_be_named(build, tmp_path: Path) -> None:
    summary = summary_of(build, tmp_path, baseline="onnx")
    pytorch = next(contender for contender in summary.contenders if contender.runtime == "pytorch")
    assert isinstance(pytorch.response_ratio, Estimate)
    assert pytorch.response_ratio.value > 1


def test_an_unknown_baseline_is_refused_with_the_known_ones(build, tmp_path: Path) -> None:
    with pytest.raises(InvalidSettings, match="choose one of: pytorch, onnx"):
        summary_of(build, tmp_path, baseline="caffe")


def test_a_run_without_the_usual_baseline_takes_its_first_runtime(build, tmp_path: Path) -> None:
    assert summary_of(build, tmp_path, runtimes=("jax", "onnx")).baseline == "jax"


def test_without_a_valid_baseline_there_is_no_ratio(build, tmp_path: Path) -> None:
    summary = summary_of(build, tmp_path, edit=drop("pytorch-28px-closed_loop-r1"))
    pytorch, onnx = summary.contenders
    assert pytorch.status == "missing"
    assert pytorch.figures is None
    assert isinstance(onnx.response_ratio, Absent)
    assert "baseline pytorch" in onnx.response_ratio.reason


def test_a_contender_with_one_valid_repetition_is_valid_on_that_one(build, tmp_path: Path) -> None:
    summary = summary_of(
        build, tmp_path, runtimes=("pytorch",), repetitions=2, edit=drop("pytorch-28px-closed_loop-r2")
    )
    (contender,) = summary.contenders
    assert contender.status == "valid"
    assert contender.requests == 900
    assert contender.figures.response_p50_ns.of == "requests"
    assert summary.count("missing") == 1


def test_an_invalid_cell_has_no_figures_but_its_records_are_counted(build, tmp_path: Path) -> None:
    def fail(cell, records, outcome):
        records = [build.failed(records[40]), *records[:40], *records[41:]]
        return records, build.outcome(cell, records)

    (contender,) = summary_of(build, tmp_path, runtimes=("pytorch",), edit=fail).contenders
    assert contender.status == "invalid"
    assert contender.figures is None
    assert contender.cells[0].recorded == 930


def test_the_lead_names_the_fastest_and_compares_it_with_the_baseline(build, tmp_path: Path) -> None:
    (lead,) = summary_of(build, tmp_path, runtimes=("pytorch", "tensorflow", "onnx")).leads
    assert (lead.fastest, lead.level_with, lead.versus) == ("onnx", (), "pytorch")
    assert isinstance(lead.ratio, Estimate)
    assert lead.ratio.low > 1.3


def test_contenders_within_the_noise_are_level(build, tmp_path: Path) -> None:
    # Not in the builder's table, so both take the same time.
    (lead,) = summary_of(build, tmp_path, runtimes=("twin_a", "twin_b", "onnx"), baseline="onnx").leads
    assert lead.fastest == "onnx"
    (lead,) = summary_of(build, tmp_path / "twins", runtimes=("twin_a", "twin_b")).leads
    assert {lead.fastest, *lead.level_with} == {"twin_a", "twin_b"}


def test_a_leading_baseline_is_compared_with_the_runner_up(build, tmp_path: Path) -> None:
    (lead,) = summary_of(build, tmp_path, runtimes=("pytorch", "tensorflow")).leads
    assert (lead.fastest, lead.versus) == ("pytorch", "tensorflow")


def test_a_single_runtime_leads_nobody(build, tmp_path: Path) -> None:
    (lead,) = summary_of(build, tmp_path, runtimes=("pytorch",)).leads
    assert lead.versus is None
    assert isinstance(lead.ratio, Absent)


def test_the_same_folder_gives_the_same_numbers(build, tmp_path: Path) -> None:
    build.write(tmp_path, requests=200)
    assert summarise(load_run(tmp_path)) == summarise(load_run(tmp_path))


def test_one_cell_more_changes_no_figure_of_the_others(build, tmp_path: Path) -> None:
    few = summary_of(build, tmp_path / "few", runtimes=("pytorch", "onnx"))
    more = summary_of(build, tmp_path / "more", runtimes=("pytorch", "onnx", "jax"))
    assert few.contenders == tuple(contender for contender in more.contenders if contender.runtime != "jax")


def test_tables_keep_one_order_whatever_the_order_of_measuring_was(build, tmp_path: Path) -> None:
    runtimes, scenarios = ("strange", "onnx", "pytorch"), ("open_loop", "closed_loop")
    summary = summary_of(build, tmp_path, runtimes=runtimes, resolutions_px=(64, 28), scenarios=scenarios, requests=50)
    assert summary.runtimes == ("pytorch", "onnx", "strange")
    assert summary.scenarios == ("closed_loop", "open_loop")
    assert [contender.resolution_px for contender in summary.of_scenario("open_loop")] == [28] * 3 + [64] * 3
