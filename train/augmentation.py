"""What is done to an image before the network sees it: a cell has no up, no fixed place and no fixed magnification."""

from __future__ import annotations

from dataclasses import dataclass
from io import BytesIO
from math import cos, pi, sin

import numpy as np
from PIL import Image

from contract.arrays import ImageArray

JPEG_QUALITY = 75
LARGEST_ZOOM = 1.16


@dataclass(frozen=True, slots=True)
class View:
    """One of the eight flips and quarter turns, and a shift down and right as shares of the side.

    The same view can be taken of an image at several resolutions.
    """

    quarter_turns: int
    mirrored: bool
    down: float
    right: float

    @classmethod
    def draw(cls, largest_shift: float, rng: np.random.Generator) -> View:
        """Any of them, shifted by at most ``largest_shift`` of the side."""
        down, right = rng.uniform(-largest_shift, largest_shift, 2)
        return cls(int(rng.integers(4)), bool(rng.integers(2)), float(down), float(right))

    def of(self, image: ImageArray) -> ImageArray:
        """``image`` (side, side, 3) seen so; shifts are whole pixels, and what they uncover repeats the edge."""
        turned = np.rot90(image, k=self.quarter_turns)
        if self.mirrored:
            turned = turned[:, ::-1]
        positions = np.arange(len(image))
        rows, columns = (positions + round(share * len(image)) for share in (self.down, self.right))
        seen: ImageArray = turned.take(rows, axis=0, mode="clip").take(columns, axis=1, mode="clip")
        return seen


@dataclass(frozen=True, slots=True)
class Turn:
    """Any angle, a zoom and a shift: more than `View`, at the price of interpolated pixels."""

    angle: float
    zoom: float
    mirrored: bool
    down: float
    right: float

    @classmethod
    def draw(cls, largest_shift: float, rng: np.random.Generator) -> Turn:
        """Any of them; enlarging and reducing are equally likely."""
        down, right = rng.uniform(-largest_shift, largest_shift, 2)
        zoom = LARGEST_ZOOM ** rng.uniform(-1, 1)
        return cls(float(rng.uniform(0, 2 * pi)), float(zoom), bool(rng.integers(2)), float(down), float(right))

    def of(self, image: ImageArray) -> ImageArray:
        """``image`` (side, side, 3) seen so; beyond its edge the edge is repeated."""
        side = len(image)
        centre, margin = side / 2, side // 2  # Pillow counts from the corner of the first pixel
        across, along = cos(self.angle) / self.zoom, sin(self.angle) / self.zoom
        flip = -1 if self.mirrored else 1
        matrix = np.array([[across * flip, along], [-along * flip, across]])
        shifted = np.array([centre + self.right * side, centre + self.down * side])
        x, y = centre - matrix @ shifted + margin
        coefficients = (matrix[0, 0], matrix[0, 1], x, matrix[1, 0], matrix[1, 1], y)
        wider = np.pad(image, ((margin, margin), (margin, margin), (0, 0)), mode="edge")
        turned = Image.fromarray(wider).transform(
            (side, side), Image.Transform.AFFINE, coefficients, Image.Resampling.BICUBIC
        )
        return np.asarray(turned)


def reduced(image: ImageArray, side: int) -> ImageArray:
    """``image`` at ``side`` pixels, by the filter that made the data set."""
    if len(image) == side:
        return image
    return np.asarray(Image.fromarray(image).resize((side, side), Image.Resampling.BILINEAR))


def jpeg_round_trip(image: ImageArray) -> ImageArray:
    """``image`` after JPEG at quality 75 with 4:2:0 chroma, as in the official 28 px file."""
    stored = BytesIO()
    Image.fromarray(image).save(stored, "JPEG", quality=JPEG_QUALITY, subsampling="4:2:0")
    return np.asarray(Image.open(stored).convert("RGB"))
