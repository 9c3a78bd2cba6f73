"""Is a runtime faster than the baseline, or does it only look so: a test per contender, and Holm's correction."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from itertools import groupby
from typing import Literal

import numpy as np

from analysis.load.runs import Requests
from analysis.statistics import holm, least_permutation_p, permutation_p
from contract.records.load import NULL_RUNTIME

# Smaller differences are not called differences, however narrow their intervals.
MINIMUM_EFFECT = 1.03
SIGNIFICANCE = 0.05
Says = Literal["faster", "slower", "below 3 %", "not shown", "too few runs"]
Key = tuple[str, int, str]


@dataclass(frozen=True, slots=True)
class Difference:
    """What the runs say of a contender against the baseline. ``p_value`` is Holm's, None with too few runs."""

    says: Says
    p_value: float | None = None


def differences_from(baseline: str, answers: Mapping[Key, Sequence[Requests]]) -> dict[Key, Difference]:
    """Every contender against ``baseline`` at its resolution and scenario, on the medians of the runs.

    The comparisons at one resolution under one scenario are one family: they answer one
    question of the reader, and five runs cannot carry a correction over a whole campaign.
    """
    medians = {key: medians_of_runs(runs) for key, runs in answers.items()}
    rivals = sorted((key for key in medians if key[0] not in (baseline, NULL_RUNTIME)), key=lambda key: key[1:])
    found: dict[Key, Difference] = {}
    for (side, scenario), family in groupby(rivals, key=lambda key: key[1:]):
        base = medians.get((baseline, side, scenario))
        if base is not None:
            found |= _family(list(family), medians, base)
    return found


def medians_of_runs(runs: Sequence[Requests]) -> list[float]:
    """One number for each run: its median response time, in nanoseconds."""
    return [float(np.median(run.response_time_ns)) for run in runs]


def _family(
    keys: Sequence[Key], medians: Mapping[Key, Sequence[float]], base: Sequence[float]
) -> dict[Key, Difference]:
    found = compared_with(base, [medians[key] for key in keys])
    return dict.fromkeys(keys, Difference("too few runs")) if found is None else dict(zip(keys, found, strict=True))


def compared_with(base: Sequence[float], rivals: Sequence[Sequence[float]]) -> list[Difference] | None:
    """Each of ``rivals`` against ``base``, a median per run, with one correction over them.

    None where even runs that are all apart could not be told from chance: four against four, three times over.
    """
    least = holm([least_permutation_p(len(base), len(rival)) for rival in rivals])
    if not least or max(least) > SIGNIFICANCE:
        return None
    adjusted = holm([permutation_p(rival, base) for rival in rivals])
    ratios = [float(np.median(rival) / np.median(base)) for rival in rivals]
    return [Difference(says_of(ratio, p_value), p_value) for ratio, p_value in zip(ratios, adjusted, strict=True)]


def says_of(ratio: float, p_value: float) -> Says:
    """What a ratio of times says at an adjusted p-value: a difference, and which, or why it is none."""
    if p_value > SIGNIFICANCE:
        return "not shown"
    if max(ratio, 1 / ratio) < MINIMUM_EFFECT:
        return "below 3 %"
    return "faster" if ratio < 1 else "slower"
