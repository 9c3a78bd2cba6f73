"""What is known of a trained network besides its weights: how sure it may be, and which images it may judge.

The temperature divides the logits, so that the probabilities mean what they say. The
distance says how unlike the training images an image is. It looks at pixels alone, not at
the network, so it is the same for every runtime and knows nothing of any class.
"""

from __future__ import annotations

import hashlib
import threading
from dataclasses import dataclass
from math import isfinite, sqrt
from pathlib import Path

import numpy as np
import safetensors
from safetensors.numpy import load, save

from contract.arrays import FloatArray
from contract.errors import ManifestInvalid
from contract.storage import write_atomically

GRID_PX = 28  # an image is looked at through every n-th pixel, so that about so many are left of a side
BLOCKS_PER_SIDE = 4
# Added to variances before their logarithm: the square of 1.3 grey levels, what a JPEG leaves of a flat ground.
FLAT = np.float32(1e-4)


@dataclass(frozen=True, slots=True, kw_only=True)
class Calibration:
    """What was fitted on ``images`` validation images: probabilities are ``softmax(logits / temperature)``.

    An image whose distance from the training images is above ``distance_threshold`` is
    out of distribution.
    """

    temperature: float
    distance_threshold: float
    images: int
    distribution_sha256: str = ""  # which distribution the threshold is of; none in records from before it was kept

    def __post_init__(self) -> None:
        for name in ("temperature", "distance_threshold"):
            if not (isfinite(value := getattr(self, name)) and value > 0):
                raise ManifestInvalid(f"{name} is {value}, not a finite number above 0. Next: hemabench calibrate")


@dataclass(frozen=True, slots=True)
class Distribution:
    """The training images' mean (k,) and whitening (k, k) of `statistics_of`: a Gaussian with nothing of a class.

    Source of the distance: Mahalanobis, Proc. Nat. Inst. Sci. India 2 (1936) 49. Lee et
    al., arXiv 1807.03888, use it with a network's features; here it takes the pixels' own.
    """

    mean: FloatArray
    whitening: FloatArray

    def distance(self, image: FloatArray) -> float:
        """How far ``image`` (1, side, side, 3) in [-1, 1] is from the training images, in standard deviations."""
        whitened = np.dot(_gauge_for(image.shape[1]).read(image[0]) - self.mean, self.whitening)
        return sqrt(np.dot(whitened, whitened))

    def distances_of_statistics(self, statistics: FloatArray) -> FloatArray:
        """`distance` for each row of ``statistics``, which `statistics_of` gave."""
        distances: FloatArray = np.linalg.norm((statistics - self.mean) @ self.whitening, axis=1)
        return distances

    def save(self, path: Path) -> None:
        """Write both arrays to one safetensors file, atomically."""
        write_atomically(path, self._content())

    @property
    def sha256(self) -> str:
        """Hexadecimal SHA-256 of the file that `save` writes."""
        return hashlib.sha256(self._content()).hexdigest()

    def _content(self) -> bytes:
        return save({"mean": self.mean, "whitening": self.whitening})

    @classmethod
    def load(cls, path: Path) -> Distribution:
        """Read what `save` wrote; raises `ManifestInvalid`."""
        try:
            arrays = load(path.read_bytes())
            distribution = cls(arrays["mean"], arrays["whitening"])
        except (OSError, KeyError, safetensors.SafetensorError) as error:
            raise ManifestInvalid(f"{path}: no distribution: {error}. Next: hemabench calibrate") from error
        mean, whitening = distribution.mean, distribution.whitening
        belong = mean.shape == (STATISTICS,) and whitening.shape == (STATISTICS, STATISTICS)
        belong = belong and mean.dtype == whitening.dtype == np.float32
        if not belong or not (np.isfinite(mean).all() and np.isfinite(whitening).all()):
            raise ManifestInvalid(f"{path}: mean and whitening do not belong together. Next: hemabench calibrate")
        return distribution


BLOCKS = BLOCKS_PER_SIDE**2
STATISTICS = 4 * BLOCKS + 6 + 2 * 3
_SUMMED = 5  # kinds of numbers of which sums are taken: pixels, their squares, and squares of three differences


def statistics_of(images: FloatArray) -> FloatArray:
    """(n, STATISTICS) of ``images`` (n, side, side, 3) in [-1, 1]: colours, texture, and where they are.

    In each of 4 x 4 blocks the mean colour and the logarithm of the variance; over the
    whole image the logarithm of the mean square of each channel and of each difference of
    two, and of each channel's steps to the right and down.
    """
    gauge = _gauge_for(images.shape[1])
    statistics = np.empty((len(images), STATISTICS), np.float32)
    for row, image in zip(statistics, images, strict=True):
        row[:] = gauge.read(image)
    return statistics


class _Gauge:
    """Takes the statistics of images ``image_px`` wide, one after another. For one thread: all go to the same place.

    Few NumPy calls on long arrays that lie ready with every view of them, because it is in
    a request's path: half of the time went into making arrays.
    """

    def __init__(self, image_px: int) -> None:
        self._step = max(1, image_px // GRID_PX)
        side = -(-image_px // self._step) // BLOCKS_PER_SIDE * BLOCKS_PER_SIDE
        self._end = side * self._step
        terms = np.zeros((_SUMMED, side, side, 3), np.float32)
        flat = terms.reshape(_SUMMED, -1)
        self._pixels, self._all_pixels, self._squares, self._others = terms[0], flat[0], flat[1], flat[2:]
        self._differences = _differences(flat, 3 * side)
        self._rows_of_terms = terms.reshape(_SUMMED, side, 3 * side)
        self._row_blocks, self._column_blocks, self._logarithms_of = _sums(side)
        self._of_rows = np.empty((_SUMMED, BLOCKS_PER_SIDE, 3 * side), np.float32)
        self._of_rows_in_line = self._of_rows.reshape(-1, 3 * side)
        self._sums = np.empty(_SUMMED * BLOCKS * 3, np.float32)
        self._of_blocks = self._sums.reshape(len(self._of_rows_in_line), -1)
        self._of_pixels = self._sums[: BLOCKS * 3]
        # Whole arrays: NumPy takes twice as long to begin with a scalar.
        self._per_pixel = np.full(BLOCKS * 3, BLOCKS / side**2, np.float32)
        self._statistics = np.empty(STATISTICS, np.float32)
        self._means, self._logarithms = self._statistics[: BLOCKS * 3], self._statistics[BLOCKS * 3 :]
        self._flat = np.full(len(self._logarithms), FLAT)

    def read(self, image: FloatArray) -> FloatArray:
        """(STATISTICS,) of ``image`` (side, side, 3); the next call writes over them."""
        np.copyto(self._pixels, image[: self._end : self._step, : self._end : self._step])
        np.square(self._all_pixels, self._squares)
        for later, earlier, difference in self._differences:
            np.subtract(later, earlier, difference)
        np.square(self._others, self._others)
        np.matmul(self._row_blocks, self._rows_of_terms, self._of_rows)
        np.dot(self._of_rows_in_line, self._column_blocks, self._of_blocks)
        np.multiply(self._of_pixels, self._per_pixel, self._means)
        np.square(self._means, self._of_pixels)  # the sums of pixels give way: a variance is short of these squares
        np.dot(self._sums, self._logarithms_of, self._logarithms)
        # FLAT is far above what rounding leaves below zero of a variance.
        np.add(self._logarithms, self._flat, self._logarithms)
        np.log(self._logarithms, self._logarithms)
        return self._statistics


class _Gauges(threading.local):
    """Each thread's own, by the side of the images."""

    def __init__(self) -> None:
        self.of: dict[int, _Gauge] = {}


_gauges = _Gauges()


def _gauge_for(image_px: int) -> _Gauge:
    gauge = _gauges.of.get(image_px)
    if gauge is None:
        gauge = _gauges.of[image_px] = _Gauge(image_px)
    return gauge


def _differences(terms: FloatArray, row: int) -> list[tuple[FloatArray, FloatArray, FloatArray]]:
    """What to subtract from what, and where to: into ``terms`` (_SUMMED, side * side * 3), rows ``row`` long.

    After the pixels and their squares: green - red, blue - green and red - blue; the steps
    right; the steps down. The step right of a row's last pixel is the one to the next row's
    first: one in 28, in every image alike.
    """
    pixels = terms[0]
    return [
        (pixels[1:], pixels[:-1], terms[2, :-1]),
        (pixels[::3], pixels[2::3], terms[2, 2::3]),
        (pixels[3:], pixels[:-3], terms[3, :-3]),
        (pixels[row:], pixels[:-row], terms[4, :-row]),
    ]


def _sums(side: int) -> tuple[FloatArray, FloatArray, FloatArray]:
    """What to multiply by: rows (blocks, side) and columns (side * 3, blocks * 3) into the sums of each block
    and channel, and those sums of all terms into that of which logarithms are taken.
    """
    block = np.arange(side) // (side // BLOCKS_PER_SIDE)
    member = (block == np.arange(BLOCKS_PER_SIDE)[:, np.newaxis]).astype(np.float32)
    pixels = side**2
    logarithms_of = np.zeros((_SUMMED, BLOCKS, 3, STATISTICS - 3 * BLOCKS), np.float32)
    for number in range(BLOCKS):
        logarithms_of[0, number, :, number] = -1
        logarithms_of[1, number, :, number] = BLOCKS / pixels
    for kind, differences in ((1, pixels), (2, pixels), (3, pixels - 1), (4, pixels - side)):
        for channel in range(3):
            logarithms_of[kind, :, channel, BLOCKS + 3 * (kind - 1) + channel] = 1 / differences
    columns = np.kron(member.T, np.eye(3, dtype=np.float32))
    return member, columns, logarithms_of.reshape(-1, STATISTICS - 3 * BLOCKS)
