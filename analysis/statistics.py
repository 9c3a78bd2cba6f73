"""Estimates with their interval and their n: pure functions, randomness passed in.

What requests of one run can say is limited: they share a queue and a machine, so they
are not independent, and another start of the service may differ by more than any
interval computed inside one run. Each docstring says what its method assumes.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from functools import lru_cache
from itertools import combinations
from typing import Any

import numpy as np
from numpy.typing import NDArray

from contract.statistics.intervals import wilson
from contract.timing import NS_PER_S

FloatColumn = NDArray[np.float64]
NumberColumn = NDArray[Any]
IntWeights = NDArray[np.int64]

CONFIDENCE = 0.95
BOUND_CONFIDENCE = 0.99  # LoadGen's, for its one-sided bound and for the fewest requests a percentile takes
DRAWS = 1_000
RATE_SLICES = 30
_RELABELLINGS = 20_000


@dataclass(frozen=True, slots=True)
class Estimate:
    """A value, its 95 % interval, and how many of what it rests on."""

    value: float
    low: float
    high: float
    n: int
    of: str = "requests"

    def scaled(self, factor: float) -> Estimate:
        """The same estimate in another unit; ``factor`` must be positive."""
        return Estimate(self.value * factor, self.low * factor, self.high * factor, self.n, self.of)


@dataclass(frozen=True, slots=True)
class Absent:
    """There is no estimate, and why."""

    reason: str
    n: int = 0


Figure = Estimate | Absent


@dataclass(frozen=True, slots=True)
class ResampledMedian:
    """A median and the medians of ``draws`` resamples, which carry its uncertainty into a ratio."""

    value: float
    draws: FloatColumn
    n: int
    of: str


def percentile(values: NumberColumn, share: float) -> Figure:
    """The observed value below which ``share`` of all lie, between two order statistics.

    The interval needs no distribution: the number of values below the true percentile is
    binomial whatever the values are. It assumes independent requests; in a busy open loop
    they are not, and the interval is then too narrow. `Absent` below `fewest_requests`.
    """
    n = len(values)
    if n < fewest_requests(share):
        return Absent(f"{n} of the {fewest_requests(share)} requests that {name_of(share)} takes", n)
    below = _binomial_cdf(n, share)
    tail = (1 - CONFIDENCE) / 2
    low = int(np.searchsorted(below, tail, side="right"))
    high = int(np.searchsorted(below, 1 - tail, side="left")) + 1
    if low < 1 or high > n:
        return Absent(f"{n} requests give no interval around {name_of(share)}", n)
    rank = min(max(math.ceil(round(n * share, 6)), 1), n)
    ordered = np.sort(values)
    return Estimate(float(ordered[rank - 1]), float(ordered[low - 1]), float(ordered[high - 1]), n)


def median(values: NumberColumn) -> Figure:
    """The 50th percentile, as `percentile` gives it."""
    return percentile(values, 0.5)


def percentile_bound(values: NumberColumn, share: float) -> float | Absent:
    """The value that the percentile does not exceed at 99 % confidence: LoadGen's rule.

    With t the largest count for which ``P(Binomial(n, 1 - share) <= t) <= 0.01``, it is
    the largest value once the t - 1 largest are dropped. `Absent` where t < 1.
    """
    n = len(values)
    dropped = int(np.searchsorted(_binomial_cdf(n, 1 - share), 1 - BOUND_CONFIDENCE, side="right")) - 1
    if dropped < 1:
        return Absent(f"{n} of the {fewest_requests(share)} requests that {name_of(share)} takes", n)
    return float(np.sort(values)[n - dropped])


@lru_cache
def fewest_requests(share: float) -> int:
    """How many requests LoadGen's rule asks for before the percentile may be named (662 for p99)."""
    n = 2
    while share**n + n * (1 - share) * share ** (n - 1) > 1 - BOUND_CONFIDENCE:
        n += 1
    return n


def proportion(successes: int, n: int, of: str = "images") -> Figure:
    """Wilson's interval for a share of independent trials; it holds near 0 and 1, where the plain one fails."""
    if n == 0:
        return Absent(f"no {of}")
    return Estimate(successes / n, *wilson(successes, n), n, of)


def resample_median(runs: Sequence[NumberColumn], rng: np.random.Generator, draws: int = DRAWS) -> ResampledMedian:
    """The median over ``runs`` of each run's median, and ``draws`` resamples of it.

    Several runs: whole runs are resampled, because two starts of a service differ more
    than two of its requests, and resampling requests would promise too narrow an interval.
    With fewer than five runs, and with seven, it still does (`analysis.wording.PROMISED`). One
    run: blocks of neighbouring requests are resampled, so that requests which shared a queue stay together.
    """
    if len(runs) == 1:
        return ResampledMedian(_median(runs[0]), _block_medians(runs[0], rng, draws), len(runs[0]), "requests")
    per_run = np.array([_median(run) for run in runs])
    resampled = np.median(rng.choice(per_run, size=(draws, len(per_run))), axis=1)
    return ResampledMedian(float(np.median(per_run)), resampled, len(runs), "runs")


def ratio_of_medians(of: ResampledMedian, to: ResampledMedian) -> Figure:
    """How many times ``of`` is as large as ``to``, with the interval that both uncertainties give.

    The two must stem from separate measurements: their draws are paired at random.
    """
    if to.value <= 0 or to.draws.min() <= 0:
        return Absent("the median to divide by is zero", to.n)
    low, high = _middle(of.draws / to.draws)
    value = of.value / to.value
    return Estimate(value, min(low, value), max(high, value), min(of.n, to.n), of.of)


def across_runs(per_run: Sequence[float], rng: np.random.Generator, draws: int = DRAWS) -> Estimate:
    """The median of one number per run; whole runs are resampled, as in `resample_median`."""
    values = np.array(per_run, dtype=np.float64)
    low, high = _middle(np.median(rng.choice(values, size=(draws, len(values))), axis=1))
    return Estimate(float(np.median(values)), low, high, len(values), "runs")


def ratio_over_rounds(ours: FloatColumn, theirs: FloatColumn, rng: np.random.Generator, draws: int = DRAWS) -> Figure:
    """How many times the median of ``ours`` is as large as that of ``theirs``, where each round measured both.

    Whole rounds are resampled, both sides together, because what disturbs a round disturbs both.
    """
    rounds = rng.integers(len(ours), size=(draws, len(ours)))
    of, to = (
        ResampledMedian(float(np.median(side)), np.median(side[rounds], axis=1), len(side), "rounds")
        for side in (ours, theirs)
    )
    return ratio_of_medians(of, to)


def percentile_across_runs(
    runs: Sequence[NumberColumn], share: float, rng: np.random.Generator, draws: int = DRAWS
) -> Figure:
    """The percentile of all requests of several runs, with the interval that resampling whole runs gives.

    Nothing is averaged: the requests are put together first, so that short runs may name a
    percentile that none of them could name alone. `Absent` below `fewest_requests` in all. Of a single
    run it is what `percentile` gives: the interval is of its requests.
    """
    if len(runs) == 1:
        return percentile(runs[0], share)
    values = np.concatenate(list(runs))
    if len(values) < fewest_requests(share):
        return Absent(
            f"{len(values)} of the {fewest_requests(share)} requests that {name_of(share)} takes", len(values)
        )
    order = np.argsort(values, kind="stable")
    ordered, run_of = values[order], np.repeat(np.arange(len(runs)), [len(run) for run in runs])[order]
    times_drawn = rng.multinomial(len(runs), np.full(len(runs), 1 / len(runs)), size=draws)
    found = np.empty(draws)
    # Few runs can be drawn in few ways: each is worked out once.
    ways, way_of = np.unique(times_drawn, axis=0, return_inverse=True)
    for number, way in enumerate(ways):
        found[way_of.ravel() == number] = _weighted_percentile(ordered, way[run_of], share)
    low, high = _middle(found)
    value = _weighted_percentile(ordered, np.ones(len(ordered), dtype=np.int64), share)
    return Estimate(value, min(low, value), max(high, value), len(values), f"requests in {len(runs)} runs")


def permutation_p(one: Sequence[float], other: Sequence[float]) -> float:
    """How often a random relabelling of the runs parts them by at least as much as they are: an exact test.

    Two-sided, on the difference of the mean logarithms, with one number per run: it assumes
    nothing but that runs are exchangeable where there is no difference. With five runs
    against five the least it can say is 2/252. Beyond 20,000 relabellings as many are drawn, and the
    one that was seen is counted with them, so that it never says zero.
    """
    logs = np.log(np.array([*one, *other], dtype=np.float64))
    total = math.comb(len(logs), len(one))
    if total <= _RELABELLINGS:
        chosen = np.array(list(combinations(range(len(logs)), len(one))))
    else:
        rng = np.random.default_rng(len(logs))
        chosen = np.array([rng.permutation(len(logs))[: len(one)] for _ in range(_RELABELLINGS)])
    sums = logs[chosen].sum(axis=1)
    gaps = np.abs(sums / len(one) - (logs.sum() - sums) / len(other))
    seen = abs(logs[: len(one)].mean() - logs[len(one) :].mean())
    as_far, not_drawn = int((gaps >= seen - 1e-12).sum()), int(total > _RELABELLINGS)
    return (as_far + not_drawn) / (len(gaps) + not_drawn)


def least_permutation_p(one: int, other: int) -> float:
    """The least that `permutation_p` can say of so many runs against so many: all of one side below the other."""
    return (2 if one == other else 1) / math.comb(one + other, one)


def student_p(one: Sequence[float], other: Sequence[float]) -> float:
    """Two-sided p-value of Student's test on the logarithms, with one number per run.

    It assumes that the logarithms of medians of runs are roughly normal and spread alike on
    both sides, which holds for the same service measured twice. For that it can say more than
    `permutation_p`: five against five can be relabelled in 252 ways, and a correction over
    a campaign's forty cells leaves nothing of 2/252.
    """
    logs = [np.log(np.array(side, dtype=np.float64)) for side in (one, other)]
    freedom = sum(map(len, logs)) - 2
    pooled = sum(float(((side - side.mean()) ** 2).sum()) for side in logs) / freedom
    gap = abs(float(logs[0].mean() - logs[1].mean()))
    error = math.sqrt(pooled * sum(1 / len(side) for side in logs))
    if gap <= 1e-12:
        return 1.0
    return _student_tail(gap / error, freedom) if error > 0 else 0.0


def _student_tail(t: float, freedom: int) -> float:
    """``P(|T| > t)`` for a whole number of degrees of freedom: Abramowitz and Stegun 26.7.3 and 26.7.4."""
    angle = math.atan(t / math.sqrt(freedom))
    sine, cosine = math.sin(angle), math.cos(angle)
    term = total = cosine if freedom % 2 else 1.0
    for k in range(3 if freedom % 2 else 2, freedom - 1, 2):
        term *= (k - 1) / k * cosine**2
        total += term
    if freedom == 1:
        total = 0.0
    inside = 2 / math.pi * (angle + sine * total) if freedom % 2 else sine * total
    return max(0.0, 1.0 - inside)


def holm(p_values: Sequence[float]) -> list[float]:
    """Holm's adjusted p-values, in the order given: the chance of any false alarm among them stays below each.

    Source: S. Holm, Scand. J. Statist. 6 (1979) 65.
    """
    adjusted = [0.0] * len(p_values)
    largest = 0.0
    for rank, place in enumerate(sorted(range(len(p_values)), key=lambda place: p_values[place])):
        largest = max(largest, min(1.0, (len(p_values) - rank) * p_values[place]))
        adjusted[place] = largest
    return adjusted


def rate_per_s(instants_ns: NumberColumn, rng: np.random.Generator, draws: int = DRAWS) -> Figure:
    """Events per second between the first and the last of ``instants_ns``.

    The span is cut into 30 slices and whole slices are resampled: events inside a slice
    may depend on each other, slices are taken as independent. `Absent` with fewer than
    two events per slice.
    """
    n = len(instants_ns)
    if n < 2 * RATE_SLICES:
        return Absent(f"{n} of the {2 * RATE_SLICES} requests that a rate takes", n)
    first, last = int(instants_ns.min()), int(instants_ns.max())
    if first == last:
        return Absent("all requests finished at one instant", n)
    slice_s = (last - first) / NS_PER_S / RATE_SLICES
    counts, _ = np.histogram(instants_ns - first, bins=RATE_SLICES, range=(0, last - first))
    rates = rng.choice(counts / slice_s, size=(draws, RATE_SLICES)).mean(axis=1)
    low, high = _middle(rates)
    value = (n - 1) / ((last - first) / NS_PER_S)  # n instants enclose n - 1 gaps
    return Estimate(value, min(low, value), max(high, value), n)


def name_of(share: float) -> str:
    """How a percentile is called: p50, p99, p99.9."""
    return f"p{100 * share:.6g}"


def _weighted_percentile(ordered: NumberColumn, weights: IntWeights, share: float) -> float:
    """The value that ``share`` of the total weight does not exceed."""
    reached = np.cumsum(weights)
    rank = min(max(math.ceil(round(reached[-1] * share, 6)), 1), int(reached[-1]))
    return float(ordered[np.searchsorted(reached, rank)])


def _median(values: NumberColumn) -> float:
    return float(np.sort(values)[(len(values) - 1) // 2])


def _block_medians(values: NumberColumn, rng: np.random.Generator, draws: int) -> FloatColumn:
    """Medians of resamples made of whole blocks, about sqrt(n) blocks of sqrt(n) neighbours.

    Values are sorted once; a resample then only weighs each by how often its block was drawn.
    """
    n = len(values)
    blocks = max(1, math.isqrt(n))
    block_of = np.arange(n) * blocks // n
    order = np.argsort(values, kind="stable")
    ordered, block_of_ordered = np.asarray(values, dtype=np.float64)[order], block_of[order]
    medians = np.empty(draws)
    for draw in range(draws):
        times_drawn = np.bincount(rng.integers(blocks, size=blocks), minlength=blocks)
        reached = np.cumsum(times_drawn[block_of_ordered])
        medians[draw] = ordered[np.searchsorted(reached, (reached[-1] + 1) // 2)]
    return medians


def _middle(draws: FloatColumn) -> tuple[float, float]:
    """The interval that holds the middle 95 % of ``draws``."""
    tail = 100 * (1 - CONFIDENCE) / 2
    low, high = np.percentile(draws, [tail, 100 - tail])
    return float(low), float(high)


def _binomial_cdf(n: int, share: float) -> FloatColumn:
    """``P(Binomial(n, share) <= k)`` for k = 0 ... n."""
    log_factorial = np.concatenate([[0.0], np.cumsum(np.log(np.arange(1, n + 1)))])
    k = np.arange(n + 1)
    log_choices = log_factorial[n] - log_factorial[k] - log_factorial[n - k]
    log_mass = log_choices + k * math.log(share) + (n - k) * math.log1p(-share)
    cdf: FloatColumn = np.minimum(np.cumsum(np.exp(log_mass)), 1.0)
    return cdf
