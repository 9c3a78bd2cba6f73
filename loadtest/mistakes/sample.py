"""What every way of calling a network is given."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from contract.architecture import ModelSpec
from contract.arrays import FloatArray, ImageArray
from contract.preprocessing import resize_to_square, scale_pixels

if TYPE_CHECKING:
    from PIL.Image import Image


@dataclass(frozen=True, slots=True, kw_only=True)
class Subject:
    """The network that all ways compute: the same weights, whoever builds it."""

    spec: ModelSpec
    weights: Mapping[str, FloatArray]
    resolution_px: int


@dataclass(frozen=True, slots=True, kw_only=True)
class Sample:
    """One image as the harness holds it: a photograph, and the model's input in both layouts."""

    photograph: ImageArray  # (side, side, 3), larger than the model's input
    nhwc: FloatArray  # (1, side, side, 3) in [-1, 1]
    nchw: FloatArray  # the same, channels first


def sample_of(photograph: ImageArray, resolution_px: int) -> Sample:
    """``photograph`` with the input that the careful preprocessing makes of it."""
    images = preprocess(photograph, resolution_px)
    return Sample(photograph=photograph, nhwc=images, nchw=np.ascontiguousarray(images.transpose(0, 3, 1, 2)))


def preprocess(photograph: ImageArray, resolution_px: int) -> FloatArray:
    """The project's own preprocessing: PIL's bilinear filter, then [-1, 1]."""
    return scale_pixels(pixels_of(photograph, resolution_px))


def divided_twice(photograph: ImageArray, resolution_px: int) -> FloatArray:
    """As `preprocess`, of pixels that the loader has brought to [0, 1] already."""
    loaded: FloatArray = pixels_of(photograph, resolution_px).astype(np.float32) / np.float32(255)
    scaled: FloatArray = loaded / np.float32(127.5) - np.float32(1)
    return scaled


def pixels_of(photograph: ImageArray, resolution_px: int) -> ImageArray:
    """(1, side, side, 3) pixels of ``photograph``."""
    return np.asarray(resize_to_square(_image(photograph), resolution_px))[np.newaxis]


def _image(photograph: ImageArray) -> Image:
    from PIL import Image

    return Image.fromarray(photograph)
