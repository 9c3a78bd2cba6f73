"""Is the second of two runs faster than the first, cell by cell, with one correction over all cells."""

from __future__ import annotations

import zlib
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from analysis.comparison.conditions import Differing, require_comparable
from analysis.comparison.sides import Key, Side, load_side, median_ns
from analysis.differences import MINIMUM_EFFECT, SIGNIFICANCE, Difference, Says, says_of
from analysis.statistics import Figure, NumberColumn, holm, ratio_of_medians, resample_median, student_p
from contract.errors import RunInvalid
from contract.progress import Progress, part_of, silent

# One median has no spread, two hardly one that can be told from nothing. Requests of a single start cannot stand in
# for it: by them two starts of one service were called different in 31 of 54 cells of docs/results/full.md.
FEWEST_REPETITIONS = 3
DRAWS = 2_000
WITHIN, BETWEEN = "requests of one repetition", "repetitions"


@dataclass(frozen=True, slots=True, kw_only=True)
class Pair:
    """One cell in both runs: times of B over times of A, both medians of medians.

    ``interval_from`` says what was resampled: `BETWEEN` where both runs have several
    repetitions, `WITHIN` where one has a single one: another start of the service may
    then differ by more than the interval says, and no difference is named. ``offered`` is A's and B's.
    """

    key: Key
    a_ns: float
    b_ns: float
    ratio: Figure
    repetitions: tuple[int, int]
    interval_from: str
    difference: Difference
    offered: tuple[str, str]


@dataclass(frozen=True, slots=True, kw_only=True)
class Comparison:
    """Two runs. ``despite`` are the conditions in which they differ all the same; ``alone`` are cells of one run."""

    a: str
    b: str
    despite: tuple[Differing, ...]
    pairs: tuple[Pair, ...]
    alone: tuple[str, ...]
    minimum_effect: float = MINIMUM_EFFECT
    significance: float = SIGNIFICANCE


def compare_runs(a: Path, b: Path, despite: Sequence[str] = (), progress: Progress = silent) -> Comparison:
    """The runs in two folders, of one kind.

    Raises `InvalidSettings`, naming the fields, where the runs were not measured under the
    same conditions and ``despite`` does not allow it; `RunInvalid` where they have no valid cell in common.
    """
    one, other = load_side(a, part_of(progress, 0, 1, 2)), load_side(b, part_of(progress, 1, 1, 2))
    allowed = require_comparable(one, other, despite)
    keys = sorted(one.times_ns.keys() & other.times_ns.keys())
    if not keys:
        raise RunInvalid(f"{a} and {b} have no valid cell in common. Next: hemabench report {a}")
    return Comparison(
        a=one.run,
        b=other.run,
        despite=allowed,
        pairs=_pairs(keys, one, other),
        alone=(*_alone(one, other, "A"), *_alone(other, one, "B")),
    )


@dataclass(frozen=True, slots=True)
class _Compared:
    """A pair before the correction; ``p_value`` is None with too few repetitions."""

    ratio: Figure
    p_value: float | None
    interval_from: str


def _pairs(keys: Sequence[Key], a: Side, b: Side) -> tuple[Pair, ...]:
    """Holm's correction is over all pairs that have a p-value: the reader looks through all of them."""
    found = [_compared(key, a, b) for key in keys]
    adjusted = iter(holm([one.p_value for one in found if one.p_value is not None]))
    return tuple(
        Pair(
            key=key,
            a_ns=(a_ns := _median_of_medians(a.times_ns[key])),
            b_ns=(b_ns := _median_of_medians(b.times_ns[key])),
            ratio=one.ratio,
            repetitions=(len(a.times_ns[key]), len(b.times_ns[key])),
            interval_from=one.interval_from,
            difference=_difference(b_ns / a_ns, None if one.p_value is None else next(adjusted)),
            offered=(a.offered.get(key, ""), b.offered.get(key, "")),
        )
        for key, one in zip(keys, found, strict=True)
    )


def _compared(key: Key, a: Side, b: Side) -> _Compared:
    of, to = (
        resample_median(side.times_ns[key], _stream(side, key, name), DRAWS) for side, name in ((b, "b"), (a, "a"))
    )
    ratio = ratio_of_medians(of, to)
    repetitions = min(len(a.times_ns[key]), len(b.times_ns[key]))
    interval_from = WITHIN if repetitions == 1 else BETWEEN
    if repetitions < FEWEST_REPETITIONS:
        return _Compared(ratio, None, interval_from)
    medians = [[median_ns(run) for run in side.times_ns[key]] for side in (b, a)]
    return _Compared(ratio, student_p(*medians), interval_from)


def _difference(ratio: float, p_value: float | None) -> Difference:
    says: Says = "too few runs" if p_value is None else says_of(ratio, p_value)
    return Difference(says, p_value)


def _median_of_medians(runs: Sequence[NumberColumn]) -> float:
    return float(np.median([median_ns(run) for run in runs]))


def _stream(side: Side, key: Key, name: str) -> np.random.Generator:
    words = (side.seed, name, key.runtime, key.resolution_px, key.how)
    return np.random.default_rng(zlib.crc32("/".join(map(str, words)).encode()))


def _alone(side: Side, other: Side, name: str) -> tuple[str, ...]:
    return tuple(
        f"{key.runtime} {key.resolution_px} px {key.how}: valid in {name} alone"
        for key in sorted(side.times_ns.keys() - other.times_ns.keys())
    )
