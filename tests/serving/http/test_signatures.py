"""The checks on bytes agree with Pillow's own."""

from __future__ import annotations

import io

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image

from contract.errors import InvalidImage
from serving.http.signatures import format_of, require_whole, webp_size

PIXELS = np.random.default_rng(0).integers(0, 256, (20, 30, 3), dtype=np.uint8)


def encoded(format_, **options):
    buffer = io.BytesIO()
    Image.fromarray(PIXELS).save(buffer, format_, **options)
    return buffer.getvalue()


def pillow_verifies(data):
    try:
        Image.open(io.BytesIO(data), formats=("PNG",)).verify()
    except (SyntaxError, OSError, ValueError, IndexError):
        return False
    return True


@pytest.mark.acceptance("I5")
@given(st.data())
@settings(max_examples=300, deadline=None)
def test_a_png_that_is_called_whole_passes_pillows_verify(data):
    damaged = bytearray(encoded("PNG"))
    for _ in range(data.draw(st.integers(0, 2))):
        damaged[data.draw(st.integers(8, len(damaged) - 1))] = data.draw(st.integers(0, 255))
    cut = bytes(damaged[: data.draw(st.integers(8, len(damaged)))])
    try:
        require_whole("PNG", cut)
    except InvalidImage:
        return
    assert pillow_verifies(cut)


@pytest.mark.parametrize("format_", ["PNG", "JPEG"])
@given(tail=st.binary(max_size=50))
def test_what_follows_the_end_does_not_matter(format_, tail):
    assert require_whole(format_, encoded(format_) + tail) is None  # nothing is raised


def test_the_end_of_a_thumbnail_is_not_the_end_of_the_image():
    thumbnail = encoded("JPEG")
    image = encoded("JPEG", comment=thumbnail)
    require_whole("JPEG", image)
    with pytest.raises(InvalidImage):
        require_whole("JPEG", image[:-2])


@pytest.mark.parametrize("format_", ["PNG", "JPEG", "WEBP", "TIFF", "BMP", "GIF"])
def test_every_format_is_known_by_its_bytes(format_):
    assert format_of(encoded(format_)) == format_


def test_a_word_that_begins_like_a_bitmap_is_none():
    assert format_of(b"BMW is a maker of cars, and this is a sentence.") is None


@pytest.mark.parametrize("options", [{"lossless": True}, {"quality": 80}, {"lossless": True, "exif": b"Exif\0\0"}])
def test_the_size_of_a_webp_is_read_from_its_header(options):
    assert webp_size(encoded("WEBP", **options)) == (30, 20)


@given(st.binary(max_size=40))
def test_a_webp_of_any_bytes_has_a_size_or_is_corrupt(data):
    try:
        width, height = webp_size(b"RIFF\0\0\0\0WEBP" + data)
    except InvalidImage:
        return
    assert width >= 0
    assert height >= 0
