"""One stream of batches for every framework: order, augmentation and targets from NumPy alone.

The stream of epoch e depends on the seed and e only, so that a run that was stopped
goes on with the very batches it would have seen.
"""

from __future__ import annotations

from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from io import BytesIO

import numpy as np
from PIL import Image

from contract.arrays import FloatArray, ImageArray, LabelArray
from contract.preprocessing import scale_pixels
from train.settings import TrainSettings


@dataclass(frozen=True, slots=True)
class Batch:
    """``images`` (batch, side, side, 3) in [-1, 1] and ``targets`` (batch, classes), rows summing to one."""

    images: FloatArray
    targets: FloatArray


class BatchStream:
    """Augmented, shuffled batches of equal length; the last, shorter one of an epoch is left out."""

    def __init__(self, images: ImageArray, labels: LabelArray, classes: int, settings: TrainSettings) -> None:
        self._images, self._labels, self._settings = images, labels, settings
        self._targets = smoothed_targets(labels, classes, settings.label_smoothing)
        self._jpeg_images = _through_jpeg(images) if settings.jpeg_share else images

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

    def _batch(self, order: np.ndarray[tuple[int], np.dtype[np.int64]], step: int, seed: np.int64) -> Batch:
        rng = np.random.default_rng(seed)
        length = self._settings.batch_images
        chosen = order[step * length : (step + 1) * length]
        from_jpeg = rng.random(length) < self._settings.jpeg_share
        pixels = np.empty((length, *self._images.shape[1:]), np.uint8)
        for slot, (index, jpeg) in enumerate(zip(chosen, from_jpeg, strict=True)):
            source = self._jpeg_images if jpeg else self._images
            pixels[slot] = augmented(source[index], self._settings.largest_shift, rng)
        images, targets = scale_pixels(pixels), self._targets[chosen]
        return Batch(*_mixed(images, targets, self._settings.mixed_share, rng))


def smoothed_targets(labels: LabelArray, classes: int, smoothing: float) -> FloatArray:
    """One-hot rows (n, classes) with ``smoothing`` of the mass spread evenly over all classes."""
    targets = np.full((len(labels), classes), smoothing / classes, np.float32)
    targets[np.arange(len(labels)), labels] += np.float32(1 - smoothing)
    return targets


def augmented(image: ImageArray, largest_shift: float, rng: np.random.Generator) -> ImageArray:
    """One of the eight flips and quarter turns, shifted a little: a cell has no up, nor a fixed place.

    ``largest_shift`` is a share of the side; what a shift uncovers repeats the edge.
    """
    turned = np.rot90(image, k=int(rng.integers(4)))
    if rng.integers(2):
        turned = turned[:, ::-1]
    reach = round(largest_shift * len(image))
    rows, columns = rng.integers(-reach, reach + 1, size=2)
    last = len(image) - 1
    positions = np.arange(len(image))
    shifted: ImageArray = turned[np.clip(positions + rows, 0, last)][:, np.clip(positions + columns, 0, last)]
    return shifted


def jpeg_round_trip(image: ImageArray) -> ImageArray:
    """``image`` after JPEG at quality 75 with 4:2:0 chroma, as in the official 28 px file."""
    stored = BytesIO()
    Image.fromarray(image).save(stored, "JPEG", quality=75, subsampling="4:2:0")
    return np.asarray(Image.open(stored).convert("RGB"))


def _through_jpeg(images: ImageArray) -> ImageArray:
    converted = np.empty_like(images)
    for index, image in enumerate(images):
        converted[index] = jpeg_round_trip(image)
    return converted


def _mixed(
    images: FloatArray, targets: FloatArray, strength: float, rng: np.random.Generator
) -> tuple[FloatArray, FloatArray]:
    """Mixup (Zhang et al., arXiv 1710.09412): each batch blended with itself in another order."""
    if not strength:
        return images, targets
    share = np.float32(rng.beta(strength, strength))
    partner = rng.permutation(len(images))
    return (
        share * images + (1 - share) * images[partner],
        share * targets + (1 - share) * targets[partner],
    )
