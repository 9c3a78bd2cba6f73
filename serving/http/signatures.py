"""What can be told of an image from its bytes alone, before a decoder sees them.

Pillow's ``verify`` proves a PNG whole but consumes the opened image, and does nothing
for other formats; opening a second time doubles the cost of a small image. These
checks hold the same rule (a test compares them with ``verify``) in a few microseconds.
They also count what costs a decoder time without showing in the size of an image: segments
and chunks, of which each is a few bytes, and the scans of a JPEG, of which each visits every pixel.
"""

from __future__ import annotations

import re
import zlib
from typing import Literal, NamedTuple

from contract.errors import InvalidImage

Format = Literal["PNG", "JPEG", "WEBP", "TIFF", "BMP", "GIF"]

_PNG = b"\x89PNG\r\n\x1a\n"
_TIFF = (b"II*\0", b"MM\0*", b"II+\0\x08\0\0\0", b"MM\0+\0\x08\0\0")
_BMP_HEADER_SIZES = (12, 16, 40, 52, 56, 64, 108, 124)
# A progressive JPEG has about 10 scans (18 in CMYK); scripts that look for the best ones end below 40.
MAX_SCANS = 64
# Profiles and metadata of several megabytes are some hundred segments of 64 kB.
MAX_SEGMENTS = 1_000
MAX_STRAY_BYTES = 1_000  # before the first scan: padding, or junk that decoders step over byte by byte
# Ordinary encoders write chunks of 8 kB and more, and a few dozen that are no pixels.
MAX_CHUNKS, BYTES_PER_FURTHER_CHUNK = 1_000, 1_000
MAX_PROFILES = 2  # a PNG should have one; each unfolds to a megabyte
_START_OF_SCAN, _END_OF_IMAGE = 0xDA, 0xD9
# Left out are those that stand alone (restart, start of image, TEM), stuffed bytes, and 0xFF as padding.
_MARKER = re.compile(rb"\xff[^\x00\x01\xd0-\xd8\xff]", re.DOTALL)
# Where tags may be, an EXIF orientation among them.
_TAGGED_SEGMENTS = (b"Exif\0\0", b"MPF\0")
_TAGGED_CHUNK, _TAGGED_TEXT = b"eXIf", b"Raw profile type"
_SEARCHED_AT_ONCE_BYTES = 100_000  # a search keeps the interpreter to itself, for a millisecond at most


class Effort(NamedTuple):
    """What reading an image takes beyond its pixels."""

    passes: int = 1  # how often a decoder visits every pixel: the scans of a JPEG
    has_tags: bool = False  # whether there may be tags, which Pillow reads in Python


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


def require_whole(format_: Format, data: bytes) -> Effort:
    """What reading the image will take. Linear in the bytes.

    Raises `InvalidImage` (``corrupt_image``) for a PNG or JPEG that is cut or made of far too many parts, and
    for a PNG that fails a checksum.
    """
    if format_ == "JPEG":
        return _require_whole_jpeg(data)
    if format_ == "PNG":
        return _require_whole_png(data)
    return Effort(has_tags=format_ == "TIFF" or data[12:16] == b"VP8X")


def corrupt(what: str) -> InvalidImage:
    """The refusal of an image that is broken in the way that ``what`` says."""
    return InvalidImage(f"the image is broken: {what}", code="corrupt_image", status=422)


def _require_whole_png(data: bytes) -> Effort:
    view, at, profiles, has_tags = memoryview(data), len(_PNG), 0, False
    for _ in range(MAX_CHUNKS + len(data) // BYTES_PER_FURTHER_CHUNK):
        if at + 12 > len(data):
            raise corrupt("the PNG has no end")
        end = at + 8 + int.from_bytes(view[at : at + 4], "big")
        if end + 4 > len(data):
            raise corrupt("a PNG chunk is cut off")
        if zlib.crc32(view[at + 4 : end]) != int.from_bytes(view[end : end + 4], "big"):
            raise corrupt("the checksum of a PNG chunk does not match")
        kind = data[at + 4 : at + 8]
        if kind == b"IEND":
            return Effort(has_tags=has_tags)
        has_tags |= kind == _TAGGED_CHUNK or data.startswith(_TAGGED_TEXT, at + 8)
        profiles += kind == b"iCCP"
        if profiles > MAX_PROFILES:
            raise corrupt(f"the PNG has more than {MAX_PROFILES} colour profiles")
        at = end + 4
    raise corrupt("the PNG has far more chunks than an image needs")


def _require_whole_jpeg(data: bytes) -> Effort:
    """From marker to marker, as decoders go; a thumbnail's lie inside a segment, which is jumped over."""
    at, scans, stray_bytes, has_tags = 2, 0, 0, False
    for _ in range(MAX_SEGMENTS):
        found = _next_marker(data, at, len(data) if scans else at + MAX_STRAY_BYTES)
        marker = data[found + 1]
        if marker == _END_OF_IMAGE and scans:
            return Effort(scans, has_tags)
        has_tags |= data.startswith(_TAGGED_SEGMENTS, found + 4)
        stray_bytes += 0 if scans else found - at
        scans += marker == _START_OF_SCAN
        if marker == _END_OF_IMAGE or stray_bytes > MAX_STRAY_BYTES:
            raise corrupt("the JPEG has no scan where one is due")
        if scans > MAX_SCANS:
            raise corrupt(f"the JPEG has more than {MAX_SCANS} scans")
        at = found + 2 + int.from_bytes(data[found + 2 : found + 4], "big")
    raise corrupt(f"the JPEG has more than {MAX_SEGMENTS:,} segments")


def _next_marker(data: bytes, at: int, end: int) -> int:
    for begin in range(at, end, _SEARCHED_AT_ONCE_BYTES):
        found = _MARKER.search(data, begin, begin + _SEARCHED_AT_ONCE_BYTES + 1)
        if found is not None:
            return found.start()
    raise corrupt("the JPEG has no end")


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
