"""What a benchmark reports of the same calls, by statistic."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from analysis.mistakes.recorded import Calls
from analysis.mistakes.reported import (
    how_moved,
    leaders,
    mean_with_first_call,
    means_of_ten,
    replay,
    report,
    share_of_other_winners,
)
from analysis.statistics import Absent, Estimate

TIMES = st.lists(st.integers(1, 10**9), min_size=1, max_size=60)


def rng() -> np.random.Generator:
    return np.random.default_rng(0)


def calls(taken_ns, *, first_ns=None, process=0) -> Calls:
    return Calls(process=process, first_ns=first_ns, bursts_ns=(np.array(taken_ns, np.int64),))


def test_a_hundred_calls_of_which_the_first_compiles_report_a_hundredth_of_the_compilation_each():
    assert mean_with_first_call(calls([1_000] * 500, first_ns=1_001_000)) == 11_000


@given(TIMES, st.integers(1, 10**12))
def test_a_first_call_that_is_slower_than_all_others_makes_the_mean_larger(taken_ns, more_ns):
    with_first = calls(taken_ns, first_ns=max(taken_ns) + more_ns)
    assert mean_with_first_call(with_first) > np.mean(taken_ns)


@given(st.lists(st.integers(1, 10**7), min_size=2, max_size=40), st.integers(1, 10**8))
def test_nobody_in_an_open_loop_waits_less_than_the_service_takes(taken_ns, gap_ns):
    responses = replay(np.array(taken_ns), gap_ns, rng())
    service = np.tile(taken_ns, len(responses) // len(taken_ns))
    assert (responses >= service * (1 - 1e-9)).all()


def test_the_replay_is_the_queue_that_a_clerk_would_work_off():
    """Held against the plain loop of the definition, with the same arrivals."""
    taken_ns, gap_ns = np.array([900, 100, 2_500, 300, 700]), 1_000.0
    responses = replay(taken_ns, gap_ns, rng())
    service = np.tile(taken_ns, len(responses) // len(taken_ns))
    arrivals = np.concatenate([[0.0], np.cumsum(rng().exponential(gap_ns, len(service) - 1))])
    free, expected = 0.0, []
    for arrival, needed in zip(arrivals, service, strict=True):
        free = max(free, arrival) + needed
        expected.append(free - arrival)
    np.testing.assert_allclose(responses, expected)


def test_an_open_loop_queues_and_a_closed_one_does_not():
    shared = [calls([1_000_000] * 700, process=number) for number in range(5)]
    closed, _ = report("closed_p99", shared, 1_400_000, rng())
    open_, _ = report("open_p99", shared, 1_400_000, rng())
    assert closed.value == 1_000_000
    assert open_.value > 2_000_000


@pytest.mark.parametrize("statistic", ["p99", "closed_p99", "open_p99"])
def test_a_p99_is_refused_where_a_process_made_too_few_calls(statistic):
    figure, _ = report(statistic, [calls([1] * 661)], 1, rng())
    assert isinstance(figure, Absent)
    assert "661 of the 662" in figure.reason


def test_the_interval_of_a_median_is_that_of_processes_and_not_of_calls():
    recorded = [calls([10 * number] * 900, process=number) for number in range(5)]
    figure, per_process = report("median", recorded, 0, rng())
    assert (figure.value, figure.n, figure.of) == (20, 5, "processes")
    assert figure.low < 20 < figure.high
    assert per_process.tolist() == [0, 10, 20, 30, 40]


@given(TIMES)
def test_the_mean_of_ten_calls_lies_between_the_fastest_and_the_slowest(taken_ns):
    means = means_of_ten([calls(taken_ns)])
    assert means.min() >= min(taken_ns) * (1 - 1e-9)
    assert means.max() <= max(taken_ns) * (1 + 1e-9)


def test_ten_calls_scatter_more_than_all_of_them():
    noisy = [calls(rng().exponential(1e6, 1_000).astype(int) + 1, process=number) for number in range(5)]
    lottery, _ = report("mean_of_ten", noisy, 0, rng())
    everything, _ = report("median", noisy, 0, rng())
    assert lottery.high - lottery.low > 5 * (everything.high - everything.low)


def estimate(value: float, spread: float = 0.0) -> Estimate:
    return Estimate(value, value - spread, value + spread, 5)


def test_frameworks_tie_where_their_intervals_overlap():
    assert leaders({"a": estimate(1, 0.2), "b": estimate(1.3, 0.2), "c": estimate(3)}) == {"a", "b"}
    assert leaders({"a": estimate(1, 0.1), "b": estimate(1.3, 0.1), "c": estimate(3)}) == {"a"}


def test_nobody_leads_where_a_figure_is_missing():
    assert leaders({"a": estimate(1), "b": Absent("not measured")}) == frozenset()


@given(st.dictionaries(st.sampled_from("abc"), st.tuples(st.floats(1, 9), st.floats(0, 2)), min_size=1))
def test_the_fastest_is_always_among_the_leaders(figures):
    estimates = {name: estimate(*pair) for name, pair in figures.items()}
    fastest = min(estimates, key=lambda name: estimates[name].value)
    assert fastest in leaders(estimates)


@pytest.mark.parametrize(
    ("without", "with_", "moved"),
    [("a", "a", "same"), ("a", "b", "moved"), ("a", "ab", "blurred"), ("ab", "b", "blurred"), ("ab", "c", "moved")],
)
def test_a_winner_moves_is_blurred_or_stays(without, with_, moved):
    assert how_moved(frozenset(without), frozenset(with_)) == moved


def test_ten_calls_never_name_another_winner_where_every_call_agrees():
    clear = {"a": [calls([1] * 50)], "b": [calls([2] * 50)]}
    assert share_of_other_winners(clear, frozenset("a"), rng()) == 0


def test_ten_calls_name_another_winner_half_of_the_time_where_two_are_equal_and_one_is_called_the_winner():
    taken_ns = rng().integers(1_000, 2_000, 4_000)
    equal = {"a": [calls(taken_ns)], "b": [calls(taken_ns[::-1])]}
    assert 0.45 < share_of_other_winners(equal, frozenset("a"), rng()) < 0.55
