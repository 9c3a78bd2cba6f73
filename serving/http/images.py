"""Bytes -> pixels, by one written rule for every runtime.

format      PNG, JPEG, WebP, TIFF or BMP, told by the bytes; else 415 ``unsupported_image``
whole       a PNG's chunks, checksums, rows and palette, a JPEG's data and end, no more parts than an image needs;
            else 422 ``corrupt_image``
frames      one; else 422 ``multi_frame``
size        at most 25 million pixels (422 ``too_many_pixels``), sides of 8 to 8,192 pixels and
            at most 8 times longer than wide (422 ``bad_dimensions``), all judged before pixels get memory;
            the tiles of a TIFF suit it (422 ``corrupt_image``), and a BMP in run lengths has at most
            2 million pixels and bytes together (422 ``too_many_pixels``)
colours     RGB as it is; grey, bilevel and palettes as the RGB that they mean, also where 0 is white;
            CMYK and YCbCr by Pillow's plain formulas; 16-bit grey scaled to 8 bits, not clipped; floating
            point, 32-bit and signed integers, Lab and HSV refused (422 ``unsupported_mode``), having no agreed white
alpha       laid over white, a transparent colour of RGB, grey or a palette included; one of 16-bit
            RGB by the upper 8 bits of its parts, which are all that is kept of the pixels
ICC         profiles are ignored, and counted by the caller
EXIF        orientation 1 to 8 is obeyed, that of XMP where EXIF has none; any other, or an unreadable one, counts as 1
"""

from __future__ import annotations

import io
import struct
import zlib
from collections.abc import Callable
from dataclasses import dataclass
from typing import cast

import numpy as np
from PIL import BmpImagePlugin, GifImagePlugin, Image, JpegImagePlugin, PngImagePlugin, TiffImagePlugin, WebPImagePlugin
from PIL.Image import Transpose

from contract.arrays import FloatArray
from contract.errors import InvalidImage
from contract.preprocessing import resize_to_square, scale_pixels
from serving.http.jpeg import decode_jpeg
from serving.http.png import bit_depth, lacks_rows, last_row
from serving.http.signatures import Effort, Format, corrupt, format_of, require_whole, webp_size
from serving.http.tiff import require_modest_layout

MAX_PIXELS = 25_000_000
MAX_RUN_LENGTH_WORK = 2_000_000  # pixels and bytes of a BMP that Pillow unfolds in Python, at 0.2 microseconds each
MIN_SIDE_PX, MAX_SIDE_PX = 8, 8_192
MAX_ASPECT = 8

# Whatever Pillow's decoders raise on hostile bytes; each kind has been seen. A bomb's own error is apart.
DECODER_ERRORS = (
    OSError,  # UnidentifiedImageError included
    ValueError,
    SyntaxError,
    TypeError,
    LookupError,
    ArithmeticError,
    AttributeError,
    AssertionError,
    RuntimeError,  # NotImplementedError included
    EOFError,
    MemoryError,  # a size that only the decoder believed
    struct.error,
    zlib.error,
)
BOMB_ERRORS = (Image.DecompressionBombError, Image.DecompressionBombWarning)

_OPENERS: dict[Format, Callable[[io.BytesIO], Image.Image]] = {
    "PNG": PngImagePlugin.PngImageFile,
    "JPEG": JpegImagePlugin.jpeg_factory,
    "WEBP": WebPImagePlugin.WebPImageFile,
    "TIFF": TiffImagePlugin.TiffImageFile,
    "BMP": BmpImagePlugin.BmpImageFile,
    "GIF": GifImagePlugin.GifImageFile,  # opened only to say why it is refused
}

# What a PNG's compressed texts may unfold to, all of them together; Pillow's own limit takes a third of a second.
PngImagePlugin.MAX_TEXT_MEMORY = 4 << 20
# Pillow's own reader of uncompressed TIFF takes planes of 16 bits for bytes, and colours of every second pixel for all.
TiffImagePlugin.READ_LIBTIFF = True
# The rest, Pillow reads in loops of Python's: tags, frames and run lengths, at microseconds each.
_READ_BY_C: frozenset[Format] = frozenset({"PNG", "JPEG", "WEBP"})

_ORIENTATION_TAG = 0x0112
_TRANSPOSE = {
    2: Transpose.FLIP_LEFT_RIGHT,
    3: Transpose.ROTATE_180,
    4: Transpose.FLIP_TOP_BOTTOM,
    5: Transpose.TRANSPOSE,
    6: Transpose.ROTATE_270,
    7: Transpose.TRANSVERSE,
    8: Transpose.ROTATE_90,
}

_BITS_PER_SAMPLE_TAG, _PHOTOMETRIC_TAG, _WHITE_IS_ZERO = 258, 262, 0
_SAMPLE_FORMAT_TAG, _SIGNED = 339, 2
_PLANES_TAG, _PLANES_APART = 284, 2


@dataclass(frozen=True, slots=True)
class OpenedImage:
    """An image whose header has passed every rule; its pixels are not decoded yet."""

    image: Image.Image
    data: bytes
    passes: int = 1

    @property
    def work_px(self) -> int:
        """How much work `decode` will be: pixels, each as often as it is visited."""
        return self.passes * self.image.width * self.image.height

    @property
    def has_icc_profile(self) -> bool:
        """Whether a colour profile is being ignored."""
        return "icc_profile" in self.image.info

    def decode(self) -> Image.Image:
        """The upright RGB image; raises `InvalidImage`."""
        try:
            pixels = self._pixels()
            _require_whole_palette(pixels)
            return _as_rgb(_upright(pixels, self._orientation()))
        except BOMB_ERRORS as error:
            raise too_many_pixels() from error
        except DECODER_ERRORS as error:
            raise _unreadable(f"its {self.image.format} data cannot be decoded") from error

    def _pixels(self) -> Image.Image:
        if isinstance(self.image, JpegImagePlugin.JpegImageFile):
            decoded = decode_jpeg(self.data, self.image.size, is_cmyk=self.image.mode == "CMYK")
            if decoded is not None:
                return decoded
        self.image.load()
        if isinstance(self.image, PngImagePlugin.PngImageFile):
            _require_all_rows(self.image, self.data)
            _scale_key_like_pixels(self.image, bit_depth(self.data))
        return self.image

    def _orientation(self) -> object:
        try:
            return self.image.getexif().get(_ORIENTATION_TAG)
        except DECODER_ERRORS:  # unreadable EXIF says nothing about the pixels
            return None


@dataclass(frozen=True, slots=True)
class ExaminedImage:
    """An image whose bytes have passed every rule that needs no decoder."""

    data: bytes
    format: Format
    effort: Effort

    @property
    def is_read_by_c(self) -> bool:
        """Whether its header takes little time, whatever a few hundred kilobytes of bytes are."""
        return self.format in _READ_BY_C and not self.effort.has_tags

    def open(self) -> OpenedImage:
        """The image judged by its header as well; raises `InvalidImage`."""
        image = _opened(self.format, self.data)
        if self.format == "GIF":
            raise _unsupported_format()
        _require_size(image.width, image.height)
        if isinstance(image, BmpImagePlugin.BmpImageFile):
            _require_few_runs(image, len(self.data))
        elif isinstance(image, TiffImagePlugin.TiffImageFile):
            _require_plain_samples(image)
        return OpenedImage(image, self.data, self.effort.passes)


def examine(data: bytes) -> ExaminedImage:
    """``data`` judged by its bytes; raises `InvalidImage`, whose message echoes nothing of them."""
    format_ = format_of(data)
    if format_ is None:
        raise _unsupported_format()
    effort = require_whole(format_, data)
    if format_ == "WEBP":
        _require_size(*webp_size(data))
    elif format_ == "TIFF":
        require_modest_layout(data)
    return ExaminedImage(data, format_, effort)


def open_image(data: bytes) -> OpenedImage:
    """``data`` judged by everything but its pixels; raises `InvalidImage`."""
    return examine(data).open()


def _opened(format_: Format, data: bytes) -> Image.Image:
    try:
        image = _OPENERS[format_](io.BytesIO(data))
        frames_follow = bool(getattr(image, "is_animated", False))
    except BOMB_ERRORS as error:
        raise too_many_pixels() from error
    except DECODER_ERRORS as error:
        raise _unreadable(f"its {format_} header cannot be read") from error
    if frames_follow:
        raise InvalidImage("the file holds several frames or pages; send one", code="multi_frame", status=422)
    return image


def decode_image(data: bytes) -> Image.Image:
    """The upright RGB image in ``data``; raises `InvalidImage`."""
    return open_image(data).decode()


def model_input(image: Image.Image, resolution_px: int) -> FloatArray:
    """An RGB image as a batch of one, (1, side, side, 3) in [-1, 1], by the contract's preprocessing."""
    return scale_pixels(np.asarray(resize_to_square(image, resolution_px)))[np.newaxis]


def too_many_pixels() -> InvalidImage:
    """The refusal of an image that would take too much memory."""
    return InvalidImage(f"the image has more than {MAX_PIXELS:,} pixels", code="too_many_pixels", status=422)


def _unsupported_format() -> InvalidImage:
    return InvalidImage(
        "the bytes are no image of a kind that is read here: PNG, JPEG, WebP, TIFF, BMP",
        code="unsupported_image",
        status=415,
    )


def _unreadable(what: str) -> InvalidImage:
    return InvalidImage(
        f"the image is broken, or of a rare kind that is not read here: {what}; save it anew as an ordinary PNG",
        code="corrupt_image",
        status=422,
    )


def _require_size(width_px: int, height_px: int) -> None:
    if width_px * height_px > MAX_PIXELS:
        raise too_many_pixels()
    short, long = sorted((width_px, height_px))
    if short < MIN_SIDE_PX or long > MAX_SIDE_PX or long > MAX_ASPECT * short:
        raise InvalidImage(
            f"the image is {width_px} x {height_px} pixels; sides must have {MIN_SIDE_PX} to {MAX_SIDE_PX:,} pixels "
            f"and one may be at most {MAX_ASPECT} times the other",
            code="bad_dimensions",
            status=422,
        )


def _require_few_runs(image: BmpImagePlugin.BmpImageFile, length_bytes: int) -> None:
    in_run_lengths = any(tile.codec_name == "bmp_rle" for tile in image.tile)
    if in_run_lengths and image.width * image.height + length_bytes > MAX_RUN_LENGTH_WORK:
        raise InvalidImage(
            f"a BMP in run lengths may have {MAX_RUN_LENGTH_WORK:,} pixels and bytes together; send it as PNG",
            code="too_many_pixels",
            status=422,
        )


def _require_plain_samples(image: TiffImagePlugin.TiffImageFile) -> None:
    """Pillow takes signed bytes for others, and mixes grey up with an alpha that lies in a plane of its own."""
    is_signed = image.mode == "L" and _SIGNED in image.tag_v2.get(_SAMPLE_FORMAT_TAG, ())
    is_apart = image.mode in ("LA", "La", "PA") and image.tag_v2.get(_PLANES_TAG) == _PLANES_APART
    if is_signed or is_apart:
        raise InvalidImage(
            "signed samples, and grey with an alpha in a plane of its own, are not read; save it anew as PNG",
            code="unsupported_mode",
            status=422,
        )


def _require_all_rows(image: PngImagePlugin.PngImageFile, data: bytes) -> None:
    """Only where the row that is written last is black do the compressed bytes have to tell whether it is there."""
    row = last_row(data)
    if image.crop((0, row, image.width, row + 1)).getbbox() is None and lacks_rows(data):
        raise corrupt("the PNG ends before its last row")


def _require_whole_palette(image: Image.Image) -> None:
    """To Pillow a colour that a palette lacks is black."""
    if image.mode != "P":
        return
    _, highest = cast(tuple[int, int], image.getextrema())
    if highest >= len(image.getpalette() or ()) // 3:
        raise corrupt("its palette lacks a colour that it uses")


def _scale_key_like_pixels(image: PngImagePlugin.PngImageFile, depth: int) -> None:
    """Pillow scales pixels of other depths to 8 bits and leaves the transparent colour as the file has it."""
    key = image.info.get("transparency")
    if image.mode == "L" and isinstance(key, int):
        brightest = (1 << depth) - 1
        image.info["transparency"] = (key & brightest) * 255 // brightest
    elif image.mode == "RGB" and isinstance(key, tuple):
        image.info["transparency"] = tuple(part >> 8 if depth == 16 else part & 255 for part in key)


def _upright(image: Image.Image, orientation: object) -> Image.Image:
    method = _TRANSPOSE.get(orientation) if isinstance(orientation, int) else None
    return image if method is None else image.transpose(method)


def _as_rgb(image: Image.Image) -> Image.Image:
    if image.mode == "RGB" and "transparency" not in image.info:
        return image
    rule = _COLOUR_RULES.get(image.mode)
    if rule is None:
        raise InvalidImage(
            f"pixels of the kind {image.mode} have no agreed meaning as a colour", code="unsupported_mode", status=422
        )
    return rule(image)


def _plain(image: Image.Image) -> Image.Image:
    return image.convert("RGB")


def _plain_or_keyed(image: Image.Image) -> Image.Image:
    return _over_white(image.convert("RGBA")) if "transparency" in image.info else image.convert("RGB")


def _over_white(image: Image.Image) -> Image.Image:
    rgba = image if image.mode == "RGBA" else image.convert("RGBA")
    ground = Image.new("RGB", rgba.size, "white")
    ground.paste(rgba, mask=rgba.getchannel("A"))
    return ground


def _premultiplied_grey(image: Image.Image) -> Image.Image:
    return _over_white(image.convert("LA"))


def _sixteen_bits(image: Image.Image) -> Image.Image:
    values = np.asarray(image).astype(np.uint32)
    brightest = (1 << _significant_bits(image)) - 1
    scaled = (np.minimum(values, brightest) * 255 + brightest // 2) // brightest
    if _is_negative(image):
        scaled = 255 - scaled
    if isinstance(key := image.info.get("transparency"), int):
        scaled[values == key] = 255
    return Image.fromarray(scaled.astype(np.uint8), "L").convert("RGB")


def _significant_bits(image: Image.Image) -> int:
    """16, or what a TIFF says its samples have: 12 bits come in 16-bit words."""
    if isinstance(image, TiffImagePlugin.TiffImageFile):
        return int(image.tag_v2.get(_BITS_PER_SAMPLE_TAG, (16,))[0])
    return 16


def _is_negative(image: Image.Image) -> bool:
    """Whether 0 is white, as a TIFF says or leaves unsaid; of other depths Pillow itself turns such pixels round."""
    if not isinstance(image, TiffImagePlugin.TiffImageFile):
        return False
    return bool(image.tag_v2.get(_PHOTOMETRIC_TAG, _WHITE_IS_ZERO) == _WHITE_IS_ZERO)


_COLOUR_RULES: dict[str, Callable[[Image.Image], Image.Image]] = {
    "RGB": _plain_or_keyed,
    "L": _plain_or_keyed,
    "1": _plain_or_keyed,
    "P": _plain_or_keyed,
    "LA": _over_white,
    "PA": _over_white,
    "RGBA": _over_white,
    "RGBa": _over_white,
    "La": _premultiplied_grey,
    "RGBX": _plain,
    "CMYK": _plain,
    "YCbCr": _plain,
    "I;16": _sixteen_bits,
    "I;16L": _sixteen_bits,
    "I;16B": _sixteen_bits,
}
