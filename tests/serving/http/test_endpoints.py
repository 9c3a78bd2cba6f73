"""The door and its endpoints in this process, where a model can be made to misbehave."""

from __future__ import annotations

import asyncio
import io
import threading
import time

import httpx
import numpy as np
import pytest
from PIL import Image
from PIL.PngImagePlugin import PngInfo

from contract.blood_cells import LABELS
from serving.answers import ModelName
from serving.http.door import Door, DoorInFront
from serving.http.endpoints import Endpoints
from serving.inference.classifier import Classifier, ServedModel
from serving.inference.devices import CPU
from serving.runtimes.null import NullRuntime
from serving.settings import ServiceSettings


class Model:
    """A model that does what the test says."""

    def __init__(self, predict):
        self.predict = predict


def constant_logits(images):
    return np.tile(np.arange(len(LABELS), dtype=np.float32), (len(images), 1))


def opened(predict=constant_logits, temperature=1.0, **settings):
    endpoints = Endpoints(ServiceSettings(runtime="null", **settings))
    models = {
        side: ServedModel(
            name=ModelName("test", "null", side, "0" * 64), model=Model(predict), labels=LABELS, temperature=temperature
        )
        for side in (28, 64)
    }
    endpoints.open(Classifier(NullRuntime(CPU, 1), models, {}))
    return endpoints


def client_of(app):
    return httpx.AsyncClient(transport=httpx.ASGITransport(app=app), base_url="http://service")


async def classify(client, content, **options):
    return await client.post("/v1/classify", content=content, headers={"Content-Type": "image/png"}, **options)


def ask(endpoints, content, **options):
    async def scenario():
        async with client_of(Door(endpoints.routes())) as client:
            return await classify(client, content, **options)

    return asyncio.run(scenario())


def get(endpoints, path):
    async def scenario():
        async with client_of(Door(endpoints.routes())) as client:
            return await client.get(path)

    return asyncio.run(scenario())


def error_of(response):
    return response.status_code, response.json()["error"]["code"]


@pytest.mark.acceptance("F4")
def test_before_the_models_are_loaded_nothing_is_classified(cell_png):
    endpoints = Endpoints(ServiceSettings(runtime="null"))
    assert error_of(ask(endpoints, cell_png)) == (503, "starting")
    assert error_of(get(endpoints, "/v1/models")) == (503, "starting")
    assert error_of(get(endpoints, "/readyz")) == (503, "starting")
    assert get(endpoints, "/livez").status_code == 200


@pytest.mark.acceptance("A5")
@pytest.mark.parametrize("wrong", [np.nan, np.inf, -np.inf])
def test_a_number_that_is_not_finite_is_never_an_answer(wrong, cell_png):
    def predict(images):
        logits = constant_logits(images)
        logits[0, 3] = wrong
        return logits

    endpoints = opened(predict)
    assert error_of(ask(endpoints, cell_png)) == (500, "model_output_invalid")
    assert get(endpoints, "/v1/models").json()["service"]["requests"]["failed"] == 1


@pytest.mark.acceptance("F6")
@pytest.mark.parametrize("error", [RuntimeError("a path: /etc/secret"), MemoryError()])
def test_an_error_in_the_model_is_a_500_without_a_word_of_it_and_the_next_request_is_answered(error, cell_png):
    calls = []

    def predict(images):
        calls.append(images)
        if len(calls) == 1:
            raise error
        return constant_logits(images)

    endpoints = opened(predict)
    first = ask(endpoints, cell_png)
    assert error_of(first) == (500, "internal")
    assert "secret" not in first.text
    assert ask(endpoints, cell_png).status_code == 200


def test_the_temperature_softens_the_probabilities(cell_png):
    sharp, soft = (ask(opened(temperature=t), cell_png).json()["probabilities"]["platelet"] for t in (1.0, 5.0))
    assert sharp > soft > 1 / len(LABELS)


@pytest.mark.acceptance("O1")
def test_into_a_full_service_exactly_the_surplus_is_refused(cell_png):
    async def scenario():
        async with client_of(Door(opened(line_limit=5).routes())) as client:
            responses = await asyncio.gather(*(classify(client, cell_png) for _ in range(12)))
        refused = [response for response in responses if response.status_code == 503]
        assert len(refused) == 7
        assert all(response.headers["Retry-After"] == "1" for response in refused)
        assert all(response.status_code == 200 for response in responses if response not in refused)

    asyncio.run(scenario())


def test_waiting_behind_others_is_in_the_queue_time(cell_png):
    inference_s = 0.01

    def predict(images):
        time.sleep(inference_s)
        return constant_logits(images)

    async def scenario():
        async with client_of(Door(opened(predict).routes())) as client:
            responses = await asyncio.gather(*(classify(client, cell_png) for _ in range(5)))
        queue_ms = sorted(response.json()["timing_ms"]["queue"] for response in responses)
        assert all(waited >= 1_000 * inference_s * before for before, waited in enumerate(queue_ms))

    asyncio.run(scenario())


def test_a_large_image_is_decoded_beside_the_event_loop(cell_png):
    seen = []
    buffer = io.BytesIO()
    Image.new("RGB", (2_000, 1_000)).save(buffer, "PNG")

    async def scenario():
        endpoints = opened(lambda images: (seen.append(threading.current_thread().name), constant_logits(images))[1])
        async with client_of(Door(endpoints.routes())) as client:
            large, small = await asyncio.gather(classify(client, buffer.getvalue()), classify(client, cell_png))
        assert large.status_code == small.status_code == 200

    asyncio.run(scenario())
    assert set(seen) == {threading.main_thread().name}  # inference itself stays where it is


def png_of_many_chunks():
    """8 x 8 pixels, and far more that is none of them."""
    buffer, extra = io.BytesIO(), PngInfo()
    for _ in range(8_000):
        extra.add(b"prVt", bytes(1_000))
    Image.new("RGB", (8, 8)).save(buffer, "PNG", pnginfo=extra)
    return buffer.getvalue()


def jpeg_of_many_scans():
    """Few pixels too, each of which is visited 60 times."""
    buffer = io.BytesIO()
    Image.new("L", (704, 704)).save(buffer, "JPEG", progressive=True)
    return buffer.getvalue()[:-2] + bytes.fromhex("ffda0008010100013f107207") * 54 + b"\xff\xd9"


@pytest.mark.acceptance("O1")
@pytest.mark.parametrize("slow", [png_of_many_chunks, jpeg_of_many_scans])
def test_others_are_answered_while_a_laborious_image_is_opened_or_decoded(slow, cell_png):
    ended = []

    async def one(client, content):
        response = await classify(client, content)
        ended.append(len(content))
        assert response.status_code == 200, response.text

    async def scenario():
        content = slow()
        async with client_of(Door(opened().routes())) as client:
            await asyncio.gather(one(client, content), one(client, cell_png))
        assert ended == [len(cell_png), len(content)]

    asyncio.run(scenario())


def bmp_of_many_runs():
    """A header that is read at once, and pixels that are unfolded by Python."""
    buffer = io.BytesIO()
    Image.new("P", (700, 700)).save(buffer, "BMP")
    data = bytearray(buffer.getvalue()[: int.from_bytes(buffer.getvalue()[10:14], "little")])
    data[30:34] = (1).to_bytes(4, "little")  # the compression is RLE8
    return bytes(data) + b"\1\5\0\0" * 700 + b"\0\1"


@pytest.mark.acceptance("O1")
def test_others_are_answered_while_pixels_are_unfolded_by_python(cell_png):
    ended = []

    async def one_after_another(client, *contents):
        for content in contents:
            assert (await classify(client, content)).status_code == 200
            ended.append(len(content))

    async def scenario():
        slow = bmp_of_many_runs()
        async with client_of(Door(opened().routes())) as client:
            await asyncio.gather(one_after_another(client, slow), one_after_another(client, *[cell_png] * 3))
        assert ended[-1] == len(slow)

    asyncio.run(scenario())


@pytest.mark.acceptance("P2")
def test_a_request_leaves_nothing_of_its_image_in_metrics_or_errors(cell_png):
    endpoints = opened()
    ask(endpoints, cell_png + b"FAKE-PATIENT")
    ask(endpoints, b"FAKE-PATIENT")
    assert "FAKE" not in get(endpoints, "/metrics").text


def test_a_profile_that_was_ignored_is_counted():
    buffer = io.BytesIO()
    Image.new("RGB", (28, 28)).save(buffer, "PNG", icc_profile=b"junk")
    endpoints = opened()
    assert ask(endpoints, buffer.getvalue()).status_code == 200
    assert "hemabench_icc_profiles_ignored_total 1.0" in get(endpoints, "/metrics").text


def test_the_index_names_every_path(cell_png):
    endpoints = opened()
    assert get(endpoints, "/").json()["endpoints"][:2] == ["GET /", "POST /v1/classify"]


def test_behind_the_door_only_the_probes_are_asked():
    asked = []

    async def behind(scope, receive, send):
        asked.append(scope["path"])
        await send({"type": "http.response.start", "status": 204, "headers": []})
        await send({"type": "http.response.body", "body": b""})

    async def scenario():
        async with client_of(DoorInFront(behind, opened().routes())) as client:
            for path in ("/livez", "/readyz", "/v1/models", "/schema.json", "/docs.json", "/"):
                await client.get(path)
            assert (await client.post("/livez")).status_code == 405

    asyncio.run(scenario())
    assert asked == ["/livez", "/readyz"]
