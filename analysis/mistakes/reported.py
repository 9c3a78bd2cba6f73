"""What a benchmark would report of a process's calls, by statistic; and who then leads."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Literal

import numpy as np
from numpy.typing import NDArray

from analysis.mistakes.recorded import Calls
from analysis.statistics import Absent, Estimate, Figure, FloatColumn, across_runs, fewest_requests
from contract.records.mistakes import Statistic

LOOP_CALLS = 100  # of a loop whose first call is in the mean
FEW_CALLS = 10
LOTTERY_DRAWS = 10_000
UTILISATION = 0.7  # of the slowest framework, in the replay of an open loop
REPLAYS = 20  # of arrivals drawn anew, for the calls of one process
TAILS = ("p99", "closed_p99", "open_p99")

Moved = Literal["moved", "blurred", "same"]


def report(
    statistic: Statistic, calls: Sequence[Calls], gap_ns: float, rng: np.random.Generator
) -> tuple[Figure, FloatColumn]:
    """The figure over processes, and the number of each process, which is empty where there is none.

    Whole processes are resampled: two of them differ more than two of their calls do. With fewer
    than five the interval is too narrow. ``gap_ns`` is the mean time between arrivals of a replay.
    """
    nothing = np.empty(0)
    if not calls:
        return Absent("not measured"), nothing
    if statistic in TAILS and (fewest := min(len(one.measured_ns) for one in calls)) < fewest_requests(0.99):
        return Absent(f"{fewest} of the {fewest_requests(0.99)} calls that p99 takes, per process", fewest), nothing
    if statistic == "mean_of_ten":
        draws = rng.choice(means_of_ten(calls), LOTTERY_DRAWS)
        low, high = np.percentile(draws, [2.5, 97.5])
        return Estimate(float(np.median(draws)), float(low), float(high), LOTTERY_DRAWS, "draws"), nothing
    per_process = np.array([_of_process(statistic, one, gap_ns, rng) for one in calls])
    estimate = across_runs(per_process.tolist(), rng)
    return Estimate(estimate.value, estimate.low, estimate.high, estimate.n, "processes"), per_process


def _of_process(statistic: Statistic, calls: Calls, gap_ns: float, rng: np.random.Generator) -> float:
    took_ns = calls.measured_ns
    if statistic == "open_p99":
        return float(np.percentile(replay(took_ns, gap_ns, rng), 99))
    if statistic == "first_call_in_mean":
        return mean_with_first_call(calls)
    return _PLAIN[statistic](took_ns)


def _p99(took_ns: NDArray[np.int64]) -> float:
    return float(np.percentile(took_ns, 99))


_PLAIN: Mapping[Statistic, Callable[[NDArray[np.int64]], float]] = {
    "median": lambda took_ns: float(np.median(took_ns)),
    "mean": lambda took_ns: float(np.mean(took_ns)),
    "p99": _p99,
    "closed_p99": _p99,
}


def mean_with_first_call(calls: Calls) -> float:
    """The mean of a loop of a hundred calls, of which the first compiles."""
    later = calls.measured_ns[: LOOP_CALLS - 1]
    first = [] if calls.first_ns is None else [calls.first_ns]
    return float(np.mean([*first, *later]))


def means_of_ten(calls: Sequence[Calls]) -> FloatColumn:
    """The mean of every ten calls that followed each other in one burst, of all processes."""
    kernel = np.full(FEW_CALLS, 1 / FEW_CALLS)
    bursts = [burst for one in calls for burst in one.bursts_ns if len(burst) >= FEW_CALLS]
    if not bursts:
        return np.array([float(np.mean(one.measured_ns)) for one in calls])
    return np.concatenate([np.convolve(burst, kernel, mode="valid") for burst in bursts])


def replay(took_ns: NDArray[np.int64], gap_ns: float, rng: np.random.Generator) -> FloatColumn:
    """Response times of a server that needs ``took_ns``, in this order, for arrivals that wait for nobody.

    Lindley's recursion: who arrives waits for what the one before has left, W' = max(0, W + S - A),
    with gaps A drawn from an exponential distribution of mean ``gap_ns``; `REPLAYS` times over.
    """
    service = np.tile(took_ns.astype(np.float64), REPLAYS)
    steps = service[:-1] - rng.exponential(gap_ns, len(service) - 1)
    walk = np.concatenate([[0.0], np.cumsum(steps)])
    waits: FloatColumn = walk - np.minimum.accumulate(walk)
    return waits + service


def leaders(figures: Mapping[str, Figure]) -> frozenset[str]:
    """The fastest, and all whose interval overlaps its own; nobody where a figure is missing."""
    estimates = {name: figure for name, figure in figures.items() if isinstance(figure, Estimate)}
    if len(estimates) < len(figures) or not estimates:
        return frozenset()
    best = min(estimates.values(), key=lambda estimate: estimate.value)
    return frozenset(name for name, estimate in estimates.items() if estimate.low <= best.high)


def how_moved(without: frozenset[str], with_: frozenset[str]) -> Moved:
    """Whether the leaders are others, partly others (somebody joined or left a tie), or the same."""
    if without == with_:
        return "same"
    return "blurred" if without & with_ else "moved"


def share_of_other_winners(
    calls: Mapping[str, Sequence[Calls]], winners: frozenset[str], rng: np.random.Generator
) -> float:
    """How often ten calls of each framework, drawn at random, name one that is not among ``winners``."""
    names = sorted(calls)
    drawn = np.stack([rng.choice(means_of_ten(calls[name]), LOTTERY_DRAWS) for name in names])
    fastest = drawn.argmin(axis=0)
    return float(np.mean([names[position] not in winners for position in fastest]))
