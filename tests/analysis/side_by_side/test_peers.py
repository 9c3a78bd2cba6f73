"""What is said of services side by side follows from their windows."""

from __future__ import annotations

import json

import numpy as np
import pytest

from analysis.side_by_side.peers import peers_as_json, peers_page, peers_tables, summarise_peers, tell_peers
from analysis.statistics import Absent, Estimate
from analysis.telling import Asked
from contract.environment import describe_environment
from contract.records.peers import BARE, LITSERVE, OURS, PEERS_FILE, TEXTBOOK, PeerComparison, PeerWindow
from contract.storage import write_json

ROUND_TRIP_NS = {OURS: 660_000, BARE: 600_000, TEXTBOOK: 1_800_000, LITSERVE: 1_200_000}


def window(contender=OURS, round_=0, connections=1, round_trip_ns=None, tail=1.0):
    typical = (round_trip_ns or ROUND_TRIP_NS[contender]) * connections
    trips = tuple([typical] * 95 + [round(typical * tail)] * 5)
    return PeerWindow(
        contender=contender,
        round=round_,
        connections=connections,
        round_trips_ns=trips,
        elapsed_ns=sum(trips) // connections,
        cpu_ns=50_000_000,
        failures=0,
    )


def comparison(windows=None, missing=None):
    if windows is None:
        windows = [window(name, n, k) for name in ROUND_TRIP_NS for n in range(5) for k in (1, 16)]
    return PeerComparison(
        environment=describe_environment(),
        measured_at="2026-01-01T00:00:00+00:00",
        command="hemabench peers",
        resolution_px=28,
        image_bytes=2448,
        service_cores=(0,),
        client_cores=(1,),
        windows=tuple(windows),
        missing=missing or {},
    )


def summarised(*arguments, **options):
    return summarise_peers(comparison(*arguments, **options), np.random.default_rng(0))


def test_ratios_are_ours_over_the_peers():
    ratios = {target.what: target.ratio.value for target in summarised().targets}
    assert ratios["p50 ÷ bare, 1 connection"] == pytest.approx(1.1)
    assert ratios["requests/s ÷ bare"] == pytest.approx(1 / 1.1)
    assert ratios["p50 ÷ textbook, 1 connection"] == pytest.approx(0.66 / 1.8)
    assert ratios["p99 ÷ p50, connections: 16"] == 1
    assert ratios["requests/s per core ÷ LitServe"] == pytest.approx(1.2 / 0.66)


def test_a_target_is_judged_by_its_limit():
    targets = summarised().targets
    assert all(target.holds and target.surely for target in targets)
    slow = [
        window(name, n, k, 900_000 if name == OURS else None) for name in ROUND_TRIP_NS for n in (0, 1) for k in (1, 16)
    ]
    missed = [target.what for target in summarised(slow).targets if not target.holds]
    assert missed == [
        "p50 ÷ bare, 1 connection",
        "requests/s ÷ bare",
        "p50 ÷ textbook, 1 connection",
        "requests/s per core ÷ textbook BentoML",
    ]


def test_rounds_that_disagree_leave_a_target_unsure():
    trips = [600_000, 600_000, 600_000, 900_000, 900_000]
    windows = [window(OURS, n, k, trip) for n, trip in enumerate(trips) for k in (1, 16)]
    windows += [window(BARE, n, k) for n in range(5) for k in (1, 16)]
    target = summarised(windows).targets[0]
    assert target.holds
    assert not target.surely


def test_a_peer_that_was_not_measured_has_no_ratio():
    windows = [window(name, 0, k) for name in (OURS, BARE) for k in (1, 16)]
    summary = summarised(windows, missing={LITSERVE: "needs litserve"})
    absent = [target for target in summary.targets if isinstance(target.ratio, Absent)]
    assert {target.what for target in absent} >= {"requests/s per core ÷ LitServe"}
    assert not any(target.holds for target in absent)
    assert "LitServe was left out: it needs litserve" in peers_page(summary)


def test_a_slow_twentieth_shows_in_the_tail_alone():
    windows = [window(name, n, k, tail=3.0) for name in ROUND_TRIP_NS for n in range(3) for k in (1, 16)]
    summary = summarised(windows)
    assert [t.what for t in summary.targets if not t.holds] == [
        "p99 ÷ p50, connections: 1",
        "p99 ÷ p50, connections: 16",
    ]
    assert isinstance(summary.figures[0].p50_ms, Estimate)


def test_the_page_and_the_tables_have_a_row_for_each_figure_and_target():
    summary = summarised()
    figures, targets = peers_tables(summary)
    assert (figures.row_count, targets.row_count) == (len(summary.figures), len(summary.targets))
    page = peers_page(summary)
    assert page.count("\n| ") == len(summary.figures) + len(summary.targets) + 4
    assert "`hemabench peers`" in page
    assert "Research use only" in page


def test_json_holds_figures_and_judged_targets_and_no_raw_windows():
    said = json.loads(peers_as_json(summarised()))
    ours = next(each for each in said["figures"] if (each["contender"], each["connections"]) == (OURS, 1))
    assert ours["p50_ms"]["value"] == pytest.approx(0.66)
    targets = {target["what"]: target["holds"] for target in said["targets"]}
    assert targets == {target.what: target.holds for target in summarised().targets}
    assert said["command"] == "hemabench peers"
    assert "windows" not in said


def test_the_answer_tells_targets_that_surely_hold_from_those_that_may(tmp_path):
    trips = [600_000, 600_000, 600_000, 900_000, 900_000]
    windows = [window(OURS, n, k, trip) for n, trip in enumerate(trips) for k in (1, 16)]
    windows += [window(BARE, n, k) for n in range(5) for k in (1, 16)]
    write_json(tmp_path / PEERS_FILE, comparison(windows))
    (answer,) = tell_peers(tmp_path, Asked()).report.answer
    assert answer.startswith("4 of 7 targets hold, 2 of them with their whole interval")
