"""I: what is sent as an image. The rules of the decoder are shown one by one in ``test_images.py``."""

from __future__ import annotations

import struct
import zlib

import pytest

ALLOWED_GROWTH_BYTES = 100e6


def chunk(kind, data):
    return struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data))


def png(width, height, *chunks):
    header = struct.pack(">IIBBBBB", width, height, 8, 2, 0, 0, 0)
    return b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", header) + b"".join(chunks) + chunk(b"IEND", b"")


def bombs():
    """Small files that unfold to much, made here; each a kind."""
    packed = zlib.compress(bytes(64 << 20))
    yield "pixels", png(13_300, 13_300, chunk(b"IDAT", zlib.compress(bytes(13_300 * 3 + 1) * 2_000)))
    yield "text", png(16, 16, chunk(b"zTXt", b"comment\0\0" + packed), chunk(b"IDAT", zlib.compress(bytes(49 * 16))))
    yield "profile", png(16, 16, chunk(b"iCCP", b"profile\0\0" + packed), chunk(b"IDAT", zlib.compress(bytes(49 * 16))))
    yield "data", png(100, 100, chunk(b"IDAT", packed))
    yield "webp", b"RIFF\x20\0\0\0WEBPVP8X\x0a\0\0\0" + bytes(4) + (16_383).to_bytes(3, "little") * 2 + bytes(8)


@pytest.mark.acceptance("I8")
def test_bombs_are_refused_and_memory_stays_where_it_was(onnx_service, classify, cell_png):
    classify(onnx_service, cell_png)
    before = onnx_service.metric("process_resident_memory_bytes")
    for kind, bomb in bombs():
        response = classify(onnx_service, bomb)
        assert response.status_code in (200, 422), (kind, response.text)
        grown = onnx_service.metric("process_resident_memory_bytes") - before
        assert grown < ALLOWED_GROWTH_BYTES, (kind, grown)


@pytest.mark.acceptance("I7")
def test_a_wrong_media_type_or_name_changes_nothing(onnx_service, classify, cell_png):
    import httpx

    plain = classify(onnx_service, cell_png).json()["probabilities"]
    for kind in ("image/jpg", "image/eps", "image/x-foo"):
        assert classify(onnx_service, cell_png, headers={"Content-Type": kind}).json()["probabilities"] == plain
    for name in ("cell.exe", "../../etc/passwd", "a" * 300, "\\x00.svg"):
        form = httpx.post(f"{onnx_service.url}/v1/classify", files={"image": (name, cell_png, "image/eps")})
        assert form.json()["probabilities"] == plain
        assert name not in form.text


@pytest.mark.real_data
@pytest.mark.acceptance("I10")
def test_the_eight_orientations_of_one_photograph_get_the_same_label(onnx_service, classify, corpus):
    import re

    files = sorted((corpus / "synthetic" / "exif").rglob("*[1-8].jp*g"))
    if not files:
        pytest.skip("no synthetic/exif in the corpus; set HEMABENCH_DATA_ROOT")
    families = {}
    for path in files:
        answer = classify(onnx_service, path.read_bytes())
        assert answer.status_code == 200, path
        families.setdefault(re.sub(r"\d+$", "", path.stem), []).append(answer.json())
    for name, answers in families.items():
        first = answers[0]
        for answer in answers[1:]:
            assert answer["label"] == first["label"], name
            for label, probability in first["probabilities"].items():
                assert abs(answer["probabilities"][label] - probability) <= 0.02, name
