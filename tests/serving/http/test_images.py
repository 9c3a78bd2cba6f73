"""The decoder's rules, one by one."""

from __future__ import annotations

import io
import struct
import zlib

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays
from PIL import Image

from contract.errors import InvalidImage
from serving.http.images import MAX_PIXELS, decode_image, examine, model_input, open_image

sides = st.integers(8, 40)
LOSSLESS = {"PNG": {}, "BMP": {}, "TIFF": {"compression": "tiff_deflate"}, "WEBP": {"lossless": True}}


def pixels_of(height=12, width=16, channels=3, seed=0):
    shape = (height, width, channels) if channels > 1 else (height, width)
    return np.random.default_rng(seed).integers(0, 256, shape, dtype=np.uint8)


def encoded(image, format_="PNG", **options):
    buffer = io.BytesIO()
    image.save(buffer, format_, **options)
    return buffer.getvalue()


def decoded(data):
    image = decode_image(data)
    assert image.mode == "RGB"
    return np.asarray(image)


def code_of(data):
    with pytest.raises(InvalidImage) as refused:
        decode_image(data)
    return refused.value.status, refused.value.code


def png_chunk(kind, data):
    return struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data))


def png(width, height, *chunks, bit_depth=8, colour=2):
    header = struct.pack(">IIBBBBB", width, height, bit_depth, colour, 0, 0, 0)
    body = b"".join(chunks) or png_chunk(b"IDAT", zlib.compress(b""))
    return b"\x89PNG\r\n\x1a\n" + png_chunk(b"IHDR", header) + body + png_chunk(b"IEND", b"")


@pytest.mark.parametrize("format_", LOSSLESS)
@given(st.data())
@settings(max_examples=25, deadline=None)
def test_rgb_pixels_come_back_as_they_were(format_, data):
    pixels = data.draw(arrays(np.uint8, st.tuples(sides, sides, st.just(3))))
    assert np.array_equal(decoded(encoded(Image.fromarray(pixels), format_, **LOSSLESS[format_])), pixels)


@pytest.mark.parametrize("format_", ["PNG", "BMP", "TIFF"])
@given(pixels=arrays(np.uint8, st.tuples(sides, sides)))
@settings(max_examples=25, deadline=None)
def test_grey_pixels_become_three_equal_channels(format_, pixels):
    result = decoded(encoded(Image.fromarray(pixels), format_))
    assert np.array_equal(result, np.repeat(pixels[..., np.newaxis], 3, axis=2))


@pytest.mark.acceptance("I11")
@given(pixels=arrays(np.uint8, st.tuples(sides, sides, st.just(4))))
@settings(max_examples=50, deadline=None)
def test_alpha_is_laid_over_white(pixels):
    alpha = pixels[..., 3:].astype(float) / 255
    expected = pixels[..., :3] * alpha + 255 * (1 - alpha)
    assert np.abs(decoded(encoded(Image.fromarray(pixels))) - expected).max() <= 1


@pytest.mark.acceptance("I11")
@pytest.mark.parametrize("format_", ["PNG", "TIFF"])
@given(values=arrays(np.uint16, st.tuples(sides, sides)))
@settings(max_examples=25, deadline=None)
def test_sixteen_bits_are_scaled_and_not_clipped(format_, values):
    result = decoded(encoded(Image.fromarray(values), format_))
    assert np.abs(result[..., 0] - values / 257).max() <= 0.5
    assert (result == result[..., :1]).all()


WHITE_IS_ZERO, BLACK_IS_ZERO = 0, 1


@pytest.mark.acceptance("I11")
@pytest.mark.parametrize("compression", [None, "tiff_deflate"])
@pytest.mark.parametrize("dtype", [np.uint8, np.uint16])
@given(data=st.data())
@settings(max_examples=25, deadline=None)
def test_a_tiff_whose_zero_is_white_is_the_image_and_not_its_negative(dtype, compression, data):
    brightest = np.iinfo(dtype).max
    values = data.draw(arrays(dtype, st.tuples(sides, sides)))
    orientation = data.draw(st.sampled_from([1, 3]))  # as it is, or upside down
    expected = (values if orientation == 1 else values[::-1, ::-1]) / (brightest / 255)

    def shown(stored, photometric):
        data = encoded(Image.fromarray(stored), "TIFF", tiffinfo={274: orientation}, compression=compression)
        tag = struct.pack("<HHL", 262, 3, 1)
        at = data.index(tag) + len(tag)
        return decoded(data[:at] + struct.pack("<H", photometric) + data[at + 2 :])[..., 0]

    assert np.abs(shown(values, BLACK_IS_ZERO) - expected).max() <= 0.5
    assert np.abs(shown(brightest - values, WHITE_IS_ZERO) - expected).max() <= 0.5


@pytest.mark.acceptance("I11")
def test_a_palette_and_its_transparent_colour_become_what_they_mean():
    image = Image.new("P", (10, 10), 1)
    image.putpalette([10, 20, 30, 200, 100, 50])
    image.paste(0, (0, 0, 10, 5))
    assert decoded(encoded(image))[0, 0].tolist() == [10, 20, 30]
    assert decoded(encoded(image, transparency=0))[0, 0].tolist() == [255, 255, 255]
    assert decoded(encoded(image, transparency=0))[9, 0].tolist() == [200, 100, 50]


@pytest.mark.acceptance("I11")
@pytest.mark.parametrize("mode", ["RGB", "L"])
def test_a_transparent_colour_of_an_image_without_alpha_is_white(mode):
    image = Image.new(mode, (10, 10), 7 if mode == "L" else (7, 7, 7))
    image.putpixel((0, 0), 9 if mode == "L" else (9, 9, 9))
    result = decoded(encoded(image, transparency=7 if mode == "L" else (7, 7, 7)))
    assert result[5, 5].tolist() == [255] * 3
    assert result[0, 0].tolist() == [9] * 3


def png_of(values, bit_depth, key):
    """Grey of shape (height, width), or RGB of shape (height, width, 3), with a transparent colour."""
    channels = values.shape[2] if values.ndim == 3 else 1
    rows = values.reshape(len(values), -1)
    if bit_depth == 16:
        packed = rows.astype(">u2").view(np.uint8)
    else:
        bits = rows[..., np.newaxis] >> np.arange(bit_depth)[::-1] & 1
        packed = np.packbits(bits.reshape(len(rows), -1), axis=1)
    lines = b"".join(b"\0" + row.tobytes() for row in packed)
    transparent = png_chunk(b"tRNS", struct.pack(f">{channels}H", *np.atleast_1d(key)))
    pixels = png_chunk(b"IDAT", zlib.compress(lines))
    height, width = values.shape[:2]
    return png(width, height, transparent, pixels, bit_depth=bit_depth, colour=2 if channels == 3 else 0)


@pytest.mark.acceptance("I11")
@pytest.mark.parametrize("bit_depth", [1, 2, 4, 8, 16])
@given(st.data())
@settings(max_examples=30, deadline=None)
def test_a_transparent_grey_is_white_at_every_depth(bit_depth, data):
    brightest = 2**bit_depth - 1
    near = st.sampled_from([0, brightest, brightest // 2, brightest // 2 + 1]) | st.integers(0, brightest)
    values = data.draw(arrays(np.int64, st.tuples(sides, sides), elements=near))
    key = data.draw(near | st.just(int(values[0, 0])))
    expected = np.where(values == key, 255, values * 255 / brightest)
    assert np.abs(decoded(png_of(values, bit_depth, key)) - expected[..., np.newaxis]).max() <= 0.5


@pytest.mark.acceptance("I11")
@pytest.mark.parametrize("bit_depth", [8, 16])
@given(st.data())
@settings(max_examples=30, deadline=None)
def test_a_transparent_colour_is_white_at_every_depth(bit_depth, data):
    brightest = 2**bit_depth - 1
    near = st.sampled_from([0, brightest, brightest // 2 + 1]) | st.integers(0, brightest)
    values = data.draw(arrays(np.int64, st.tuples(sides, sides, st.just(3)), elements=near))
    key = data.draw(st.tuples(near, near, near) | st.just(tuple(map(int, values[0, 0]))))
    kept, kept_key = values >> (bit_depth - 8), np.array(key) >> (bit_depth - 8)
    expected = np.where((kept == kept_key).all(axis=2, keepdims=True), 255, kept)
    assert np.array_equal(decoded(png_of(values, bit_depth, key)), expected)


@pytest.mark.acceptance("I11")
@pytest.mark.parametrize(
    ("bit_depth", "value", "key", "expected"),
    [
        (16, (0x8000, 0, 0), (0x8000, 0, 0), 255),
        (16, (0, 0, 0), (0x8000, 0, 0), 0),
        (2, 2, 2, 255),
        (4, 8, 8, 255),
        (4, 8, 0xFFF8, 255),  # what a key has above the depth does not count
    ],
)
def test_a_key_means_the_pixels_that_have_it(bit_depth, value, key, expected):
    values = np.broadcast_to(np.array(value), (8, 8, 3) if isinstance(value, tuple) else (8, 8))
    assert (decoded(png_of(values, bit_depth, key)) == expected).all()


@pytest.mark.acceptance("I11")
def test_bilevel_is_black_and_white():
    image = Image.new("1", (16, 16), 1)
    image.putpixel((3, 2), 0)
    result = decoded(encoded(image))
    assert result[2, 3].tolist() == [0] * 3
    assert result[0, 0].tolist() == [255] * 3


@pytest.mark.acceptance("I11")
def test_cmyk_without_ink_is_white_and_with_all_ink_black():
    for ink, expected in ((0, 255), (255, 0)):
        image = Image.new("CMYK", (16, 16), (ink,) * 4)
        assert decoded(encoded(image, "TIFF"))[0, 0].tolist() == [expected] * 3


@pytest.mark.acceptance("I11")
@pytest.mark.parametrize("mode", ["F", "I", "LAB"])
def test_pixels_without_an_agreed_white_are_refused(mode):
    assert code_of(encoded(Image.new(mode, (16, 16)), "TIFF")) == (422, "unsupported_mode")


@pytest.mark.acceptance("I7")
def test_the_bytes_decide_what_an_image_is():
    image = Image.fromarray(pixels_of())
    for format_ in ("PNG", "JPEG", "WEBP", "TIFF", "BMP"):
        assert decoded(encoded(image, format_)).shape == (12, 16, 3)
    for format_ in ("GIF", "PPM", "ICO", "TGA", "EPS", "PCX", "SGI", "PDF"):
        assert code_of(encoded(image, format_)) == (415, "unsupported_image"), format_


@pytest.mark.acceptance("I4")
@given(st.binary(max_size=200))
def test_bytes_of_no_known_kind_are_unsupported(data):
    assert code_of(b"?" + data) == (415, "unsupported_image")


@pytest.mark.acceptance("I5")
@pytest.mark.parametrize("format_", ["PNG", "JPEG", "WEBP"])
@given(kept=st.floats(0.2, 0.98))
@settings(max_examples=30, deadline=None)
def test_a_cut_image_is_corrupt(format_, kept):
    data = encoded(Image.fromarray(pixels_of(40, 40)), format_)
    assert code_of(data[: int(kept * len(data))]) == (422, "corrupt_image")


@pytest.mark.acceptance("I6")
@pytest.mark.filterwarnings("ignore")  # what Pillow says of broken metadata is its own affair
@pytest.mark.parametrize("format_", ["PNG", "JPEG", "WEBP", "TIFF", "BMP", "GIF"])
@given(st.data())
@settings(max_examples=150, deadline=None)
def test_whatever_is_broken_the_answer_is_pixels_or_a_refusal(format_, data):
    damaged = bytearray(encoded(Image.fromarray(pixels_of(20, 20)), format_))
    for _ in range(data.draw(st.integers(1, 6))):
        damaged[data.draw(st.integers(0, len(damaged) - 1))] = data.draw(st.integers(0, 255))
    try:
        decoded(bytes(damaged))
        status = 200
    except InvalidImage as refusal:
        status = refusal.status
    assert status in (200, 415, 422)


@pytest.mark.acceptance("I8")
def test_too_many_pixels_are_refused_on_their_word():
    assert code_of(png(100_000, 100_000)) == (422, "too_many_pixels")
    assert code_of(png(5_001, 5_000)) == (422, "too_many_pixels")
    assert MAX_PIXELS == 5_000 * 5_000
    assert open_image(png(5_000, 5_000)).work_px == MAX_PIXELS
    webp = b"RIFF\x20\0\0\0WEBPVP8X\x0a\0\0\0" + bytes(4) + (16_383).to_bytes(3, "little") * 2 + bytes(8)
    assert code_of(webp) == (422, "too_many_pixels")


@pytest.mark.acceptance("I8")
def test_text_and_profiles_that_unfold_are_refused():
    for kind, head in ((b"zTXt", b"comment\0\0"), (b"iCCP", b"profile\0\0")):
        bomb = png_chunk(kind, head + zlib.compress(bytes(64 << 20)))
        assert code_of(png(16, 16, bomb))[0] == 422


@pytest.mark.acceptance("I8")
def test_texts_that_unfold_are_refused_together():
    text = png_chunk(b"zTXt", b"comment\0\0" + zlib.compress(bytes(1_000_000)))
    pixels = png_chunk(b"IDAT", zlib.compress(bytes(16 * 49)))
    assert decoded(png(16, 16, text, pixels)).shape == (16, 16, 3)
    assert code_of(png(16, 16, *[text] * 40, pixels)) == (422, "corrupt_image")


def bmp_in_run_lengths(side, runs):
    data = bytearray(encoded(Image.new("P", (side, side)), "BMP"))
    begin = int.from_bytes(data[10:14], "little")
    data[30:34] = struct.pack("<L", 1)  # the compression is RLE8
    return bytes(data[:begin]) + runs + b"\0\1"


@pytest.mark.acceptance("I8")
def test_run_lengths_that_unfold_to_much_are_refused():
    row, end_of_row, nothing = b"\x40\0", b"\0\0", b"\x01\0"
    assert decode_image(bmp_in_run_lengths(64, (row + end_of_row) * 64)).size == (64, 64)
    assert code_of(bmp_in_run_lengths(5_000, (b"\x01\0" + end_of_row) * 5_000)) == (422, "too_many_pixels")
    assert code_of(bmp_in_run_lengths(64, row + nothing * 4_000_000)) == (422, "too_many_pixels")


@pytest.mark.acceptance("I8")
def test_what_may_take_long_to_open_is_told_by_its_bytes():
    def is_read_by_c(format_, **options):
        return examine(encoded(Image.fromarray(pixels_of()), format_, **options)).is_read_by_c

    exif = Image.Exif()
    exif[0x0112] = 3
    assert all(is_read_by_c(format_) for format_ in ("PNG", "JPEG", "WEBP"))
    assert not any(is_read_by_c(format_) for format_ in ("TIFF", "BMP", "GIF"))
    assert not any(is_read_by_c(format_, exif=exif) for format_ in ("PNG", "JPEG", "WEBP"))
    assert not examine(png(16, 16, png_chunk(b"zTXt", b"Raw profile type exif\0\0"))).is_read_by_c


@pytest.mark.acceptance("I9")
@pytest.mark.parametrize("format_", ["GIF", "WEBP", "PNG", "TIFF"])
def test_several_frames_are_refused(format_):
    frames = [Image.fromarray(pixels_of(seed=seed)) for seed in (1, 2)]
    data = encoded(frames[0], format_, save_all=True, append_images=frames[1:])
    assert code_of(data) == (422, "multi_frame")


@pytest.mark.acceptance("I12")
@pytest.mark.parametrize("size", [(7, 20), (20, 7), (8, 65), (65, 8), (8_193, 2_000), (1, 1)])
def test_sizes_out_of_bounds_are_refused(size):
    assert code_of(encoded(Image.new("L", size))) == (422, "bad_dimensions")


@pytest.mark.acceptance("I12")
@pytest.mark.parametrize("size", [(8, 8), (8, 64), (64, 8)])
def test_sizes_at_the_bounds_are_accepted(size):
    assert decode_image(encoded(Image.new("L", size))).size == size


@pytest.mark.acceptance("I10")
@pytest.mark.parametrize("orientation", range(1, 9))
@pytest.mark.parametrize("format_", ["PNG", "WEBP", "TIFF"])
def test_orientation_is_obeyed(format_, orientation):
    upright = Image.fromarray(pixels_of())
    undo = {2: 0, 3: 3, 4: 1, 5: 5, 6: 2, 7: 6, 8: 4}  # the transposition that orientation tells to undo
    stored = upright if orientation == 1 else upright.transpose(undo[orientation])
    exif = Image.Exif()
    exif[0x0112] = orientation
    data = encoded(stored, format_, exif=exif, **({"lossless": True} if format_ == "WEBP" else {}))
    assert np.array_equal(decoded(data), np.asarray(upright))


@pytest.mark.acceptance("I10")
@pytest.mark.filterwarnings("ignore")  # Pillow remarks on the broken EXIF, which is the point
@pytest.mark.parametrize("exif", [b"Exif\0\0II*\0", b"Exif\0\0MM\0*\0\0\0\x08\0\x01", b"Exif\0\0junk", b"\0" * 40])
def test_unreadable_exif_counts_as_upright(exif):
    image = Image.fromarray(pixels_of())
    assert np.array_equal(decoded(encoded(image, "JPEG", exif=exif)), decoded(encoded(image, "JPEG")))


@pytest.mark.acceptance("I10")
@pytest.mark.parametrize("orientation", [0, 9, 65_535])
def test_an_orientation_that_does_not_exist_counts_as_upright(orientation):
    exif = Image.Exif()
    exif[0x0112] = orientation
    image = Image.fromarray(pixels_of())
    assert np.array_equal(decoded(encoded(image, exif=exif)), np.asarray(image))


@pytest.mark.acceptance("I11")
def test_a_colour_profile_is_ignored_and_noticed():
    image = Image.fromarray(pixels_of())
    data = encoded(image, icc_profile=b"no profile at all")
    assert open_image(data).has_icc_profile
    assert not open_image(encoded(image)).has_icc_profile
    assert np.array_equal(decoded(data), np.asarray(image))


def test_a_refusal_says_nothing_of_the_bytes():
    secret = b"FAKE-PATIENT-NAME"
    for data in (secret, encoded(Image.fromarray(pixels_of()))[:60] + secret):
        with pytest.raises(InvalidImage) as refused:
            decode_image(data)
        assert secret.decode() not in str(refused.value)


@given(pixels=arrays(np.uint8, (16, 16, 3)))
@settings(max_examples=25, deadline=None)
def test_an_image_of_the_models_own_size_is_only_scaled(pixels):
    batch = model_input(decode_image(encoded(Image.fromarray(pixels))), 16)
    assert batch.shape == (1, 16, 16, 3)
    assert batch.dtype == np.float32
    assert np.abs(batch[0] - (pixels / 127.5 - 1)).max() < 1e-6


@pytest.mark.real_data
@pytest.mark.acceptance("I11")
def test_every_image_of_pngsuite_decodes(corpus):
    files = sorted((corpus / "pngsuite").rglob("*.png"))
    assert len(files) == 60
    for path in files:
        decode_image(path.read_bytes())
