"""Intervals must cover what they claim: simulated, with fixed seeds."""

from __future__ import annotations

import math
from fractions import Fraction

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra import numpy as arrays

from analysis.statistics import (
    Absent,
    Estimate,
    across_runs,
    fewest_requests,
    median,
    percentile,
    percentile_bound,
    proportion,
    rate_per_s,
    ratio_of_medians,
    resample_median,
)

SHARES = (0.5, 0.9, 0.95, 0.99)


def samples(n: int, seed: int = 0) -> np.ndarray:
    return np.random.default_rng(seed).lognormal(0.0, 0.5, size=n)


def autoregressive(rng: np.random.Generator, n: int, memory: float = 0.9) -> np.ndarray:
    """Positive values of median 1 whose neighbours resemble each other, as requests in one queue do."""
    noise = rng.normal(size=n) * math.sqrt(1 - memory**2)
    values = np.empty(n)
    values[0] = rng.normal()
    for i in range(1, n):
        values[i] = memory * values[i - 1] + noise[i]
    return np.exp(0.3 * values)


def exact_binomial_cdf(k: int, n: int, share: Fraction) -> Fraction:
    return sum((math.comb(n, i) * share**i * (1 - share) ** (n - i) for i in range(k + 1)), Fraction(0))


@pytest.mark.parametrize(("share", "fewest"), [(0.9, 64), (0.95, 130), (0.99, 662), (0.999, 6636)])
def test_the_fewest_requests_are_those_of_loadgen(share: float, fewest: int) -> None:
    assert fewest_requests(share) == fewest


@pytest.mark.parametrize("share", SHARES)
@pytest.mark.acceptance("D10")
def test_a_percentile_is_refused_one_request_below_the_fewest(share: float) -> None:
    n = fewest_requests(share)
    refused = percentile(samples(n - 1), share)
    assert isinstance(refused, Absent)
    assert str(n) in refused.reason
    assert isinstance(percentile(samples(n), share), Estimate)


@pytest.mark.parametrize("share", SHARES)
def test_the_bound_exists_exactly_where_the_percentile_does(share: float) -> None:
    n = fewest_requests(share)
    assert isinstance(percentile_bound(samples(n - 1), share), Absent)
    assert percentile_bound(samples(n), share) == samples(n).max()


@pytest.mark.parametrize("n", [64, 100, 333])
def test_the_bound_is_loadgens_order_statistic_in_exact_arithmetic(n: int) -> None:
    t = max(t for t in range(n) if exact_binomial_cdf(t, n, Fraction(1, 10)) <= Fraction(1, 100))
    assert percentile_bound(np.arange(n), 0.9) == n - t


@given(
    values=arrays.arrays(np.int64, st.integers(11, 400), elements=st.integers(1, 10**12)),
    share=st.sampled_from(SHARES),
)
def test_a_percentile_is_an_observed_value_inside_its_interval(values: np.ndarray, share: float) -> None:
    figure = percentile(values, share)
    if isinstance(figure, Absent):
        assert len(values) < fewest_requests(share)
        return
    assert figure.low <= figure.value <= figure.high
    assert {figure.value, figure.low, figure.high} <= set(values.astype(float))
    assert (values <= figure.value).mean() >= share - 1e-9
    assert (values < figure.value).mean() < share + 1e-9
    assert figure.n == len(values)


@given(values=arrays.arrays(np.int64, st.integers(11, 200), elements=st.integers(1, 10**9)), seed=st.integers(0, 99))
def test_a_percentile_does_not_depend_on_the_order_of_requests(values: np.ndarray, seed: int) -> None:
    assert median(np.random.default_rng(seed).permutation(values)) == median(values)


@pytest.mark.parametrize(("share", "n"), [(0.5, 11), (0.5, 200), (0.9, 150), (0.99, 900)])
def test_percentile_intervals_cover_the_truth_as_often_as_they_say(share: float, n: int) -> None:
    rng = np.random.default_rng(20)
    truth = -math.log(1 - share)
    covered = 0
    for _ in range(1_000):
        figure = percentile(rng.exponential(size=n), share)
        assert isinstance(figure, Estimate)
        covered += figure.low <= truth <= figure.high
    assert covered >= 935  # 95 % less two and a bit standard deviations of the simulation


def test_the_bound_is_exceeded_by_the_true_percentile_at_most_once_in_a_hundred() -> None:
    rng = np.random.default_rng(21)
    truth = -math.log(0.1)
    missed = 0
    for _ in range(2_000):
        bound = percentile_bound(rng.exponential(size=200), 0.9)
        assert isinstance(bound, float)
        missed += bound < truth
    assert missed <= 30


@pytest.mark.parametrize(("right", "n", "low", "high"), [(3353, 3421, 0.9749, 0.9843), (0, 10, 0.0, 0.2775)])
def test_proportions_have_wilsons_interval(right: int, n: int, low: float, high: float) -> None:
    figure = proportion(right, n)
    assert isinstance(figure, Estimate)
    assert (figure.low, figure.high) == pytest.approx((low, high), abs=1e-4)


@given(n=st.integers(1, 5_000), data=st.data())
def test_a_proportion_lies_in_its_interval_and_the_interval_in_0_to_1(n: int, data: st.DataObject) -> None:
    figure = proportion(data.draw(st.integers(0, n)), n)
    assert isinstance(figure, Estimate)
    assert 0 <= figure.low <= figure.value <= figure.high <= 1


def test_a_proportion_of_nothing_is_absent() -> None:
    assert isinstance(proportion(0, 0), Absent)


def test_a_proportions_interval_covers_the_truth() -> None:
    rng = np.random.default_rng(22)
    figures = [proportion(int(right), 400) for right in rng.binomial(400, 0.98, size=2_000)]
    covered = sum(isinstance(figure, Estimate) and figure.low <= 0.98 <= figure.high for figure in figures)
    assert 0.93 <= covered / 2_000 <= 0.98


def test_a_ratio_within_one_run_covers_the_truth_although_neighbours_depend_on_each_other() -> None:
    rng = np.random.default_rng(23)
    covered = 0
    for _ in range(200):
        of, to = autoregressive(rng, 900) * 2, autoregressive(rng, 900)
        ratio = ratio_of_medians(resample_median([of], rng, 300), resample_median([to], rng, 300))
        assert isinstance(ratio, Estimate)
        covered += ratio.low <= 2 <= ratio.high
    # Blocks of 30 hold most of this dependence; single requests would cover less than half.
    assert covered / 200 >= 0.85


def test_resampling_whole_runs_covers_the_truth_where_runs_differ() -> None:
    rng = np.random.default_rng(24)
    covered = 0
    for _ in range(300):
        levels = np.exp(0.1 * rng.normal(size=(2, 9)))
        of, to = ([level * rng.lognormal(0, 0.2, size=60) for level in row] for row in levels)
        ratio = ratio_of_medians(resample_median(of, rng, 300), resample_median(to, rng, 300))
        assert isinstance(ratio, Estimate)
        assert ratio.of == "runs"
        covered += ratio.low <= 1 <= ratio.high
    assert covered / 300 >= 0.9


@given(factor=st.floats(0.1, 10), seed=st.integers(0, 1_000))
def test_a_ratio_scales_with_its_numerator(factor: float, seed: int) -> None:
    values = samples(200, seed)

    def ratio(numerator: np.ndarray) -> Estimate:
        rng = np.random.default_rng(1)
        found = ratio_of_medians(resample_median([numerator], rng, 50), resample_median([values], rng, 50))
        assert isinstance(found, Estimate)
        return found

    plain, scaled = ratio(values), ratio(values * factor)
    assert (scaled.value, scaled.low, scaled.high) == pytest.approx(
        (plain.value * factor, plain.low * factor, plain.high * factor)
    )


def test_a_ratio_to_zero_is_absent() -> None:
    rng = np.random.default_rng(0)
    zeros = resample_median([np.zeros(50)], rng, 20)
    assert isinstance(ratio_of_medians(resample_median([samples(50)], rng, 20), zeros), Absent)


@pytest.mark.parametrize("n", [1, 2, 7, 50, 1_001])
def test_the_median_of_a_block_resample_is_a_value_of_the_run(n: int) -> None:
    values = samples(n)
    resampled = resample_median([values], np.random.default_rng(0), 40)
    assert set(resampled.draws) <= set(values)
    assert resampled.value == np.sort(values)[(n - 1) // 2]


@given(values=st.lists(st.floats(0.1, 100), min_size=1, max_size=12))
def test_across_runs_the_median_run_lies_in_its_interval(values: list[float]) -> None:
    figure = across_runs(values, np.random.default_rng(0), 200)
    assert figure.value == pytest.approx(float(np.median(values)))
    assert min(values) <= figure.low <= figure.high <= max(values)
    assert (figure.n, figure.of) == (len(values), "runs")


def test_a_rate_covers_the_truth_for_random_arrivals() -> None:
    rng = np.random.default_rng(25)
    covered = 0
    for _ in range(300):
        instants = np.cumsum(rng.exponential(1e9 / 120, size=1_200)).astype(np.int64)
        rate = rate_per_s(instants, rng, 300)
        assert isinstance(rate, Estimate)
        covered += rate.low <= 120 <= rate.high
    assert covered / 300 >= 0.9


def test_a_rate_counts_gaps_and_not_requests() -> None:
    rate = rate_per_s(np.arange(101) * 10_000_000, np.random.default_rng(0))
    assert isinstance(rate, Estimate)
    assert rate.value == pytest.approx(100.0)


@pytest.mark.parametrize("instants", [np.arange(59), np.zeros(500, dtype=np.int64)])
def test_a_rate_needs_enough_requests_over_some_time(instants: np.ndarray) -> None:
    assert isinstance(rate_per_s(instants, np.random.default_rng(0)), Absent)


def test_an_estimate_is_scaled_as_a_whole() -> None:
    assert Estimate(2.0, 1.0, 4.0, 9).scaled(0.5) == Estimate(1.0, 0.5, 2.0, 9)
