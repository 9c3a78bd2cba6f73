"""What can be told of an image from its bytes alone, before a decoder sees them.

Pillow's ``verify`` proves a PNG whole but consumes the opened image, and does nothing
for other formats; opening a second time doubles the cost of a small image. These
checks hold the same rule (a test compares them with ``verify``) in a few microseconds.
"""

from __future__ import annotations

import zlib
from typing import Literal

from contract.errors import InvalidImage

Format = Literal["PNG", "JPEG", "WEBP", "TIFF", "BMP", "GIF"]

_PNG = b"\x89PNG\r\n\x1a\n"
_TIFF = (b"II*\0", b"MM\0*", b"II+\0\x08\0\0\0", b"MM\0+\0\x08\0\0")
_BMP_HEADER_SIZES = (12, 16, 40, 52, 56, 64, 108, 124)
_START_OF_SCAN, _END_OF_IMAGE = 0xDA, b"\xff\xd9"
# Markers that stand alone: restart, start of image, and TEM.
_WITHOUT_LENGTH = frozenset({0x01, *range(0xD0, 0xD9)})


def format_of(data: bytes) -> Format | None:
    """The format whose signature ``data`` begins with. Names and media types have no say."""
    if data.startswith(_PNG):
        return "PNG"
    if data.startswith(b"\xff\xd8\xff"):
        return "JPEG"
    if data[:4] == b"RIFF" and data[8:12] == b"WEBP":
        return "WEBP"
    if data.startswith(_TIFF):
        return "TIFF"
    if data[:2] == b"BM" and int.from_bytes(data[14:18], "little") in _BMP_HEADER_SIZES:
        return "BMP"
    if data[:6] in (b"GIF87a", b"GIF89a"):
        return "GIF"
    return None


def require_whole(format_: Format, data: bytes) -> None:
    """Raise `InvalidImage` (``corrupt_image``) for a PNG or JPEG that is cut, or a PNG that fails a checksum."""
    if format_ == "PNG":
        _require_whole_png(data)
    elif format_ == "JPEG":
        _require_whole_jpeg(data)


def corrupt(what: str) -> InvalidImage:
    """The refusal of an image that is broken in the way that ``what`` says."""
    return InvalidImage(f"the image is broken: {what}", code="corrupt_image", status=422)


def _require_whole_png(data: bytes) -> None:
    view, at = memoryview(data), len(_PNG)
    while at + 12 <= len(data):
        end = at + 8 + int.from_bytes(view[at : at + 4], "big")
        if end + 4 > len(data):
            raise corrupt("a PNG chunk is cut off")
        if zlib.crc32(view[at + 4 : end]) != int.from_bytes(view[end : end + 4], "big"):
            raise corrupt("the checksum of a PNG chunk does not match")
        if data[at + 4 : at + 8] == b"IEND":
            return
        at = end + 4
    raise corrupt("the PNG has no end")


def _require_whole_jpeg(data: bytes) -> None:
    scan = _first_scan(data)
    # Inside a scan 0xFF is stuffed, so the two bytes can only be the marker.
    if data.find(_END_OF_IMAGE, scan) < 0:
        raise corrupt("the JPEG has no end")


def _first_scan(data: bytes) -> int:
    """Where the main image's first scan begins; a thumbnail's markers lie inside a segment, which is jumped over."""
    at = 2
    while at + 4 <= len(data):
        marker = data[at + 1]
        if data[at] != 0xFF:
            return at  # not where a marker was due; what decoders then do is their own affair
        if marker == _START_OF_SCAN:
            return at
        if marker == 0xFF:
            at += 1
        elif marker in _WITHOUT_LENGTH:
            at += 2
        else:
            at += 2 + int.from_bytes(data[at + 2 : at + 4], "big")
    raise corrupt("the JPEG ends before its first scan")


def webp_size(data: bytes) -> tuple[int, int]:
    """Width and height that a WebP claims, read here because Pillow's decoder takes memory for them on opening."""
    kind, frame = data[12:16], data[20:]
    if len(frame) < 10:
        raise corrupt("the WebP is cut off")
    if kind == b"VP8X":
        return 1 + int.from_bytes(frame[4:7], "little"), 1 + int.from_bytes(frame[7:10], "little")
    if kind == b"VP8 ":
        return int.from_bytes(frame[6:8], "little") & 0x3FFF, int.from_bytes(frame[8:10], "little") & 0x3FFF
    if kind == b"VP8L":
        bits = int.from_bytes(frame[1:5], "little")
        return 1 + (bits & 0x3FFF), 1 + (bits >> 14 & 0x3FFF)
    raise corrupt("the WebP begins with no image")
