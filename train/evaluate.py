"""Scores of a network on one split, each with its interval and the images it was measured on."""

from __future__ import annotations

import numpy as np

from contract.arrays import FloatArray
from contract.dataset import Dataset, Split
from contract.manifest import Metric
from contract.parity import Predict
from contract.preprocessing import scale_pixels
from contract.statistics.intervals import wilson

IMAGES_AT_ONCE = 128


def logits_of(predict: Predict, dataset: Dataset, split: Split) -> FloatArray:
    """Logits (n, classes) of every image of ``split``, in ascending position; no image is left out."""
    positions = dataset.indices(split)
    chunks = [positions[start : start + IMAGES_AT_ONCE] for start in range(0, len(positions), IMAGES_AT_ONCE)]
    return np.concatenate([predict(scale_pixels(dataset.images[chunk])) for chunk in chunks])


def accuracy(logits: FloatArray, dataset: Dataset, split: Split) -> Metric:
    """The share of images whose largest logit is their class, with Wilson's 95 % interval."""
    correct = int((logits.argmax(axis=1) == dataset.labels[dataset.indices(split)]).sum())
    return share("accuracy", correct, len(logits), dataset, split)


def recalls(logits: FloatArray, dataset: Dataset, split: Split) -> tuple[Metric, ...]:
    """For each class, the share of its images that were recognised; classes without images are left out."""
    labels, answers = dataset.labels[dataset.indices(split)], logits.argmax(axis=1)
    found = []
    for index, name in enumerate(dataset.facts.labels):
        of_class = labels == index
        if of_class.any():
            correct = int((answers[of_class] == index).sum())
            found.append(share(f"recall of {name}", correct, int(of_class.sum()), dataset, split))
    return tuple(found)


def share(name: str, correct: int, images: int, dataset: Dataset, split: Split) -> Metric:
    """``correct`` of ``images`` as a metric called ``name``, with Wilson's 95 % interval."""
    low, high = wilson(correct, images)
    return Metric(
        name=name,
        value=correct / images,
        low=low,
        high=high,
        images=images,
        data=dataset.facts.description,
        split=split,
    )
