"""What a service answered, image by image: how often it was right, and whether HTTP changed anything."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from analysis.load.runs import NOT_RECORDED, Requests
from analysis.statistics import Figure, proportion
from contract.records.load import OfflinePredictions


@dataclass(frozen=True, slots=True, kw_only=True)
class Agreement:
    """Answers over HTTP beside the in-process predictions of the same artifact, in distinct images.

    ``differing`` lists the images that got another class at least once; ``unknown`` counts
    images that nothing was predicted for.
    """

    images: int
    differing: tuple[int, ...]
    unknown: int

    @property
    def agreeing(self) -> int:
        """Images whose every answer was the predicted class."""
        return self.images - len(self.differing) - self.unknown


def agreement_with(predictions: OfflinePredictions, requests: Requests) -> Agreement:
    """How the measured, answered ``requests`` compare with ``predictions``."""
    answered = requests.answers()
    predicted = dict(zip(predictions.images, predictions.classes, strict=True))
    images = answered.image.tolist()
    differing = {
        image
        for image, answer in zip(images, answered.answered.tolist(), strict=True)
        if image in predicted and predicted[image] != answer
    }
    distinct = set(images)
    return Agreement(images=len(distinct), differing=tuple(sorted(differing)), unknown=len(distinct - predicted.keys()))


def accuracy(requests: Requests) -> Figure:
    """The share of distinct images that were answered rightly.

    An image counts once however often it was sent, because its answers are not
    independent trials; it is right when its every answer is.
    """
    answered = requests.answers()
    wrong = np.unique(answered.image[answered.answered != answered.expected])
    images = len(np.unique(answered.image))
    return proportion(images - len(wrong), images)


def without_class(requests: Requests) -> int:
    """Positive answers that named no class."""
    return int((requests.answers().answered == NOT_RECORDED).sum())
