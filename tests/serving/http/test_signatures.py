"""The checks on bytes agree with Pillow's own."""

from __future__ import annotations

import io
import struct
import zlib

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image

from contract.errors import InvalidImage
from serving.http.signatures import MAX_CHUNKS, MAX_SCANS, MAX_SEGMENTS, format_of, require_whole, webp_size

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
    assert require_whole(format_, encoded(format_) + tail).passes == 1


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


SCAN = (
    bytes.fromhex("ffda0008010100013f10") + b"\x72\x07"
)  # refines one coefficient of every block, which costs 2 bytes
END = b"\xff\xd9"


def segment(marker, content=b""):
    return bytes((0xFF, marker)) + struct.pack(">H", len(content) + 2) + content


def grey_in_scans(count):
    """A grey JPEG of as many scans as that."""
    data = encoded_image(Image.new("L", (16, 16)), "JPEG", progressive=True)
    own = require_whole("JPEG", data).passes
    return data.removesuffix(END) + SCAN * (count - own) + END


def encoded_image(image, format_, **options):
    buffer = io.BytesIO()
    image.save(buffer, format_, **options)
    return buffer.getvalue()


def png_chunk(kind, data=b""):
    return struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data))


def png_with(chunks, kept=33):
    """A PNG with ``chunks`` behind its first ``kept`` bytes, which are signature and IHDR."""
    whole = encoded("PNG")
    return whole[:kept] + b"".join(chunks) + whole[kept:]


def is_corrupt(format_, data):
    try:
        require_whole(format_, data)
    except InvalidImage as refusal:
        return (refusal.status, refusal.code) == (422, "corrupt_image")
    return False


@pytest.mark.parametrize(("mode", "scans"), [("L", 6), ("RGB", 10), ("CMYK", 18)])
def test_the_scans_of_a_progressive_jpeg_are_how_often_its_pixels_are_visited(mode, scans):
    image = Image.fromarray(PIXELS).convert(mode)
    assert require_whole("JPEG", encoded_image(image, "JPEG", progressive=True)).passes == scans
    assert require_whole("JPEG", encoded_image(image, "JPEG")).passes == 1


@pytest.mark.acceptance("I6")
def test_a_jpeg_has_no_more_scans_than_an_encoder_writes():
    assert require_whole("JPEG", grey_in_scans(MAX_SCANS)).passes == MAX_SCANS
    assert is_corrupt("JPEG", grey_in_scans(MAX_SCANS + 1))
    assert is_corrupt("JPEG", grey_in_scans(6_000))


@pytest.mark.acceptance("I6")
def test_scans_behind_an_end_that_is_none_are_counted():
    first, rest = grey_in_scans(6_000).split(SCAN, 1)
    assert is_corrupt("JPEG", first + segment(0xFE, END) + SCAN + rest)


@pytest.mark.acceptance("I6")
@pytest.mark.parametrize(
    "parts",
    [
        pytest.param(b"\xff", id="padding"),
        pytest.param(b"\xff\x00", id="stuffed bytes"),
        pytest.param(b"\xff\xd0", id="restarts"),
        pytest.param(segment(0xEE), id="empty segments"),
        pytest.param(segment(0xE1, b"Exif\0\0"), id="metadata in pieces"),
    ],
)
def test_a_jpeg_has_no_more_before_its_first_scan_than_an_encoder_writes(parts):
    data = encoded("JPEG")
    few, many = 100, max(MAX_SEGMENTS, 5_000_000 // len(parts))
    assert not is_corrupt("JPEG", data[:2] + parts * few + data[2:])
    assert is_corrupt("JPEG", data[:2] + parts * many + data[2:])


def test_junk_before_the_first_scan_is_bounded_too():
    data = encoded("JPEG")
    comment, few, many = segment(0xFE), b"\0" * 100, b"\0" * 5_000
    assert not is_corrupt("JPEG", data[:2] + comment + few + data[2:])
    assert is_corrupt("JPEG", data[:2] + comment + many + data[2:])
    assert is_corrupt("JPEG", data[:2] + (comment + few) * 20 + data[2:])


def test_a_jpeg_with_a_large_profile_is_whole():
    data = encoded("JPEG", icc_profile=bytes(8_000_000))
    assert require_whole("JPEG", data).passes == 1


@pytest.mark.parametrize("place", [90_000, 99_997, 99_998, 99_999, 100_000, 100_001, 250_000])
def test_an_end_is_found_wherever_it_is(place):
    head = b"\xff\xd8" + segment(0xDA, bytes(6))
    assert require_whole("JPEG", head + b"\x55" * (place - len(head)) + END).passes == 1


@pytest.mark.acceptance("I6")
@pytest.mark.parametrize("kind", [b"prVt", b"tEXt", b"IDAT"])
def test_a_png_has_no_more_chunks_than_an_encoder_writes(kind):
    assert not is_corrupt("PNG", png_with([png_chunk(kind)] * (MAX_CHUNKS - 10)))
    assert is_corrupt("PNG", png_with([png_chunk(kind)] * (MAX_CHUNKS + 100)))


def test_a_large_png_may_have_as_many_chunks_of_pixels_as_it_needs():
    pieces = [png_chunk(b"IDAT", bytes(2_000))] * 4_500
    assert not is_corrupt("PNG", png_with(pieces))


@pytest.mark.acceptance("I8")
def test_a_png_has_one_colour_profile_or_two_but_not_many():
    profile = png_chunk(b"iCCP", b"profile\0\0" + zlib.compress(bytes(1 << 20)))
    assert not is_corrupt("PNG", png_with([profile]))
    assert is_corrupt("PNG", png_with([profile] * 50))
