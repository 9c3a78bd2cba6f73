"""The rows of a PNG are counted where they look as if some were missing."""

from __future__ import annotations

import struct
import zlib

import pytest

from contract.errors import InvalidImage
from serving.http.images import decode_image
from serving.http.png import lacks_rows

GREY, RGB, PALETTE, GREY_ALPHA, RGBA = 0, 2, 3, 4, 6
KINDS = [
    *((GREY, depth, 1) for depth in (1, 2, 4, 8, 16)),
    *((PALETTE, depth, 1) for depth in (1, 2, 4, 8)),
    *((colour, depth, samples) for colour, samples in ((RGB, 3), (GREY_ALPHA, 2), (RGBA, 4)) for depth in (8, 16)),
]
ADAM7 = ((0, 0, 8, 8), (4, 0, 8, 8), (0, 4, 4, 8), (2, 0, 4, 4), (0, 2, 2, 4), (1, 0, 2, 2), (0, 1, 1, 2))


def chunk(kind, data):
    return struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data))


def rows_of(width, height, bits, interlaced, value=0xFF):
    """The rows as a PNG has them, each with its filter, in the order in which they are written."""
    for x, y, right, down in ADAM7 if interlaced else ((0, 0, 1, 1),):
        length = (len(range(x, width, right)) * bits + 7) // 8
        yield from [b"\0" + bytes([value]) * length] * len(range(y, height, down))


ALL_COLOURS = chunk(b"PLTE", bytes(range(256)) * 3)


def png(rows, size, colour, depth, interlaced, pieces=1, palette=ALL_COLOURS):
    packed = zlib.compress(b"".join(rows))
    step = -(-len(packed) // pieces)
    body = b"".join(chunk(b"IDAT", packed[at : at + step]) for at in range(0, len(packed), step))
    header = struct.pack(">IIBBBBB", *size, depth, colour, 0, 0, interlaced)
    return (
        b"\x89PNG\r\n\x1a\n"
        + chunk(b"IHDR", header)
        + (palette if colour == PALETTE else b"")
        + body
        + chunk(b"IEND", b"")
    )


def is_corrupt(data):
    try:
        decode_image(data)
    except InvalidImage as refusal:
        return refusal.code == "corrupt_image"
    return False


@pytest.mark.acceptance("I5")
@pytest.mark.parametrize("interlaced", [0, 1])
@pytest.mark.parametrize(("colour", "depth", "samples"), KINDS)
@pytest.mark.parametrize("size", [(8, 8), (17, 13)])
def test_a_png_that_ends_before_its_last_row_is_corrupt(size, colour, depth, samples, interlaced):
    rows = list(rows_of(*size, depth * samples, interlaced))
    for missing in (1, 2, len(rows) // 2):
        assert is_corrupt(png(rows[:-missing], size, colour, depth, interlaced))
    assert not is_corrupt(png(rows, size, colour, depth, interlaced))


@pytest.mark.parametrize("interlaced", [0, 1])
@pytest.mark.parametrize(("colour", "depth", "samples"), KINDS)
def test_one_whose_last_rows_are_black_is_whole(colour, depth, samples, interlaced):
    rows = list(rows_of(17, 13, depth * samples, interlaced, value=0))
    assert not is_corrupt(png(rows, (17, 13), colour, depth, interlaced, pieces=5))
    assert lacks_rows(png(rows[:-1], (17, 13), colour, depth, interlaced, pieces=5))


@pytest.mark.parametrize("behind", [b"", b"\0" * 999])
def test_bytes_behind_the_last_row_are_none(behind):
    rows = rows_of(40, 30, 24, False, value=0)
    assert not lacks_rows(png([*rows, behind], (40, 30), RGB, 8, 0))


@pytest.mark.acceptance("I11")
@pytest.mark.parametrize("colours", [b"", chunk(b"PLTE", b""), chunk(b"PLTE", bytes(9))])
def test_a_colour_that_the_palette_lacks_is_not_black(colours):
    rows = list(rows_of(8, 8, 8, False, value=3))
    assert is_corrupt(png(rows, (8, 8), PALETTE, 8, 0, palette=colours))
    assert not is_corrupt(png(rows, (8, 8), PALETTE, 8, 0, palette=chunk(b"PLTE", bytes(12))))
