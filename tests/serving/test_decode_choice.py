"""Decision 7: the decoder gives Pillow's full-size pixels; reducing a JPEG while decoding would not."""

from __future__ import annotations

import io

import numpy as np
import pytest
from PIL import Image

from contract.preprocessing import resize_to_square
from serving.http.images import decode_image, model_input

CELL_SIDE_PX = 360


@pytest.fixture(scope="module")
def cell() -> Image.Image:
    """Smooth structures with fine grain, as large as the microscope's images."""
    rng = np.random.default_rng(1)
    coarse = Image.fromarray(rng.integers(0, 256, (24, 24, 3), dtype=np.uint8))
    smooth = np.asarray(coarse.resize((CELL_SIDE_PX, CELL_SIDE_PX), Image.Resampling.BICUBIC)).astype(int)
    return Image.fromarray(np.clip(smooth + rng.integers(-9, 10, smooth.shape), 0, 255).astype(np.uint8))


def encoded(image: Image.Image, format_: str) -> bytes:
    buffer = io.BytesIO()
    image.save(buffer, format_)
    return buffer.getvalue()


@pytest.mark.parametrize("format_", ["PNG", "JPEG", "WEBP", "TIFF", "BMP"])
def test_a_service_sees_the_pixels_that_training_saw(cell: Image.Image, format_: str):
    data = encoded(cell, format_)
    plain = Image.open(io.BytesIO(data)).convert("RGB")
    assert np.array_equal(np.asarray(decode_image(data)), np.asarray(plain))


@pytest.mark.parametrize("side", [28, 64, 128])
def test_a_jpeg_that_is_reduced_while_it_is_decoded_is_another_image(cell: Image.Image, side: int):
    data = encoded(cell, "JPEG")
    reduced = Image.open(io.BytesIO(data))
    reduced.draft("RGB", (side, side))
    levels = np.abs(
        model_input(decode_image(data), side)[0] * 127.5 + 127.5 - np.asarray(resize_to_square(reduced, side))
    )
    assert levels.max() > 4
