"""A TIFF's own word on its tiles is not believed: small files cost little, and ordinary layouts pass."""

from __future__ import annotations

import io
import struct
import zlib

import numpy as np
import pytest
from PIL import Image

from contract.errors import InvalidImage
from serving.http.images import decode_image
from serving.http.tiff import MAX_TAGS, USUAL_TILE_PX, require_modest_layout

SHORT, LONG, LONG8 = 3, 4, 16
ORDERS = ("<", ">")
PIXELS = np.random.default_rng(0).integers(0, 256, (40, 48), dtype=np.uint8)


def tiff(tags, pixels=b"", order="<", big=False):
    """A file of the directory ``tags``, {tag: (type, values)}; ``pixels`` begin behind it, at `begin_of`."""
    word, entry = ("Q", "HHQ") if big else ("L", "HHL")
    field = struct.calcsize(order + word)
    mark = (b"II" if order == "<" else b"MM") + struct.pack(order + "H", 43 if big else 42)
    head = mark + (struct.pack(order + "HHQ", 8, 0, 16) if big else struct.pack(order + "L", 8))
    begin = len(head) + struct.calcsize(order + ("Q" if big else "H"))
    lists_at = begin + len(tags) * (struct.calcsize(order + entry) + field) + field
    entries, lists = b"", b""
    for tag, (kind, values) in tags:
        content = struct.pack(order + {SHORT: "H", LONG: "L", LONG8: "Q"}.get(kind, "L") * len(values), *values)
        if len(content) > field:
            content, lists = struct.pack(order + word, lists_at + len(lists)), lists + content
        entries += struct.pack(order + entry, tag, kind, len(values)) + content.ljust(field, b"\0")
    count = struct.pack(order + ("Q" if big else "H"), len(tags))
    return head + count + entries + bytes(field) + lists + pixels


def described(width=48, height=40, compression=1):
    """The tags that every grey image has."""
    rest = ((258, 8), (259, compression), (262, 1), (277, 1))
    return [(256, (LONG, [width])), (257, (LONG, [height])), *((tag, (SHORT, [value])) for tag, value in rest)]


def tiled(tile_width, tile_height, offsets, compression=1, **size):
    tile = [(322, (LONG, [tile_width])), (323, (LONG, [tile_height])), (324, (LONG, offsets))]
    return [*described(compression=compression, **size), *tile, (325, (LONG, [1] * len(offsets)))]


def is_refused(data):
    try:
        require_modest_layout(data)
    except InvalidImage as refusal:
        return (refusal.status, refusal.code) == (422, "corrupt_image")
    return False


@pytest.mark.acceptance("I8")
@pytest.mark.parametrize("order", ORDERS)
@pytest.mark.parametrize("big", [False, True])
@pytest.mark.parametrize(
    "sides", [(46_340, 46_340), (16, 46_340), (46_340, 16), (0, 16), (1, 1), (2**32 - 1, 2**32 - 1)]
)
def test_a_tile_far_from_the_size_of_the_image_is_refused(sides, big, order):
    assert is_refused(tiff(tiled(*sides, [300], 8, width=8, height=8), bytes(2_000), order, big))


@pytest.mark.acceptance("I8")
def test_the_decoder_never_sees_a_bomb_of_one_tile():
    with pytest.raises(InvalidImage, match="tiles"):
        decode_image(tiff(tiled(46_340, 46_340, [300], 8, width=8, height=8), zlib.compress(bytes(2_000_000))))


@pytest.mark.parametrize("order", ORDERS)
@pytest.mark.parametrize("big", [False, True])
@pytest.mark.parametrize(
    ("side", "tile"), [(8, 16), (48, 64), (8, USUAL_TILE_PX), (4_000, 256), (5_000, 5_120), (1_100, 1_280)]
)
def test_an_ordinary_tile_is_not(side, tile, big, order):
    needed = -((-side // tile) ** 2)
    assert not is_refused(tiff(tiled(tile, tile, [300] * needed, width=side, height=side), b"", order, big))


@pytest.mark.parametrize("order", ORDERS)
def test_pixels_of_tiles_come_back(order):
    padded = np.zeros((64, 64), np.uint8)
    padded[:40, :48] = PIXELS
    begin = len(tiff(tiled(64, 64, [0]), order=order))
    data = tiff([*tiled(64, 64, [begin])[:-1], (325, (LONG, [64 * 64]))], padded.tobytes(), order)
    assert np.array_equal(np.asarray(decode_image(data))[..., 0], PIXELS)


@pytest.mark.parametrize("compression", [None, "tiff_deflate", "tiff_lzw", "packbits", "jpeg"])
@pytest.mark.parametrize("mode", ["L", "RGB", "CMYK"])
def test_what_pillow_writes_passes(mode, compression):
    buffer = io.BytesIO()
    Image.new(mode, (300, 200)).save(buffer, "TIFF", compression=compression)
    require_modest_layout(buffer.getvalue())
    assert decode_image(buffer.getvalue()).size == (300, 200)


@pytest.mark.parametrize("rows", [1, 7, 40, 2**32 - 1])
def test_strips_of_any_height_pass(rows):
    needed = -(-40 // rows)
    tags = [*described(), (273, (LONG, [300] * needed)), (278, (LONG, [rows])), (279, (LONG, [48] * needed))]
    assert not is_refused(tiff(tags))
    assert is_refused(tiff([(tag, (kind, values * 2 if tag == 273 else values)) for tag, (kind, values) in tags]))


def test_planes_that_lie_apart_have_strips_of_their_own():
    tags = [*described()[:-1], (273, (LONG, [300] * 3)), (277, (SHORT, [3])), (278, (LONG, [40]))]
    assert is_refused(tiff(tags))
    assert not is_refused(tiff([*tags, (284, (SHORT, [2]))]))


@pytest.mark.acceptance("I8")
@pytest.mark.parametrize("pieces", [(273, 278, 1), (324, 323, 16)])
def test_a_list_of_far_more_strips_or_tiles_than_there_are_is_refused(pieces):
    list_tag, size_tag, size = pieces
    tags = [*described(), (list_tag, (LONG, [300] * 1_000_000)), (size_tag, (LONG, [size]))]
    assert is_refused(tiff(tags + ([(322, (LONG, [16]))] if list_tag == 324 else [])))


@pytest.mark.acceptance("I8")
def test_a_second_list_does_not_hide_behind_the_first():
    tags = [*described(), (273, (LONG, [])), (273, (99, [1])), (273, (LONG, [300] * 1_000))]
    assert is_refused(tiff(tags))


@pytest.mark.acceptance("I8")
def test_very_many_tags_are_refused():
    tags = [*described(), (273, (LONG, [300]))]
    assert not is_refused(tiff(tags + [(40_000 + tag, (LONG, [1])) for tag in range(MAX_TAGS - 10)]))
    assert is_refused(tiff(tags + [(2_000 + tag, (LONG, [1])) for tag in range(50_000)]))


@pytest.mark.acceptance("I6")
@pytest.mark.filterwarnings("ignore")  # what Pillow says of broken tags is its own affair
@pytest.mark.parametrize("kept", [4, 8, 9, 20, 60])
def test_a_directory_that_is_cut_off_is_pixels_or_a_refusal(kept):
    with pytest.raises(InvalidImage):
        decode_image(tiff([*described(), (273, (LONG, [300]))])[:kept])


@pytest.mark.acceptance("I11")
@pytest.mark.parametrize("orientation", [1, 3])
def test_twelve_bits_are_scaled_as_twelve_whichever_way_up_they_are(orientation):
    white = b"\xff" * (16 * 8 * 12 // 8)
    tags = [(256, 16), (257, 8), (258, 12), (259, 1), (262, 1), (273, 0), (274, orientation), (277, 1), (278, 8)]
    begin = len(tiff([(tag, (LONG, [value])) for tag, value in tags]))
    described_as = [(tag, (LONG, [begin if tag == 273 else value])) for tag, value in tags]
    assert (np.asarray(decode_image(tiff(described_as, white))) == 255).all()


def laid_out(pieces, order="<", **tags):
    """An uncompressed TIFF of 48 x 40 pixels, each of ``pieces`` a strip; ``tags`` are added or replaced."""

    def file(begin):
        at = [begin + sum(map(len, pieces[:index])) for index in range(len(pieces))]
        strips = {273: (LONG, at), 278: (LONG, [40]), 279: (LONG, list(map(len, pieces)))}
        own = {int(tag.removeprefix("tag_")): (SHORT, values) for tag, values in tags.items()}
        return tiff(sorted((dict(described()) | strips | own).items()), b"".join(pieces), order)

    return file(len(file(0)) - sum(map(len, pieces)))


@pytest.mark.acceptance("I11")
@pytest.mark.parametrize("order", ORDERS)
@pytest.mark.parametrize(("bits", "kind"), [(8, "u1"), (16, "u2")])
def test_colours_in_planes_of_their_own_come_together(bits, kind, order):
    values = np.random.default_rng(1).integers(0, 2**bits, (3, 40, 48))
    planes = [plane.astype(order + kind).tobytes() for plane in values]
    data = laid_out(planes, order, tag_258=[bits] * 3, tag_262=[2], tag_277=[3], tag_284=[2])
    assert np.array_equal(np.asarray(decode_image(data)), values.transpose(1, 2, 0) >> (bits - 8))


@pytest.mark.acceptance("I11")
def test_colours_of_every_second_pixel_are_spread_and_bytes_behind_them_are_none():
    blocks = PIXELS.reshape(20, 2, 24, 2).swapaxes(1, 2).reshape(-1, 4)
    no_colour = np.full((len(blocks), 2), 128, np.uint8)
    strip = np.concatenate([blocks, no_colour], axis=1).tobytes()
    data = laid_out([strip], tag_258=[8] * 3, tag_262=[6], tag_277=[3], tag_530=[2, 2])
    difference = np.asarray(decode_image(data + b"\xff" * 10_000)).astype(int) - PIXELS[..., np.newaxis]
    assert np.abs(difference).max() <= 1


@pytest.mark.acceptance("I11")
def test_samples_that_pillow_would_misread_are_refused():
    bytes_ = PIXELS.tobytes()
    apart = {"tag_258": [8, 8], "tag_277": [2], "tag_284": [2], "tag_338": [2]}
    refused = {"signed": laid_out([bytes_], tag_339=[2]), "apart": laid_out([bytes_] * 2, **apart)}
    for data in refused.values():
        with pytest.raises(InvalidImage) as refusal:
            decode_image(data)
        assert refusal.value.code == "unsupported_mode"
    assert decode_image(laid_out([bytes_], tag_339=[1])).size == (48, 40)
