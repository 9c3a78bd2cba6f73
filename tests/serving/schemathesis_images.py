"""For the schemathesis command line: what a schema calls binary is a real image."""

from __future__ import annotations

import io

import schemathesis
from hypothesis import strategies as st
from PIL import Image

MEDIA_TYPES = ("image/png", "image/jpeg", "image/webp", "image/tiff", "image/bmp", "application/octet-stream")


@st.composite
def images(draw: st.DrawFn) -> bytes:
    """A small image of any kind that is read."""
    width, height = draw(st.tuples(st.integers(8, 40), st.integers(8, 40)))
    image = Image.new("RGB", (width, height), draw(st.sampled_from(["white", "purple", "#f3dfe4"])))
    buffer = io.BytesIO()
    image.save(buffer, draw(st.sampled_from(["PNG", "JPEG", "WEBP", "TIFF", "BMP"])))
    return buffer.getvalue()


schemathesis.openapi.format("binary", images())
for media_type in MEDIA_TYPES:
    schemathesis.openapi.media_type(media_type, images())
