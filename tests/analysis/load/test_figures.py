from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from analysis.load.figures import figures_of, stream
from analysis.load.runs import load_run, pooled
from analysis.statistics import Absent, Estimate, median
from contract.timing import PARTS

KEY = ("pytorch", 28, "closed_loop")


def repetitions(build, folder: Path, **options):
    run = load_run(build.write(folder, runtimes=("pytorch",), **options))
    return run, [recorded.requests.answers() for recorded in run.cells]


def test_times_of_one_repetition_are_those_of_its_requests(build, tmp_path: Path) -> None:
    run, (requests,) = repetitions(build, tmp_path)
    figures = figures_of(run, KEY, [requests])
    assert figures.response_p50_ns == median(requests.response_time_ns)
    assert figures.infer_p50_ns == median(requests.parts_ns["infer"])
    assert figures.network_p50_ns == median(requests.round_trip_time_ns - requests.parts_ns["total"])
    assert isinstance(figures.serving_tax, Estimate)
    assert figures.serving_tax.value == pytest.approx(
        np.median(requests.round_trip_time_ns / requests.parts_ns["infer"]), rel=0.01
    )
    assert set(figures.parts_p50_ns) == set(PARTS)


def test_what_the_client_waited_for_is_told_apart(build, tmp_path: Path) -> None:
    def connected(cell, records, outcome):
        return [replace(one, connect_ns=70_000, receive_ns=30_000) for one in records], outcome

    run, answered = repetitions(build, tmp_path, edit=connected)
    figures = figures_of(run, KEY, answered)
    found = {name: figure.value for name, figure in figures.client_p50_ns.items()}
    assert found == {"send_delay": 0, "connect": 70_000, "receive": 30_000}


def test_parts_that_add_up_leave_no_gap(build, tmp_path: Path) -> None:
    run, runs = repetitions(build, tmp_path)
    gap = figures_of(run, KEY, runs).parts_gap_p50_ns
    assert isinstance(gap, Estimate)
    assert (gap.low, gap.value, gap.high) == (0, 0, 0)


def test_figures_of_several_repetitions_count_runs(build, tmp_path: Path) -> None:
    run, runs = repetitions(build, tmp_path, repetitions=5, requests=200)
    figures = figures_of(run, KEY, runs)
    assert isinstance(figures.response_p50_ns, Estimate)
    assert (figures.response_p50_ns.n, figures.response_p50_ns.of) == (5, "runs")
    medians = sorted(median(requests.response_time_ns).value for requests in runs)
    assert figures.response_p50_ns.value == medians[2]
    assert medians[0] <= figures.response_p50_ns.low <= figures.response_p50_ns.high <= medians[-1]


def test_a_percentile_is_of_all_repetitions_requests_together(build, tmp_path: Path) -> None:
    run, runs = repetitions(build, tmp_path, repetitions=2, requests=400)  # too few each, enough together
    figure = figures_of(run, KEY, runs).response_p99_ns
    together = np.sort(pooled(runs).response_time_ns)
    assert isinstance(figure, Estimate)
    assert figure.value == together[792 - 1]
    assert (figure.n, figure.of) == (800, "requests in 2 runs")


def test_a_percentile_that_all_repetitions_together_lack_is_absent(build, tmp_path: Path) -> None:
    run, runs = repetitions(build, tmp_path, repetitions=2, requests=300)
    figures = figures_of(run, KEY, runs)
    assert isinstance(figures.response_p99_ns, Absent)
    assert isinstance(figures.response_p50_ns, Estimate)


def test_the_null_service_has_neither_accuracy_nor_tax(build, tmp_path: Path) -> None:
    run, runs = repetitions(build, tmp_path, repetitions=1)
    figures = figures_of(run, ("null", *KEY[1:]), runs)
    assert isinstance(figures.accuracy, Absent)
    assert isinstance(figures.serving_tax, Absent)


def test_accuracy_is_over_the_distinct_images_of_all_repetitions(build, tmp_path: Path) -> None:
    run, runs = repetitions(build, tmp_path, repetitions=2, requests=150)
    share = figures_of(run, KEY, runs).accuracy
    assert isinstance(share, Estimate)
    assert share.n == len(np.unique(pooled(runs).image))


def test_rendered_images_have_no_accuracy_but_agreement(build, tmp_path: Path) -> None:
    run, runs = repetitions(build, tmp_path, data_is_real=False)
    figures = figures_of(run, KEY, runs)
    assert isinstance(figures.accuracy, Absent)
    assert figures.agreement is not None
    assert figures.agreement.agreeing == figures.agreement.images


def test_a_service_without_timing_leaves_its_parts_absent(build, tmp_path: Path) -> None:
    run, (requests,) = repetitions(build, tmp_path)
    silent = requests.parts_ns
    for column in silent.values():
        column[:] = -1
    figures = figures_of(run, KEY, [requests])
    assert all(isinstance(figure, Absent) for figure in figures.parts_p50_ns.values())
    assert isinstance(figures.serving_tax, Absent)
    assert isinstance(figures.response_p50_ns, Estimate)


def test_a_stream_depends_on_its_name_and_on_the_runs_seed_alone(build) -> None:
    plan, other = (build.plan([build.cell()], seed=seed) for seed in (7, -8))
    assert stream(plan, "a", 28).integers(1 << 30) == stream(plan, "a", 28).integers(1 << 30)
    assert stream(plan, "a", 28).integers(1 << 30) != stream(plan, "b", 28).integers(1 << 30)
    assert stream(plan, "a", 28).integers(1 << 30) != stream(other, "a", 28).integers(1 << 30)
