"""Which classes a service takes for which: every image that a load sent, with what it is and what was answered."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np

from analysis.load.figures import Key
from analysis.load.runs import NOT_RECORDED, Requests
from analysis.statistics import Figure, proportion
from contract.blood_cells import LABELS
from contract.records.load import NULL_RUNTIME, RunPlan

BLOOD_CELL_SOURCES = ("pbc", "bloodmnist", "synthetic")
Answer = tuple[int, int, int]  # image, true class, answered class


@dataclass(frozen=True, slots=True, kw_only=True)
class WrongAnswer:
    """An image (its position in the data set) that got a wrong class, and the runtimes that gave it."""

    image: int
    true_class: str
    answered_class: str
    runtimes: tuple[str, ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class Confusion:
    """The answers at one resolution, of all runtimes together.

    ``counts[true][answered]`` counts images: one that got the same class from everybody counts
    once, one that got several (``disagreed`` of them did) counts once for each. ``recalls`` follow ``labels``.
    """

    resolution_px: int
    runtimes: tuple[str, ...]
    labels: tuple[str, ...]
    images: int
    disagreed: int
    counts: tuple[tuple[int, ...], ...]
    recalls: tuple[Figure, ...]
    wrong: tuple[WrongAnswer, ...]


def confusions(plan: RunPlan, valid: Mapping[Key, Sequence[Requests]]) -> tuple[Confusion, ...]:
    """One per resolution, ascending, of the answered requests of valid cells; none for rendered images."""
    if not plan.data_is_real:
        return ()
    by_side: dict[int, dict[Answer, set[str]]] = defaultdict(lambda: defaultdict(set))
    for (runtime, side, _), runs in valid.items():
        if runtime != NULL_RUNTIME:
            for answer in (answer for requests in runs for answer in _answers(requests)):
                by_side[side][answer].add(runtime)
    return tuple(_confusion(plan, side, by_side[side]) for side in sorted(by_side))


def _answers(requests: Requests) -> set[Answer]:
    answered = requests.answers()
    answered = answered.only(answered.answered != NOT_RECORDED)
    columns = (answered.image.tolist(), answered.expected.tolist(), answered.answered.tolist())
    return set(zip(*columns, strict=True))


def _confusion(plan: RunPlan, side: int, given: Mapping[Answer, set[str]]) -> Confusion:
    labels = _labels(plan, given)
    counts = np.zeros((len(labels), len(labels)), np.int64)
    for _, true, answered in given:
        counts[true, answered] += 1
    images = {image for image, _, _ in given}
    return Confusion(
        resolution_px=side,
        runtimes=tuple(sorted(set().union(*given.values()))),
        labels=labels,
        images=len(images),
        disagreed=len(given) - len(images),
        counts=tuple(tuple(row) for row in counts.tolist()),
        recalls=tuple(proportion(int(row[true]), int(row.sum())) for true, row in enumerate(counts)),
        wrong=tuple(
            WrongAnswer(
                image=image,
                true_class=labels[true],
                answered_class=labels[answered],
                runtimes=tuple(sorted(runtimes)),
            )
            for (image, true, answered), runtimes in sorted(given.items(), key=lambda one: (one[0][1:], one[0][0]))
            if true != answered
        ),
    )


def _labels(plan: RunPlan, given: Mapping[Answer, set[str]]) -> tuple[str, ...]:
    """The names of the classes; numbers where the images are not of this project's task."""
    highest = max(max(true, answered) for _, true, answered in given)
    if plan.data_source in BLOOD_CELL_SOURCES and highest < len(LABELS):
        return LABELS
    return tuple(f"class {number}" for number in range(highest + 1))
