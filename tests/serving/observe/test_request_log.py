"""What the log says of a request, and what it can never say."""

from __future__ import annotations

import asyncio
import json
import logging

import httpx
import numpy as np
import pytest
from PIL import Image
from PIL.PngImagePlugin import PngInfo

from contract.timing import PARTS, parse_server_timing
from serving.http.door import Door


def post(endpoints, **request):
    async def scenario():
        transport = httpx.ASGITransport(app=Door(endpoints.routes()))
        async with httpx.AsyncClient(transport=transport, base_url="http://service") as client:
            return await client.post("/v1/classify", **request)

    return asyncio.run(scenario())


@pytest.fixture
def lines(caplog):
    caplog.set_level(logging.INFO, "hemabench.requests")
    return lambda: [json.loads(record.getMessage()) for record in caplog.records if record.name == "hemabench.requests"]


def test_a_line_has_the_request_its_parts_and_its_model(open_endpoints, cell_png, lines):
    response = post(open_endpoints(logged_share=1.0), content=cell_png, headers={"X-Request-Id": "run-7"})
    (line,) = lines()
    assert line["request_id"] == "run-7"
    assert (line["level"], line["status"], line["code"], line["path"]) == ("info", 200, "ok", "/v1/classify")
    assert (line["model"], line["resolution"], line["images"], line["trace_id"]) == ("test", 28, 1, None)
    timing = parse_server_timing(response.headers["Server-Timing"])
    assert {part: round(duration * 1e6) for part, duration in line["parts_ms"].items()} == {p: timing[p] for p in PARTS}
    assert line["duration_ms"] >= sum(line["parts_ms"].values())


@pytest.mark.parametrize(("share", "answered", "refused"), [(None, 0, 0), (0.0, 0, 1), (1.0, 1, 1)])
def test_a_setting_says_what_is_logged(open_endpoints, cell_png, lines, share, answered, refused):
    endpoints = open_endpoints(logged_share=share)
    post(endpoints, content=cell_png)
    assert len(lines()) == answered
    post(endpoints, content=b"<html>")
    assert len(lines()) == answered + refused


def test_a_share_of_the_answers_is_logged(open_endpoints, cell_png, lines, monkeypatch):
    drawn = iter([0.05, 0.5, 0.099, 0.1])
    monkeypatch.setattr("random.random", lambda: next(drawn))
    endpoints = open_endpoints(logged_share=0.1)
    for number in range(4):
        post(endpoints, content=cell_png, headers={"X-Request-Id": str(number)})
    assert [line["request_id"] for line in lines()] == ["0", "2"]


def test_a_failure_of_ours_is_an_error_and_a_clients_a_warning(open_endpoints, cell_png, lines):
    def broken(images):
        raise RuntimeError("a path: /etc/secret")

    endpoints = open_endpoints(broken)
    post(endpoints, content=cell_png)
    post(endpoints, content=b"GIF89a")
    ours, theirs = lines()
    assert (ours["level"], ours["status"], ours["code"]) == ("error", 500, "internal")
    assert list(ours["parts_ms"]) == ["read", "decode", "preprocess", "queue"]  # it failed in the next
    assert (theirs["level"], theirs["images"]) == ("warning", 1)
    assert "secret" not in json.dumps([ours, theirs])


def marked_images():
    """An image that is read and one that is not, with a patient's name in every place that a file has for one."""
    noise = Image.fromarray(np.random.default_rng(1).integers(0, 256, (28, 28, 3), dtype=np.uint8))
    exif = Image.Exif()
    exif[0x010E] = exif[0x9286] = "MARKED-PATIENT"
    information = PngInfo()
    information.add_text("Patient", "MARKED-PATIENT")
    for format_, options in (("JPEG", {"exif": exif, "comment": b"MARKED-PATIENT"}), ("PNG", {"pnginfo": information})):
        from io import BytesIO

        buffer = BytesIO()
        noise.save(buffer, format_, **options)
        yield buffer.getvalue()
        yield buffer.getvalue()[:-20]


@pytest.mark.acceptance("P2")
def test_nothing_of_a_file_is_in_a_line(open_endpoints, lines, caplog):
    endpoints = open_endpoints(logged_share=1.0)
    for image in marked_images():
        assert b"MARKED-PATIENT" in image
        post(endpoints, files={"image": ("MARKED-PATIENT.jpg", image, "image/jpeg")})
        post(endpoints, files=[("image", ("MARKED-PATIENT.png", image))] * 2)
        post(endpoints, files={"MARKED-PATIENT": ("MARKED-PATIENT.png", image)})
        post(endpoints, content=image, headers={"X-Request-Id": "MARKED PATIENT", "User-Agent": "MARKED-PATIENT"})
        post(endpoints, content=image, params={"resolution": "MARKED-PATIENT"})
    assert len(lines()) == 20
    assert "MARKED" not in caplog.text
