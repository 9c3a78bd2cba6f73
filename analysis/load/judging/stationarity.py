"""Was the service the same at the end of a cell as at its beginning?"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np

from analysis.load.judging.findings import Evidence, Finding
from analysis.load.runs import Requests
from analysis.statistics import Absent, Estimate, fewest_requests, median
from contract.timing import NS_PER_MS

# perf_analyzer's rule: each of three windows within a tenth of their mean.
WINDOWS = 3
WINDOW_TOLERANCE = 0.1


@dataclass(frozen=True, slots=True, kw_only=True)
class Windows:
    """The medians of three windows in a row; ``steady`` when each is within 10 % of their mean.

    A flag beside the numbers and no verdict: it knows nothing of chance, and an open loop
    with few requests misses it without anything being wrong.
    """

    p50_ns: tuple[float, ...]
    steady: bool


def windows_of(requests: Requests) -> Windows | None:
    """perf_analyzer's stability of the answered requests; None where a window has too few for a median."""
    times_ns = requests.answers().response_time_ns
    if len(times_ns) < WINDOWS * fewest_requests(0.5):
        return None
    medians = [float(np.median(window)) for window in np.array_split(times_ns, WINDOWS)]
    mean = sum(medians) / WINDOWS
    return Windows(p50_ns=tuple(medians), steady=all(abs(one - mean) <= WINDOW_TOLERANCE * mean for one in medians))


def drift(evidence: Evidence) -> Iterator[Finding]:
    times_ns = evidence.requests.answers().response_time_ns
    half = len(times_ns) // 2
    first, second = median(times_ns[:half]), median(times_ns[half:])
    if isinstance(first, Absent) or isinstance(second, Absent):
        return
    moved = _moved_for_certain(first, second)
    if moved > evidence.limits.drift_to_name:
        yield Finding(
            moved > evidence.limits.drift_to_refuse,
            f"not stationary: the median response time was {_in_ms(first)} in the first half and {_in_ms(second)} "
            "in the second",
            "warm up longer, lower the rate, or keep the machine quiet",
        )


def _moved_for_certain(first: Estimate, second: Estimate) -> float:
    """The factor by which two medians differ even at the nearest ends of their intervals; 1 where they overlap."""
    return max(1.0, second.low / max(first.high, 1.0), first.low / max(second.high, 1.0))


def _in_ms(estimate: Estimate) -> str:
    value, low, high = (f"{ns / NS_PER_MS:.3g}" for ns in (estimate.value, estimate.low, estimate.high))
    return f"{value} ms ({low} to {high}, n = {estimate.n})"
