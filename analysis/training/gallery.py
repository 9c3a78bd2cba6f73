"""The test images that a run got wrong: which class they are, which was answered, and how sure it was."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from analysis.thumbnails import data_uri, thumbnail
from analysis.training.scores import probabilities
from analysis.training.summary import NetworkFigures
from contract.arrays import ImageArray
from contract.dataset import dataset_folder, load_dataset
from contract.errors import DataCorrupt, DataUnavailable

MOST_IMAGES = 120


@dataclass(frozen=True, slots=True, kw_only=True)
class Mistake:
    """One test image. Probabilities are means over the runs that got it wrong; ``picture`` is a data URI."""

    position: int
    true_class: str
    answered_class: str
    true_probability: float
    answered_probability: float
    wrong_runs: int
    runs: int
    picture: str | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Gallery:
    """The mistakes of all runs of one network, those of most runs first; ``left_out`` are not listed."""

    model: str
    resolution_px: int
    mistakes: tuple[Mistake, ...]
    left_out: int
    without_pictures: str | None


def gallery(network: NetworkFigures, cache: Path | None) -> Gallery:
    """What the runs of ``network`` got wrong, with pictures where ``cache`` has the very images."""
    images, reason = _images(network, cache)
    found = sorted(_mistakes(network, images), key=lambda one: (-one.wrong_runs, -one.answered_probability))
    return Gallery(
        model=network.model,
        resolution_px=network.resolution_px,
        mistakes=tuple(found[:MOST_IMAGES]),
        left_out=max(0, len(found) - MOST_IMAGES),
        without_pictures=reason,
    )


def _images(network: NetworkFigures, cache: Path | None) -> tuple[ImageArray | None, str | None]:
    """The data set's images, or why there are none."""
    run = network.runs[0].run
    if cache is None:
        return None, "no cache was named"
    try:
        dataset = load_dataset(dataset_folder(cache, run.data_source, network.resolution_px))
    except (DataUnavailable, DataCorrupt) as error:
        return None, str(error)
    if dataset.facts.images_sha256 != run.data_digest:
        return None, f"{cache} holds other images than the runs were tested on"
    return dataset.images, None


def _mistakes(network: NetworkFigures, images: ImageArray | None) -> list[Mistake]:
    chances = np.stack([probabilities(figures.test.logits) for figures in network.runs])  # (runs, images, classes)
    test, labels = network.runs[0].test, network.runs[0].run.labels
    wrong = chances.argmax(axis=2) != test.labels
    found = []
    for row in np.flatnonzero(wrong.any(axis=0)):
        position, true = int(test.positions[row]), int(test.labels[row])
        mean = chances[wrong[:, row], row].mean(axis=0)
        answered = _most_often(chances[wrong[:, row], row].argmax(axis=1).tolist())
        mistake = Mistake(
            position=position,
            true_class=labels[true],
            answered_class=labels[answered],
            true_probability=float(mean[true]),
            answered_probability=float(mean[answered]),
            wrong_runs=int(wrong[:, row].sum()),
            runs=len(chances),
            picture=None if images is None else data_uri(thumbnail(images[position])),
        )
        found.append(mistake)
    return found


def _most_often(answers: Sequence[int]) -> int:
    return int(np.bincount(answers).argmax())
