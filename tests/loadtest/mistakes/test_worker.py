"""A burst of calls."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from loadtest.mistakes.worker import burst

LONG_NS = 10**12


@given(st.integers(1, 50), st.lists(st.integers(), min_size=1, max_size=7))
def test_calls_go_through_the_samples_in_turn_and_do_not_overlap(calls, samples):
    seen = []
    started, finished, last = burst(lambda sample: seen.append(sample) or len(seen), samples, calls, LONG_NS)
    assert seen == [samples[number % len(samples)] for number in range(calls)]
    assert last == calls
    moments = [moment for pair in zip(started, finished, strict=True) for moment in pair]
    assert moments == sorted(moments)


def test_a_burst_whose_time_is_over_makes_one_call_all_the_same():
    started, finished, _ = burst(lambda sample: None, ["image"], 100, 0)
    assert len(started) == len(finished) == 1
