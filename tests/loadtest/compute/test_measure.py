from __future__ import annotations

from dataclasses import replace
from itertools import pairwise

import pytest

from analysis.compute.runs import load_compute_run
from contract.errors import RunInvalid
from contract.records.compute import BLOCKS_FILE, LIMITS_FILE, SITTING_FILE
from loadtest.compute.measure import EVENT_CALLS, LONG_CALL_NS, SETTLING_CALLS, event_calls, measure_compute
from loadtest.compute.planning import ComputeSettings, plan_compute, profile_named

RUNTIMES = {"onnx", "null"}


@pytest.fixture(scope="module")
def small_run(tiny_artifacts, tmp_path_factory):
    settings = ComputeSettings(
        profile=replace(profile_named("smoke"), processes=2, block_ms=5),
        artifacts=tiny_artifacts,
        runtimes=("onnx",),
        threads=(1,),
        results=tmp_path_factory.mktemp("results"),
        run="small",
        command="hemabench compute",
    )
    return settings, measure_compute(settings)


def test_a_run_holds_every_shape_of_every_process(small_run):
    run = load_compute_run(small_run[1])
    assert run.missing == ()
    assert {(start.runtime, start.sitting.repetition) for start in run.starts} == {
        (n, r) for n in RUNTIMES for r in (1, 2)
    }
    assert len(run.first_calls) == len(RUNTIMES) * 2 * len(run.plan.shapes)
    assert len(run.blocks) == len(run.first_calls) * run.plan.rounds
    assert all(run.plan.fewest_calls <= len(block.took_ns) <= run.plan.most_calls for block in run.blocks)


def test_a_cards_own_clock_times_no_more_calls_than_a_block_holds(tmp_path):
    plan = plan_compute(ComputeSettings(profile=profile_named("card"), artifacts=tmp_path, runtimes=("null",)))
    assert event_calls(plan, expected_ns=plan.block_ns // 1_000) == EVENT_CALLS
    assert event_calls(plan, expected_ns=plan.block_ns // 5) == 5
    assert event_calls(plan, expected_ns=plan.block_ns * 10) == plan.fewest_calls


def test_turns_are_interleaved(small_run):
    run = load_compute_run(small_run[1])
    order = [block.runtime for block in run.blocks if block.sitting.repetition == 1]
    changes = sum(one != other for one, other in pairwise(order))
    assert changes > len(RUNTIMES) * run.plan.rounds  # more than one runtime after another would have


def test_a_runtime_that_compiles_has_its_caches_settled_like_any_other(tiny_artifacts_of, tmp_path):
    pytest.importorskip("jax")
    settings = ComputeSettings(
        profile=replace(profile_named("smoke"), processes=1, rounds=1, block_ms=5),
        artifacts=tiny_artifacts_of("stablehlo"),
        runtimes=("jax",),
        threads=(1,),
        results=tmp_path,
    )
    run = load_compute_run(measure_compute(settings))
    compiled = {(one.runtime, one.shape) for one in run.first_calls if one.took_ns > LONG_CALL_NS}
    assert compiled
    assert {len(block.settling_ns) for block in run.blocks if (block.runtime, block.shape) in compiled} == {
        SETTLING_CALLS
    }


def test_the_limits_are_of_the_threads_that_were_measured(small_run):
    (limits,) = load_compute_run(small_run[1]).limits
    assert limits.threads == 1
    assert {peak.precision for peak in limits.peaks} >= {"float32"}
    assert all(min(peak.took_ns) > 0 for peak in limits.peaks)
    assert {"bfloat16", "int8"} <= {peak.precision for peak in limits.peaks} | set(limits.missing)


def test_a_stopped_run_goes_on_with_the_sitting_that_was_not_finished(small_run):
    settings, folder = small_run
    sittings = sorted((folder / "sittings").iterdir())
    untouched = (sittings[0] / BLOCKS_FILE).read_bytes()
    limits = (folder / LIMITS_FILE).read_bytes()
    (sittings[1] / SITTING_FILE).unlink()
    assert [sitting.name for sitting in load_compute_run(folder).missing] == [sittings[1].name]

    measure_compute(replace(settings, resume=True))

    assert load_compute_run(folder).missing == ()
    assert (sittings[0] / BLOCKS_FILE).read_bytes() == untouched
    assert (folder / LIMITS_FILE).read_bytes() == limits
    assert (folder / "discarded" / f"{sittings[1].name}-1" / BLOCKS_FILE).is_file()


def test_a_run_is_not_resumed_with_other_settings(small_run):
    settings, _ = small_run
    with pytest.raises(RunInvalid, match="its seed is 0, now it would be 1"):
        measure_compute(replace(settings, resume=True, seed=1))


def test_a_run_is_not_written_over(small_run):
    with pytest.raises(RunInvalid, match="exists"):
        measure_compute(small_run[0])
