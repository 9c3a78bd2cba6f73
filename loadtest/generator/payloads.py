"""What is sent: real images of the test split, encoded once before the first request."""

from __future__ import annotations

from dataclasses import dataclass
from io import BytesIO
from pathlib import Path

import numpy as np
from PIL import Image

from contract.arrays import ImageArray
from contract.dataset import Dataset, load_dataset
from contract.errors import DataUnavailable, InvalidSettings

MEDIA_TYPE = "image/png"


@dataclass(frozen=True, slots=True, kw_only=True)
class Payload:
    """One image as it goes over the wire; ``image`` is its position in the data set, ``expected`` its true class."""

    image: int
    expected: int
    body: bytes


def choose_positions(dataset: Dataset, images: int, seed: int) -> tuple[int, ...]:
    """Positions of ``images`` test images, or of all where there are fewer, in the order they are sent."""
    test = dataset.indices("test")
    if len(test) == 0:
        raise DataUnavailable(f"{dataset.facts.source} has no test images. Next: hemabench data --rebuild")
    shuffled = np.random.default_rng(seed).permutation(test)
    return tuple(int(position) for position in shuffled[:images])


def encode_payloads(dataset: Dataset, positions: tuple[int, ...]) -> tuple[Payload, ...]:
    """The images at ``positions`` as PNG, with Pillow's own defaults: what an ordinary client would send."""
    return tuple(
        Payload(
            image=position,
            expected=int(dataset.labels[position]),
            body=encode_png(np.asarray(dataset.images[position])),
        )
        for position in positions
    )


def one_image(folder: Path, resolution_px: int, seed: int) -> ImageArray:
    """The first image that a load of ``seed`` would send, for who sends only one."""
    dataset = load_dataset(folder)
    if dataset.facts.resolution_px != resolution_px:
        raise InvalidSettings(f"{folder} holds images of {dataset.facts.resolution_px} px, not {resolution_px}")
    (position,) = choose_positions(dataset, 1, seed)
    return np.asarray(dataset.images[position])


def encode_png(pixels: ImageArray) -> bytes:
    """uint8 (side, side, 3) as a PNG file; no pixel is lost."""
    buffer = BytesIO()
    Image.fromarray(pixels).save(buffer, format="PNG")
    return buffer.getvalue()
