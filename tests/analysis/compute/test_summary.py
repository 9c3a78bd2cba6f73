from __future__ import annotations

from dataclasses import replace

import pytest

from analysis.compute.claims import fastest_sentences
from analysis.compute.summary import summarise_compute
from analysis.compute.verdicts import growth_faults
from analysis.statistics import Absent, Estimate
from contract.errors import InvalidSettings
from contract.records.compute import Shape

SMALL = Shape(resolution_px=28, batch=1)
LARGE = Shape(resolution_px=224, batch=8)


def cell(summary, runtime="pytorch", shape=SMALL):
    found = summary.cell(runtime, 1, shape)
    assert found is not None
    return found


def test_a_median_and_a_ratio_are_what_was_measured(make_run):
    summary = summarise_compute(make_run())
    jax = cell(summary, "jax", LARGE)
    expected = (0.5 + 0.0001 * 224**2 * 8) / (0.1 + 0.0002 * 224**2 * 8)
    assert jax.ratio.low <= jax.ratio.value <= jax.ratio.high
    assert jax.ratio.value == pytest.approx(expected, rel=0.02)
    assert (jax.ratio.n, jax.ratio.of) == (3, "processes")
    assert jax.p50_ns.value == pytest.approx(1e6 * (0.5 + 0.0001 * 224**2 * 8), rel=0.01)
    assert jax.images_per_s.value == pytest.approx(8 / (jax.p50_ns.value / 1e9), rel=0.02)
    assert jax.valid


def test_a_percentile_that_takes_more_calls_is_not_printed(make_run):
    few = cell(summarise_compute(make_run()))
    assert isinstance(few.p50_ns, Estimate)
    assert isinstance(few.p99_ns, Absent)
    assert "calls" in few.p99_ns.reason
    many = cell(summarise_compute(make_run(calls=400)))
    assert isinstance(many.p99_ns, Estimate)


def test_the_interval_of_a_percentile_holds_every_process_where_they_differ(make_run):
    run = make_run()
    slower = {1: 1, 2: 2, 3: 3}
    blocks = tuple(
        replace(block, took_ns=tuple(took * slower[block.sitting.repetition] for took in block.took_ns))
        for block in run.blocks
    )
    found = cell(summarise_compute(replace(run, blocks=blocks)), "jax", LARGE).p50_ns
    plain = cell(summarise_compute(run), "jax", LARGE).p50_ns
    assert (found.low, found.high) == pytest.approx((plain.value, 3 * plain.value), rel=0.02)
    assert "3 processes" in found.of


def test_one_process_has_times_and_no_interval_over_processes(make_run):
    alone = cell(summarise_compute(make_run(processes=1)), "jax")
    assert isinstance(alone.p50_ns, Estimate)
    assert isinstance(alone.images_per_s, Absent)


def test_the_harness_costs_what_the_null_runtime_takes(make_run):
    assert summarise_compute(make_run()).harness_ns.value == pytest.approx(1_000, rel=0.05)


def test_another_baseline_turns_the_ratio_round(make_run):
    there, back = (summarise_compute(make_run(), baseline=name) for name in ("pytorch", "jax"))
    assert cell(there, "jax", LARGE).ratio.value == pytest.approx(1 / cell(back, "pytorch", LARGE).ratio.value)


def test_a_baseline_that_was_not_measured_is_refused(make_run):
    with pytest.raises(InvalidSettings, match="pytorch, jax, null"):
        summarise_compute(make_run(), baseline="onnx")


def test_the_same_run_gives_the_same_summary(make_run):
    assert summarise_compute(make_run()).cells == summarise_compute(make_run()).cells


def test_a_clock_that_stops_too_early_fails_the_self_test(make_run):
    def queued_only(runtime: str, shape: Shape) -> float:
        return 0.05 if runtime == "jax" else 0.1 + 0.0002 * shape.resolution_px**2 * shape.batch

    summary = summarise_compute(make_run(queued_only))
    faults = [one for one in summary.cells if one.runtime == "jax" and not one.valid]
    assert faults
    assert all("something else was timed" in reason for one in faults for reason in one.reasons)
    assert all(one.valid for one in summary.cells if one.runtime == "pytorch")
    assert not [row for row in summary.crossings if row.batch == 8]  # no fit is drawn through them


def test_a_gpu_may_take_as_long_for_eight_images_as_for_one_but_not_for_a_thousand_times_the_work():
    one, eight, many = SMALL, Shape(resolution_px=28, batch=8), Shape(resolution_px=224, batch=128)
    medians = {("pytorch", 1, shape): Estimate(6e4, 5.9e4, 6.1e4, 100) for shape in (one, eight, many)}
    assert growth_faults(("pytorch", 1, eight), medians, "cuda") == []
    assert len(growth_faults(("pytorch", 1, eight), medians, "cpu")) == 1
    assert len(growth_faults(("pytorch", 1, many), medians, "cuda")) == 2


def test_compiling_while_calls_are_timed_makes_a_cell_invalid(make_run):
    run = make_run(change=lambda block: replace(block, compilations=1 if block.runtime == "jax" else 0))
    summary = summarise_compute(run)
    assert all(one.valid == (one.runtime != "jax") for one in summary.cells)
    assert "3 programs were compiled" in cell(summary, "jax").reasons[0]
    assert {row.runtime for row in summary.scalings} == {"pytorch"}


def test_nothing_is_compared_with_an_invalid_baseline(make_run):
    run = make_run(change=lambda block: replace(block, compilations=1 if block.runtime == "pytorch" else 0))
    jax = cell(summarise_compute(run), "jax")
    assert jax.valid
    assert isinstance(jax.ratio, Absent)


def test_sleepers_that_do_not_sleep_are_named(make_run):
    run = make_run(change=lambda block: replace(block, sleepers_cpu_ns=block.wall_ns // 4))
    assert any("25% of a core" in warning for warning in cell(summarise_compute(run), shape=LARGE).warnings)


def test_a_process_that_did_not_get_its_core_is_named(make_run):
    run = make_run(change=lambda block: replace(block, cpu_ns=block.wall_ns // 2))
    assert any("got 50% of a core" in warning for warning in cell(summarise_compute(run)).warnings)


def test_processes_that_disagree_are_named(make_run):
    def slow_third(block):
        factor = 2 if block.sitting.repetition == 3 else 1
        return replace(block, took_ns=tuple(factor * took for took in block.took_ns))

    summary = summarise_compute(make_run(change=slow_third))
    assert any("differ by 2.0" in warning for warning in cell(summary).warnings)


def test_a_runtime_overtakes_another_where_it_does(make_run):
    summary = summarise_compute(make_run())
    (row,) = [row for row in summary.crossings if row.batch == 1]
    assert (row.crossing.faster_below, row.crossing.faster_above) == ("pytorch", "jax")
    assert 60 <= row.crossing.resolution_px.value <= 68  # 0.1 + 2 x = 0.5 + x at 63.2 px


def test_a_network_that_is_not_in_the_table_has_no_limit(make_run):
    run = make_run()
    artifacts = tuple(replace(facts, model="tiny") for facts in run.plan.artifacts)
    assert cell(summarise_compute(replace(run, plan=replace(run.plan, artifacts=artifacts)))).reached is None


def test_one_process_has_no_interval_around_its_first_call_and_its_start(make_run):
    alone = summarise_compute(make_run(processes=1))
    assert all(isinstance(one.first_call_ns, Absent) for one in alone.cells)
    assert all(isinstance(one.import_ns, Absent) for one in alone.starts)


def test_runtimes_that_are_as_fast_as_each_other_are_named_together(make_run):
    def alike(runtime, shape):
        return 0.001 if runtime == "null" else 0.1 + 0.0002 * shape.resolution_px**2 * shape.batch

    level, apart = (fastest_sentences(summarise_compute(run)) for run in (make_run(alike), make_run()))
    assert len(level) == len(apart) == 2
    assert all("cannot be told apart" in said and "is the fastest" not in said for said in level)
    assert all("is the fastest" in said for said in apart)
