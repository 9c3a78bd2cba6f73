"""The pixels of a JPEG, by a decoder that says when they ran out: Pillow leaves them grey and is silent.

Both hold libjpeg-turbo and give equal pixels (decision 7).
"""

from __future__ import annotations

import re

import numpy as np
import simplejpeg
from PIL import Image

from serving.http.signatures import corrupt

_DAMAGE = re.compile(r"Corrupt JPEG data|Premature end of JPEG")
_LEFT_OVER = re.compile(r"(\d+) extraneous bytes before marker 0x([0-9a-f]{2})")


def decode_jpeg(data: bytes, size: tuple[int, int], *, is_cmyk: bool = False) -> Image.Image | None:
    """The RGB pixels of ``data``, or None where they are left to Pillow: CMYK, or of a rare kind.

    ``size`` is width and height as Pillow read them: no more memory is taken, whatever another reader finds. Raises
    `InvalidImage` (``corrupt_image``) where the compressed data ends early or makes no sense.
    """
    room = np.empty((size[1], size[0], 4 if is_cmyk else 3), np.uint8)
    try:
        pixels = simplejpeg.decode_jpeg(data, "CMYK" if is_cmyk else "RGB", buffer=room, strict=True)
    except ValueError as error:
        if _DAMAGE.search(str(error)) and not _is_padding(str(error), data):
            raise corrupt("the JPEG's compressed data is damaged or incomplete") from error
        return None
    return None if is_cmyk or pixels.shape != room.shape else Image.fromarray(pixels)


def _is_padding(complaint: str, data: bytes) -> bool:
    """Whether what the decoder did not need is one byte again and again, as some cameras write, and no pixels."""
    found = _LEFT_OVER.search(complaint)
    if found is None:
        return False
    length, marker = int(found[1]), bytes.fromhex("ff" + found[2])
    end = data.rfind(marker)
    left_over = data[max(end - length, 0) : max(end, 0)]
    return left_over == left_over[:1] * length
