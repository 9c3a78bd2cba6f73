from __future__ import annotations

import math

import pytest
from hypothesis import given
from hypothesis import strategies as st

from contract.statistics.intervals import wilson


@given(trials=st.integers(1, 10_000), data=st.data())
def test_the_interval_holds_the_share_and_stays_between_0_and_1(trials, data):
    successes = data.draw(st.integers(0, trials))
    low, high = wilson(successes, trials)
    assert 0 <= low <= successes / trials <= high <= 1
    assert low < high


@given(trials=st.integers(1, 2_000), data=st.data())
def test_successes_and_failures_have_mirrored_intervals(trials, data):
    successes = data.draw(st.integers(0, trials))
    low, high = wilson(successes, trials)
    mirrored_low, mirrored_high = wilson(trials - successes, trials)
    assert low == pytest.approx(1 - mirrored_high, abs=1e-12)
    assert high == pytest.approx(1 - mirrored_low, abs=1e-12)


@pytest.mark.parametrize(
    ("successes", "trials", "published"),
    [(81, 263, [0.2553, 0.3662]), (15, 148, [0.0624, 0.1605]), (0, 20, [0.0, 0.1611]), (1, 29, [0.0061, 0.1718])],
)
def test_published_examples_come_out(successes, trials, published):
    # Newcombe, Statistics in Medicine 17 (1998) 857, table I, the score method.
    assert [round(end, 4) for end in wilson(successes, trials)] == published


@pytest.mark.parametrize(("successes", "trials"), [(1, 0), (-1, 5), (6, 5)])
def test_what_is_no_share_is_refused(successes, trials):
    with pytest.raises(ValueError, match="trials"):
        wilson(successes, trials)


@pytest.mark.parametrize("share", [0.05, 0.5, 0.99])
def test_it_covers_the_truth_about_19_times_in_20(share):
    trials = 400
    covered = 0.0
    for successes in range(trials + 1):
        low, high = wilson(successes, trials)
        covered += (
            (low <= share <= high)
            * math.comb(trials, successes)
            * share**successes
            * (1 - share) ** (trials - successes)
        )
    assert 0.93 < covered < 0.97
