"""Time against pixels: a constant and a slope for every runtime, and where one overtakes another.

Pure functions of ``medians[resolution][process]``: each process is an independent start of the
runtime, so processes are resampled, never calls. With fewer than five processes the intervals
promise less than 95 %.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np

from analysis.statistics import Absent, Estimate, Figure, FloatColumn

DRAWS = 1_000
FEWEST_RESOLUTIONS = 3
SURE = 0.95  # share of the draws in which a crossing must be there

# By resolution, the median call of each process, in nanoseconds; the processes in one order.
Medians = Mapping[int, Sequence[float]]


@dataclass(frozen=True, slots=True, kw_only=True)
class Scaling:
    """``time = overhead + slope * pixels``, and the power that the times follow over the whole range.

    ``off_by`` is the line's largest relative error at a measured resolution. An ``exponent`` of 1 is
    proportional; below 1, part of the time does not grow with the image.
    """

    overhead_ns: Figure
    slope_ns_per_px: Figure
    exponent: Figure
    off_by: Figure


@dataclass(frozen=True, slots=True, kw_only=True)
class Crossing:
    """Above ``resolution_px`` ``faster_above`` is the faster of the two, below it the other."""

    faster_below: str
    faster_above: str
    resolution_px: Figure


def scaling_of(medians: Medians, rng: np.random.Generator, draws: int = DRAWS) -> Scaling:
    """The fit, relative errors weighing alike, so that 28 px count as much as 224 px."""
    sides = sorted(medians)
    if len(sides) < 2:
        absent = Absent("one resolution has no slope")
        return Scaling(overhead_ns=absent, slope_ns_per_px=absent, exponent=absent, off_by=absent)
    pixels = np.array(sides, dtype=np.float64) ** 2
    middle, drawn = _draws(medians, rng, draws)
    processes = len(medians[sides[0]])
    exponent = _estimate(_exponent(pixels, middle), np.array([_exponent(pixels, times) for times in drawn]), processes)
    if len(sides) < FEWEST_RESOLUTIONS:
        absent = Absent(f"a line meets any {len(sides)} points; it takes {FEWEST_RESOLUTIONS} resolutions")
        return Scaling(overhead_ns=absent, slope_ns_per_px=absent, exponent=exponent, off_by=absent)
    lines = np.array([_line(pixels, times) for times in drawn])
    overhead, slope = _line(pixels, middle)
    return Scaling(
        overhead_ns=_estimate(overhead, lines[:, 0], processes),
        slope_ns_per_px=_estimate(slope, lines[:, 1], processes),
        exponent=exponent,
        off_by=_estimate(
            _off_by(pixels, middle),
            np.array([_off_by(pixels, times) for times in drawn]),
            processes,
        ),
    )


def crossings(
    names: tuple[str, str], one: Medians, other: Medians, rng: np.random.Generator, draws: int = DRAWS
) -> list[Crossing]:
    """Where the faster of the two changes between neighbouring resolutions; no law of growth is assumed.

    Between two resolutions the logarithm of the ratio is taken to be straight in the logarithm of
    the side. `Absent` in place of the point where fewer than 95 % of the resamples have a crossing there.
    """
    sides = sorted(one.keys() & other.keys())
    if len(sides) < 2:
        return []
    logs = np.log(np.array(sides, dtype=np.float64))
    pick = {side: one[side] for side in sides}, {side: other[side] for side in sides}
    (middle_one, drawn_one), (middle_other, drawn_other) = (_draws(medians, rng, draws) for medians in pick)
    middle, drawn = np.log(middle_one / middle_other), np.log(drawn_one / drawn_other)
    processes = min(len(one[sides[0]]), len(other[sides[0]]))
    return [
        _crossing(names, logs[at : at + 2], middle[at : at + 2], drawn[:, at : at + 2], processes)
        for at in range(len(sides) - 1)
        if middle[at] * middle[at + 1] < 0
    ]


def _crossing(
    names: tuple[str, str], logs: FloatColumn, middle: FloatColumn, drawn: FloatColumn, processes: int
) -> Crossing:
    below, above = names if middle[0] < 0 else names[::-1]
    there = drawn[drawn[:, 0] * drawn[:, 1] < 0]
    share = len(there) / len(drawn)
    if share < SURE:
        side = Absent(f"only {share:.0%} of the resamples cross between {_side(logs[0])} and {_side(logs[1])} px")
        return Crossing(faster_below=below, faster_above=above, resolution_px=side)
    points = np.array([_zero(logs, pair) for pair in there])
    point = _estimate(_zero(logs, middle), points, processes)
    return Crossing(faster_below=below, faster_above=above, resolution_px=point)


def _zero(logs: FloatColumn, pair: FloatColumn) -> float:
    """The side at which a straight line between the two logarithms of the ratio is zero."""
    return float(np.exp(logs[0] + (logs[1] - logs[0]) * pair[0] / (pair[0] - pair[1])))


def _side(log: float) -> int:
    return round(float(np.exp(log)))


def _draws(medians: Medians, rng: np.random.Generator, draws: int) -> tuple[FloatColumn, FloatColumn]:
    """The median over processes at every resolution, and ``draws`` resamples of whole processes."""
    table = np.array([medians[side] for side in sorted(medians)], dtype=np.float64)  # (resolutions, processes)
    chosen = rng.integers(table.shape[1], size=(draws, table.shape[1]))
    return np.median(table, axis=1), np.median(table[:, chosen], axis=2).T


def _line(pixels: FloatColumn, times: FloatColumn) -> tuple[float, float]:
    rows = np.stack([1 / times, pixels / times], axis=1)
    (overhead, slope), *_ = np.linalg.lstsq(rows, np.ones(len(times)), rcond=None)
    return float(overhead), float(slope)


def _off_by(pixels: FloatColumn, times: FloatColumn) -> float:
    overhead, slope = _line(pixels, times)
    return float(np.abs((overhead + slope * pixels) / times - 1).max())


def _exponent(pixels: FloatColumn, times: FloatColumn) -> float:
    return float(np.polyfit(np.log(pixels), np.log(times), 1)[0])


def _estimate(value: float, drawn: FloatColumn, processes: int) -> Figure:
    if processes < 2:
        return Absent("one process has no interval", processes)
    low, high = np.percentile(drawn, [2.5, 97.5])
    return Estimate(value, min(float(low), value), max(float(high), value), processes, "processes")
