"""What is known of a trained network besides its weights: how sure it may be, and which images it may judge.

The temperature divides the logits, so that the probabilities mean what they say. The
distance says how unlike the training images an image is. It looks at pixels alone, not at
the network, so it is the same for every runtime and knows nothing of any class.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import cache
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
        whitened = (statistics_of(image)[0] - self.mean) @ self.whitening
        return sqrt(whitened @ whitened)

    def distances_of_statistics(self, statistics: FloatArray) -> FloatArray:
        """`distance` for each row of ``statistics``, which `statistics_of` gave."""
        distances: FloatArray = np.linalg.norm((statistics - self.mean) @ self.whitening, axis=1)
        return distances

    def save(self, path: Path) -> None:
        """Write both arrays to one safetensors file, atomically."""
        write_atomically(path, save({"mean": self.mean, "whitening": self.whitening}))

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
    two, and of each channel's steps to the right and down. Few NumPy calls on long arrays,
    because it is in a request's path.
    """
    grid = _seen(images)
    n, side = grid.shape[:2]
    row_blocks, column_blocks, logarithms_of = _sums(side)
    rows = row_blocks @ _terms(grid.reshape(n, -1), side).reshape(n, _SUMMED, side, 3 * side)
    sums = (rows.reshape(-1, 3 * side) @ column_blocks).reshape(n, _SUMMED * BLOCKS * 3)
    means = sums[:, : BLOCKS * 3] * np.float32(BLOCKS / side**2)
    np.square(means, out=sums[:, : BLOCKS * 3])  # the sums of pixels give way: a variance is short of these squares
    # FLAT is far above what rounding leaves below zero of a variance.
    return np.concatenate((means, np.log(sums @ logarithms_of + FLAT)), axis=1)


def _terms(pixels: FloatArray, side: int) -> FloatArray:
    """(n, _SUMMED, side * side * 3) of ``pixels`` (n, side * side * 3), red, green and blue in turn.

    The pixels; their squares; the squares of green - red, blue - green and red - blue; of
    the steps right; of the steps down. The step right of a row's last pixel is the one to
    the next row's first: one in 28, in every image alike.
    """
    terms = np.zeros((len(pixels), _SUMMED, pixels.shape[1]), np.float32)
    terms[:, 0] = pixels
    terms[:, 1] = pixels
    np.subtract(pixels[:, 1:], pixels[:, :-1], out=terms[:, 2, :-1])
    np.subtract(pixels[:, ::3], pixels[:, 2::3], out=terms[:, 2, 2::3])
    for kind, step in ((3, 3), (4, 3 * side)):
        np.subtract(pixels[:, step:], pixels[:, :-step], out=terms[:, kind, :-step])
    np.square(terms[:, 1:], out=terms[:, 1:])
    return terms


def _seen(images: FloatArray) -> FloatArray:
    step = max(1, images.shape[1] // GRID_PX)
    whole = -(-images.shape[1] // step) // BLOCKS_PER_SIDE * BLOCKS_PER_SIDE
    return images[:, ::step, ::step][:, :whole, :whole]


@cache
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
