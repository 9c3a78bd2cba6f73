"""How a TIFF says that its pixels are laid out, judged before a decoder believes it.

libtiff takes memory for one whole tile, however small the image; Pillow makes an object for every tag
and for every strip or tile that is listed, though many may lie at the same place.
"""

from __future__ import annotations

import struct
from dataclasses import dataclass, field
from typing import Literal

from serving.http.signatures import corrupt

MAX_TAGS = 1_000
MAX_PIECES = 50_000  # a strip for every row of every plane, or tiles of 32 x 32 pixels
# Writers keep their usual tile for an image that is smaller than it.
USUAL_TILE_PX = 1_024
_SMALLEST_TILE_PX, _ROUNDED_UP_TO_PX = 16, 256
_PLANES_APART = 2

_WIDTH, _HEIGHT, _SAMPLES, _PLANES = 256, 257, 277, 284
_STRIPS, _STRIP_HEIGHT = 273, 278
_TILES, _TILE_WIDTH, _TILE_HEIGHT = 324, 322, 323
_LAYOUT = frozenset({_WIDTH, _HEIGHT, _SAMPLES, _PLANES, _STRIPS, _STRIP_HEIGHT, _TILES, _TILE_WIDTH, _TILE_HEIGHT})
# Whole numbers, by the code of their type; a signed one below zero reads as one far too large.
_BYTES_OF_TYPE = {1: 1, 3: 2, 4: 4, 6: 1, 8: 2, 9: 4, 13: 4, 16: 8, 17: 8, 18: 8}


@dataclass(slots=True)
class _Layout:
    """The tags that say where pixels are: how many values each has, and the value of those that have one.

    Of a tag that is there twice decoders take the first that they can read: its value, but the larger number of values.
    """

    counts: dict[int, int] = field(default_factory=dict)
    values: dict[int, int] = field(default_factory=dict)

    def value(self, tag: int, default: int = 0) -> int:
        """The number that ``tag`` holds; ``default`` where it is not there."""
        if self.counts.get(tag, 1) != 1:
            raise corrupt(f"the tag {tag} of the TIFF is no single number")
        return self.values.get(tag, default)


def require_modest_layout(data: bytes) -> None:
    """Raise `InvalidImage` (``corrupt_image``) where tiles are far larger, or more, than the image needs."""
    layout = _layout_of(data)
    width_px, height_px = layout.value(_WIDTH), layout.value(_HEIGHT)
    if _TILES in layout.counts or _TILE_WIDTH in layout.counts or _TILE_HEIGHT in layout.counts:
        tile_px = layout.value(_TILE_WIDTH), layout.value(_TILE_HEIGHT)
        across, down = map(_tiles_along, (width_px, height_px), tile_px)
    else:
        across, down = 1, -(-height_px // (layout.value(_STRIP_HEIGHT) or height_px or 1))
    planes = layout.value(_SAMPLES, 1) if layout.value(_PLANES) == _PLANES_APART else 1
    listed = max(layout.counts.get(_STRIPS, 0), layout.counts.get(_TILES, 0))
    if listed > min(across * down * planes, MAX_PIECES):
        raise corrupt("the TIFF lists more strips or tiles than it has")


def _tiles_along(side_px: int, tile_px: int) -> int:
    if not _SMALLEST_TILE_PX <= tile_px <= max(USUAL_TILE_PX, side_px + _ROUNDED_UP_TO_PX):
        raise corrupt("the tiles of the TIFF have no size that suits it")
    return -(-side_px // tile_px)


def _layout_of(data: bytes) -> _Layout:
    """The layout in the first directory; more directories are refused later, as pages."""
    order: Literal["little", "big"] = "little" if data[:2] == b"II" else "big"
    is_big = 43 in data[2:4]
    word, head, entry = (8, 8, "HHQ8s") if is_big else (4, 2, "HHL4s")
    begin = int.from_bytes(data[word : 2 * word], order)
    count = int.from_bytes(data[begin : begin + head], order)
    if count > MAX_TAGS:
        raise corrupt(f"the TIFF has more than {MAX_TAGS:,} tags")
    form = struct.Struct(("<" if order == "little" else ">") + entry)
    entries = data[begin + head : begin + head + count * form.size]
    if len(entries) < count * form.size:
        raise corrupt("the TIFF is cut off in its tags")
    layout = _Layout()
    for tag, kind, values, content in form.iter_unpack(entries):
        if tag in _LAYOUT and kind in _BYTES_OF_TYPE:  # decoders pass over a type that they do not know
            layout.counts[tag] = max(values, layout.counts.get(tag, 0))
            layout.values.setdefault(tag, int.from_bytes(content[: _BYTES_OF_TYPE[kind]], order))
    return layout
