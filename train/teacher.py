"""Training towards what a trained network says of the same cells, seen larger and undamaged.

Pupil and teacher see the same view of the same blended images, as in Beyer et al.,
"Knowledge distillation: a good teacher is patient and consistent" (arXiv 2106.05237). A
pupil whose images went through JPEG is told what the teacher saw without it.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np

from contract.arrays import FloatArray
from contract.dataset import Dataset
from contract.errors import DataUnavailable
from contract.parity import Predict
from contract.weights import Weights
from train.batches import Batch, BatchStream


@dataclass(frozen=True, slots=True)
class Teacher:
    """Trained weights of the same network, and the data set of their resolution."""

    weights: Weights
    dataset: Dataset
    described: str


class TaughtStream:
    """The batches of ``stream``, which must have larger images, with ``share`` of each target from a teacher."""

    def __init__(self, stream: BatchStream, teach: Predict, share: float) -> None:
        self._stream, self._teach, self._share = stream, teach, np.float32(share)

    @property
    def steps_per_epoch(self) -> int:
        """As many as the stream's."""
        return self._stream.steps_per_epoch

    def epoch(self, number: int) -> Iterator[Batch]:
        """The stream's batches of epoch ``number``, taught."""
        for batch in self._stream.epoch(number):
            if batch.larger is None:
                raise AssertionError("a taught stream is made from one with larger images")
            lesson = probabilities(self._teach(batch.larger))
            yield Batch(batch.images, (1 - self._share) * batch.targets + self._share * lesson)


def probabilities(logits: FloatArray) -> FloatArray:
    """The softmax of each row."""
    exact = np.exp(logits - logits.max(axis=1, keepdims=True))
    shares: FloatArray = exact / exact.sum(axis=1, keepdims=True)
    return shares


def require_same_cells(dataset: Dataset, teacher: Teacher) -> None:
    """Raise `DataUnavailable` unless both data sets hold the same cells in the same splits.

    A teacher that was trained on the pupil's test images would give them away.
    """
    own, larger = dataset, teacher.dataset
    same = own.facts.source == larger.facts.source and all(
        np.array_equal(own.indices(split), larger.indices(split)) for split in ("train", "validation", "test")
    )
    if not same or not np.array_equal(own.labels, larger.labels):
        raise DataUnavailable(
            f"the teacher's images ({larger.facts.source}) are not the pupil's ({own.facts.source}) at another "
            "resolution. Next: hemabench data for both resolutions from one source"
        )
