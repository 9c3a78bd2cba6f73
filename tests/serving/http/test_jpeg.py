"""A JPEG whose compressed data is damaged is refused; any whole one has Pillow's pixels."""

from __future__ import annotations

import io

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from PIL import Image

from contract.errors import InvalidImage
from serving.http.images import decode_image
from serving.http.jpeg import decode_jpeg

END = b"\xff\xd9"
SCAN = b"\xff\xda"


def picture(width, height, mode="RGB"):
    rng = np.random.default_rng(7)
    grains = rng.integers(0, 256, (height // 4 + 1, width // 4 + 1, 3), dtype=np.uint8)
    return Image.fromarray(grains).resize((width, height)).convert(mode)


def jpeg(image, **options):
    stored = io.BytesIO()
    image.save(stored, "JPEG", **options)
    return stored.getvalue()


def code_of(data):
    try:
        decode_image(data)
    except InvalidImage as refusal:
        return refusal.code
    return None


@given(
    size=st.tuples(st.integers(9, 70), st.integers(9, 70)),
    mode=st.sampled_from(["RGB", "L", "CMYK"]),
    subsampling=st.sampled_from(["4:4:4", "4:2:2", "4:2:0"]),
    progressive=st.booleans(),
    restart_marker_blocks=st.sampled_from([0, 3]),
    quality=st.sampled_from([5, 75, 100]),
)
def test_any_jpeg_has_the_pixels_that_pillow_gives(size, mode, **options):
    data = jpeg(picture(*size, mode), **options)
    plain = Image.open(io.BytesIO(data)).convert("RGB")
    assert np.array_equal(np.asarray(decode_image(data)), np.asarray(plain))


@pytest.mark.acceptance("I5")
@pytest.mark.parametrize("mode", ["RGB", "L", "CMYK"])
@pytest.mark.parametrize("share", [0.0, 0.3, 0.9, 0.99])
def test_a_cut_jpeg_that_was_given_an_end_again_is_corrupt(mode, share):
    data = jpeg(picture(200, 200, mode), quality=90)
    head = data.index(SCAN) + 14
    cut = data[: head + round(share * (len(data) - head - 2))]
    assert code_of(cut + END) == "corrupt_image"
    assert code_of(data) is None


@pytest.mark.acceptance("I5")
@pytest.mark.parametrize("gap", [b"", bytes(512), b"\x12" * 512])
def test_a_gap_in_the_data_is_corrupt_whether_too_much_or_too_little_is_left(gap):
    data = jpeg(picture(200, 200), quality=90)
    middle = (data.index(SCAN) + len(data)) // 2
    assert code_of(data[:middle] + gap + data[middle + 512 :]) == "corrupt_image"


@pytest.mark.parametrize("padding", [b"\0", b"\0" * 300])
def test_bytes_left_over_before_the_end_are_a_camera_s_padding(padding):
    data = jpeg(picture(64, 48))
    assert np.array_equal(np.asarray(decode_image(data[:-2] + padding + END)), np.asarray(decode_image(data)))


def test_memory_is_taken_for_the_size_that_was_judged_only():
    data = jpeg(picture(640, 480))
    assert decode_jpeg(data, (8, 8)) is None
    assert decode_jpeg(data, (480, 640)) is None
    assert decode_jpeg(data, (640, 480)) is not None
