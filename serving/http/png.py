"""Whether the rows of a PNG are all there: Pillow leaves black what its compressed data ends before."""

from __future__ import annotations

import zlib
from collections.abc import Iterator

_SIGNATURE_BYTES = 8
_SAMPLES = {0: 1, 2: 3, 3: 1, 4: 2, 6: 4}  # of a pixel, by colour type
# Of each pass: its first column and row, and the steps to its next ones. Adam's seventh has every second row whole.
_WHOLE = ((0, 0, 1, 1),)
_ADAM7 = ((0, 0, 8, 8), (4, 0, 8, 8), (0, 4, 4, 8), (2, 0, 4, 4), (0, 2, 2, 4), (1, 0, 2, 2), (0, 1, 1, 2))
_UNFOLDED_AT_ONCE_BYTES = 1 << 20


def bit_depth(data: bytes) -> int:
    """The bits of a sample."""
    return data[24]


def last_row(data: bytes) -> int:
    """The row that is written last."""
    height = int.from_bytes(data[20:24], "big")
    return height - 1 - height % 2 if _is_interlaced(data) else height - 1


def lacks_rows(data: bytes) -> bool:
    """Whether the pixels unfold to fewer bytes than the header tells; takes about half as long as to decode them."""
    unfold, missing = zlib.decompressobj(), _bytes_of_rows(data)
    for folded in _pixel_chunks(data):
        while folded and missing > 0 and not unfold.eof:
            missing -= len(unfold.decompress(folded, _UNFOLDED_AT_ONCE_BYTES))
            folded = unfold.unconsumed_tail
    return missing > 0


def _is_interlaced(data: bytes) -> bool:
    return data[28] == 1


def _bytes_of_rows(data: bytes) -> int:
    width, height = int.from_bytes(data[16:20], "big"), int.from_bytes(data[20:24], "big")
    bits = bit_depth(data) * _SAMPLES[data[25]]
    passes = _ADAM7 if _is_interlaced(data) else _WHOLE
    sizes = ((len(range(x, width, right)), len(range(y, height, down))) for x, y, right, down in passes)
    return sum(rows * (1 + (columns * bits + 7) // 8) for columns, rows in sizes)


def _pixel_chunks(data: bytes) -> Iterator[bytes]:
    at = _SIGNATURE_BYTES
    while (kind := data[at + 4 : at + 8]) not in (b"IEND", b""):
        end = at + 8 + int.from_bytes(data[at : at + 4], "big")
        if kind == b"IDAT":
            yield data[at + 8 : end]
        at = end + 4
