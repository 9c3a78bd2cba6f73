"""Images small enough to lie in a page."""

from __future__ import annotations

import base64
from io import BytesIO

import numpy as np
from PIL import Image

from contract.arrays import ImageArray

THUMBNAIL_PX = 96


def thumbnail(image: ImageArray) -> bytes:
    """``image`` as a PNG, made smaller where its side is above 96 pixels."""
    drawn = Image.fromarray(np.ascontiguousarray(image))
    if drawn.width > THUMBNAIL_PX:
        drawn = drawn.resize((THUMBNAIL_PX, THUMBNAIL_PX), Image.Resampling.BILINEAR)
    stored = BytesIO()
    drawn.save(stored, "PNG", optimize=True)
    return stored.getvalue()


def data_uri(png: bytes) -> str:
    """``png`` as an address that needs no other file."""
    return f"data:image/png;base64,{base64.b64encode(png).decode()}"
