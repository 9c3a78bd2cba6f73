"""Is a runtime faster than the baseline, or does it only look so: a test per contender, and Holm's correction."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from itertools import groupby
from typing import Literal

import numpy as np

from analysis.load.runs import Requests
from analysis.statistics import holm, permutation_p
from contract.records.load import NULL_RUNTIME

# Smaller differences are not called differences, however narrow their intervals.
MINIMUM_EFFECT = 1.03
SIGNIFICANCE = 0.05
# Below four runs against four no relabelling can be rare enough to say anything.
FEWEST_RUNS = 4

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
    medians = {key: [float(np.median(run.response_time_ns)) for run in runs] for key, runs in answers.items()}
    rivals = sorted((key for key in medians if key[0] not in (baseline, NULL_RUNTIME)), key=lambda key: key[1:])
    found: dict[Key, Difference] = {}
    for (side, scenario), family in groupby(rivals, key=lambda key: key[1:]):
        base = medians.get((baseline, side, scenario))
        if base is not None:
            found |= _family(list(family), medians, base)
    return found


def _family(
    keys: Sequence[Key], medians: Mapping[Key, Sequence[float]], base: Sequence[float]
) -> dict[Key, Difference]:
    if min(len(base), *(len(medians[key]) for key in keys)) < FEWEST_RUNS:
        return dict.fromkeys(keys, Difference("too few runs"))
    adjusted = holm([permutation_p(medians[key], base) for key in keys])
    ratios = [float(np.median(medians[key]) / np.median(base)) for key in keys]
    return {
        key: Difference(says_of(ratio, p_value), p_value)
        for key, ratio, p_value in zip(keys, ratios, adjusted, strict=True)
    }


def says_of(ratio: float, p_value: float) -> Says:
    """What a ratio of times says at an adjusted p-value: a difference, and which, or why it is none."""
    if p_value > SIGNIFICANCE:
        return "not shown"
    if max(ratio, 1 / ratio) < MINIMUM_EFFECT:
        return "below 3 %"
    return "faster" if ratio < 1 else "slower"
