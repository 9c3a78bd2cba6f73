"""One stream of batches for every framework: order, augmentation and targets from NumPy alone.

The stream of epoch e depends on the seed and e only, so that a run that was stopped
goes on with the very batches it would have seen.
"""

from __future__ import annotations

from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from typing import Protocol

import numpy as np
from numpy.typing import NDArray

from contract.arrays import FloatArray, ImageArray, LabelArray
from contract.preprocessing import scale_pixels
from train.augmentation import Turn, View, jpeg_round_trip, reduced
from train.settings import TrainSettings


@dataclass(frozen=True, slots=True)
class Batch:
    """``images`` (batch, side, side, 3) in [-1, 1] and ``targets`` (batch, classes), rows summing to one.

    ``larger`` are the same views of the same cells at a larger side, undamaged, where the
    stream has such images: what a teacher looks at.
    """

    images: FloatArray
    targets: FloatArray
    larger: FloatArray | None = None


class Stream(Protocol):
    """What a run takes its batches from."""

    @property
    def steps_per_epoch(self) -> int:
        """How many batches `epoch` yields."""

    def epoch(self, number: int) -> Iterator[Batch]:
        """The batches of epoch ``number``, from 0."""


class BatchStream:
    """Augmented, shuffled batches of equal length; the last, shorter one of an epoch is left out.

    ``larger`` are the same cells, in the same order, at a larger resolution: free turns
    are then made there and reduced, which costs no sharpness.
    """

    def __init__(
        self,
        images: ImageArray,
        labels: LabelArray,
        classes: int,
        settings: TrainSettings,
        larger: ImageArray | None = None,
    ) -> None:
        self._images, self._settings, self._larger = images, settings, larger
        self._targets = smoothed_targets(labels, classes, settings.label_smoothing)
        # Once, not in every epoch: a round trip takes longer than all the rest that is done to an image.
        self._from_jpeg = _through_jpeg(images) if settings.jpeg_share else images

    @property
    def steps_per_epoch(self) -> int:
        """How many batches `epoch` yields."""
        return len(self._images) // self._settings.batch_images

    def epoch(self, number: int) -> Iterator[Batch]:
        """The batches of epoch ``number`` (from 0), each made while the one before is trained on."""
        rng = np.random.default_rng((self._settings.seed, number))
        order = rng.permutation(len(self._images))
        seeds = rng.integers(2**63, size=self.steps_per_epoch)
        with ThreadPoolExecutor(max_workers=1) as ahead:
            pending = ahead.submit(self._batch, order, 0, seeds[0])
            for step in range(1, self.steps_per_epoch):
                ready, pending = pending, ahead.submit(self._batch, order, step, seeds[step])
                yield ready.result()
            yield pending.result()

    def _batch(self, order: NDArray[np.int64], step: int, seed: np.int64) -> Batch:
        rng = np.random.default_rng(seed)
        length = self._settings.batch_images
        chosen = order[step * length : (step + 1) * length]
        pairs = [self._pair(int(index), rng) for index in chosen]
        images = scale_pixels(np.stack([small for small, _ in pairs]))
        larger = None if self._larger is None else scale_pixels(np.stack([large for _, large in pairs]))
        return _mixed(Batch(images, self._targets[chosen], larger), self._settings.mixed_share, rng)

    def _pair(self, index: int, rng: np.random.Generator) -> tuple[ImageArray, ImageArray]:
        """One augmented image, and the same view of it at the larger resolution (its own where there is none)."""
        settings, small = self._settings, self._images[index]
        large = small if self._larger is None else self._larger[index]
        damaged = rng.random() < settings.jpeg_share
        if rng.random() < settings.turned_share:
            seen = Turn.draw(settings.largest_shift, rng).of(large)
            image = reduced(seen, len(small))
            return (jpeg_round_trip(image) if damaged else image), seen
        view = View.draw(settings.largest_shift, rng)
        image = view.of(self._from_jpeg[index] if damaged else small)
        return image, image if self._larger is None else view.of(large)


def smoothed_targets(labels: LabelArray, classes: int, smoothing: float) -> FloatArray:
    """One-hot rows (n, classes) with ``smoothing`` of the mass spread evenly over all classes."""
    targets = np.full((len(labels), classes), smoothing / classes, np.float32)
    targets[np.arange(len(labels)), labels] += np.float32(1 - smoothing)
    return targets


def _through_jpeg(images: ImageArray) -> ImageArray:
    converted = np.empty_like(images)
    for index, image in enumerate(images):
        converted[index] = jpeg_round_trip(image)
    return converted


def _mixed(batch: Batch, strength: float, rng: np.random.Generator) -> Batch:
    """Mixup (Zhang et al., arXiv 1710.09412): each batch blended with itself in another order."""
    if not strength:
        return batch
    share = np.float32(rng.beta(strength, strength))
    partner = rng.permutation(len(batch.images))

    def blend(values: FloatArray) -> FloatArray:
        return share * values + (1 - share) * values[partner]

    larger = None if batch.larger is None else blend(batch.larger)
    return Batch(blend(batch.images), blend(batch.targets), larger)
