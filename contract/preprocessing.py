"""From an image of any size to the model's input: one rule for training, serving and load tests.

The largest centred square is cut out, resized with PIL's bilinear filter (which
averages when it shrinks), and scaled to [-1, 1]. Height, width, channel order.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from contract.arrays import FloatArray, ImageArray

if TYPE_CHECKING:
    from PIL.Image import Image

PIL_BILINEAR = 2  # PIL.Image.Resampling.BILINEAR, spelt out so that the contract does not import Pillow


def centred_square(width_px: int, height_px: int) -> tuple[int, int, int, int]:
    """The largest centred square as PIL's (left, upper, right, lower)."""
    side = min(width_px, height_px)
    left, upper = (width_px - side) // 2, (height_px - side) // 2
    return left, upper, left + side, upper + side


def resize_to_square(image: Image, resolution_px: int) -> Image:
    """The centred square of ``image``, ``resolution_px`` wide; untouched when it already is."""
    if image.size == (resolution_px, resolution_px):
        return image
    if image.width != image.height:
        # Not resize's own ``box``: its filter reaches beyond the box and lets the pixels outside bleed in.
        image = image.crop(centred_square(image.width, image.height))
    return image.resize((resolution_px, resolution_px), PIL_BILINEAR)


def scale_pixels(pixels: ImageArray) -> FloatArray:
    """uint8 pixels as float32 in [-1, 1]; any shape."""
    scaled = pixels.astype(np.float32)
    scaled *= np.float32(1 / 127.5)
    scaled -= np.float32(1)
    return scaled
