"""Several images in one request: each gets its own result, and none is in another's way."""

from __future__ import annotations

import asyncio
import io
import json
import random
import time

import httpx
import numpy as np
import pytest
from PIL import Image

from contract.timing import PARTS, TIMING_HEADER, TOTAL, parse_server_timing
from serving.answers import ImageAnswer, ImageError, ManyAnswers, decode_json
from serving.http.bodies import MAX_IMAGES
from serving.http.door import Door


def form_of(images):
    return [("image", ("cell.png", image, "image/png")) for image in images]


def client_of(endpoints):
    transport = httpx.ASGITransport(app=Door(endpoints.routes()))
    return httpx.AsyncClient(transport=transport, base_url="http://service", timeout=30)


def post(endpoints, images, query=""):
    async def scenario():
        async with client_of(endpoints) as client:
            return await client.post(f"/v1/classify{query}", files=form_of(images))

    return asyncio.run(scenario())


def outcomes(response):
    assert response.status_code == 200, response.text
    results = decode_json(response.content, type=ManyAnswers).results
    return ["answer" if isinstance(result, ImageAnswer) else result.error.code for result in results]


def totals(endpoints):
    async def scenario():
        async with client_of(endpoints) as client:
            return (await client.get("/v1/models")).json()["service"]["requests"]

    return asyncio.run(scenario())


def test_every_image_gets_its_own_result_in_the_order_sent(open_endpoints, cell_png):
    endpoints = open_endpoints()
    response = post(endpoints, [cell_png, b"<html>", b"", cell_png[:-20], cell_png], "?resolution=64")
    assert outcomes(response) == ["answer", "unsupported_image", "missing_image", "corrupt_image", "answer"]
    answers = decode_json(response.content, type=ManyAnswers)
    assert answers.model.resolution == 64
    assert all(r.error.request_id == answers.request_id for r in answers.results if isinstance(r, ImageError))
    assert response.headers["X-Request-Id"] == answers.request_id
    assert totals(endpoints) == {"started": 5, "ok": 2, "refused": 3, "failed": 0, "aborted": 0, "running": 0}


def test_one_part_is_answered_like_a_body_that_is_the_image(open_endpoints, cell_png):
    assert "results" not in post(open_endpoints(), [cell_png]).json()


def test_as_many_as_the_limit_are_answered_and_one_more_is_refused(open_endpoints, cell_png):
    assert outcomes(post(open_endpoints(), [cell_png] * MAX_IMAGES)) == ["answer"] * MAX_IMAGES
    response = post(open_endpoints(), [cell_png] * (MAX_IMAGES + 1))
    assert (response.status_code, response.json()["error"]["code"]) == (400, "too_many_images")


def test_each_image_is_told_what_it_would_be_told_alone(service, cell_png):
    noise = np.random.default_rng(8).bytes(300)
    images = [cell_png, noise, cell_png]
    together = httpx.post(f"{service.url}/v1/classify", files=form_of(images)).json()["results"]
    for image, result in zip(images, together, strict=True):
        alone = httpx.post(f"{service.url}/v1/classify", files=form_of([image])).json()
        if "error" in alone:
            assert result["error"]["code"] == alone["error"]["code"]
            assert result["error"]["message"] == alone["error"]["message"]
        else:
            assert result["probabilities"] == alone["probabilities"]


class Unreliable:
    """A model whose every fifth call raises and every seventh answers with no number."""

    def __init__(self):
        self.calls = 0

    def __call__(self, images):
        self.calls += 1
        if self.ending(self.calls) == "internal":
            raise RuntimeError("a path: /etc/secret")
        logits = np.zeros((1, 8), np.float32)
        logits[0, 2] = np.nan if self.ending(self.calls) == "model_output_invalid" else 0
        return logits

    def ending(self, call):
        return "internal" if call % 5 == 0 else "model_output_invalid" if call % 7 == 0 else "answer"


@pytest.mark.acceptance("O7")
def test_a_bad_item_never_fails_its_neighbours_in_a_hundred_mixed_rounds(open_endpoints, cell_png):
    model = Unreliable()
    rng = random.Random(6)
    bad = {b"<html>": "unsupported_image", b"": "missing_image", cell_png[:-9]: "corrupt_image"}

    async def scenario():
        async with client_of(open_endpoints(model)) as client:
            for _ in range(100):
                images = [rng.choice([cell_png, *bad]) for _ in range(rng.randint(2, 6))]
                calls = iter(range(model.calls + 1, model.calls + 7))
                expected = [bad[image] if image in bad else model.ending(next(calls)) for image in images]
                response = await client.post("/v1/classify", files=form_of(images))
                assert "secret" not in response.text
                assert outcomes(response) == expected

    asyncio.run(scenario())


def test_the_parts_of_all_images_add_up_to_the_total(open_endpoints, cell_png):
    response = post(open_endpoints(), [cell_png, b"junk", cell_png])
    parts = parse_server_timing(response.headers[TIMING_HEADER])
    assert tuple(parts) == (*PARTS, TOTAL)
    assert sum(parts[part] for part in PARTS) == parts[TOTAL]
    body = response.json()
    assert {name: round(duration * 1e6) for name, duration in body["timing_ms"].items()} == parts
    of_images = [result["timing_ms"] for result in body["results"] if result["outcome"] == "answer"]
    assert all(timing["total"] == pytest.approx(sum(timing.values()) / 2) for timing in of_images)
    assert sum(timing["infer"] for timing in of_images) == pytest.approx(body["timing_ms"]["infer"])


class Batched:
    """Notes how many images it got at once; chokes on a batch that holds a white one."""

    def __init__(self):
        self.sizes = []

    def __call__(self, images):
        self.sizes.append(len(images))
        if (images == 1).all(axis=(1, 2, 3)).any():
            raise ValueError("secret")
        return np.zeros((len(images), 8), np.float32)


def white_png():
    encoded = io.BytesIO()
    Image.new("RGB", (28, 28), "white").save(encoded, "PNG")
    return encoded.getvalue()


def test_with_batching_the_images_of_a_form_are_inferred_together(open_endpoints, cell_png):
    model = Batched()
    endpoints = open_endpoints(model, batching=True, batch_max_images=8)
    response = post(endpoints, [cell_png] * 12)
    assert outcomes(response) == ["answer"] * 12
    assert model.sizes == [8, 4]
    parts = parse_server_timing(response.headers[TIMING_HEADER])
    assert sum(parts[part] for part in PARTS) == parts[TOTAL]
    assert totals(endpoints)["ok"] == totals(endpoints)["started"] == 12


def test_in_a_batch_the_images_of_a_form_fail_alone(open_endpoints, cell_png):
    endpoints = open_endpoints(Batched(), batching=True, batch_max_images=8)
    response = post(endpoints, [cell_png, white_png(), b"junk", b"", cell_png])
    assert outcomes(response) == ["answer", "internal", "unsupported_image", "missing_image", "answer"]
    assert "secret" not in response.text


def test_with_batching_a_client_that_gives_up_leaves_no_image_running(open_endpoints, cell_png):
    def predict(images):
        time.sleep(0.02)
        return np.zeros((len(images), 8), np.float32)

    endpoints = open_endpoints(predict, batching=True, batch_max_images=8)

    async def scenario():
        async with client_of(endpoints) as client:
            task = asyncio.create_task(client.post("/v1/classify", files=form_of([cell_png] * 60)))
            await asyncio.sleep(0.05)
            task.cancel()
            await asyncio.gather(task, return_exceptions=True)

    asyncio.run(scenario())
    counted = totals(endpoints)
    assert counted["running"] == 0
    assert 1 <= counted["aborted"] <= 8
    assert counted["started"] == counted["ok"] + counted["aborted"] < 60


def test_another_request_is_answered_between_the_images(open_endpoints, cell_png):
    order = []

    def predict(images):
        order.append(images.shape[1])
        time.sleep(0.002)
        return np.zeros((1, 8), np.float32)

    async def scenario():
        async with client_of(open_endpoints(predict)) as client:
            many = asyncio.create_task(client.post("/v1/classify", files=form_of([cell_png] * 30)))
            while not order and not many.done():
                await asyncio.sleep(0)
            others = [client.post("/v1/classify?resolution=64", content=cell_png) for _ in range(3)]
            assert all(response.status_code == 200 for response in await asyncio.gather(*others))
            assert not many.done()
            assert outcomes(await many) == ["answer"] * 30

    asyncio.run(scenario())
    assert max(index for index, side in enumerate(order) if side == 64) < 20


def test_images_behind_one_that_waited_too_long_do_not_wait_as_long_again(open_endpoints, cell_png):
    def predict(images):
        time.sleep(0.05 if images.shape[1] == 64 else 0)
        return np.zeros((1, 8), np.float32)

    async def scenario():
        async with client_of(open_endpoints(predict, line_deadline_s=0.02)) as client:
            slow = [asyncio.create_task(client.post("/v1/classify?resolution=64", content=cell_png)) for _ in range(2)]
            await asyncio.sleep(0)
            response = await client.post("/v1/classify", files=form_of([cell_png] * 4))
            await asyncio.gather(*slow)
        return outcomes(response)

    answered = asyncio.run(scenario())
    first_late = answered.index("deadline")
    assert set(answered[first_late:]) == {"deadline"}


def test_a_client_that_gives_up_leaves_one_image_aborted_and_the_rest_unstarted(open_endpoints, cell_png):
    def predict(images):
        time.sleep(0.005)
        return np.zeros((1, 8), np.float32)

    endpoints = open_endpoints(predict)

    async def scenario():
        async with client_of(endpoints) as client:
            task = asyncio.create_task(client.post("/v1/classify", files=form_of([cell_png] * 60)))
            await asyncio.sleep(0.05)
            task.cancel()
            await asyncio.gather(task, return_exceptions=True)

    asyncio.run(scenario())
    counted = totals(endpoints)
    assert counted["aborted"] == 1
    assert counted["running"] == 0
    assert counted["started"] == counted["ok"] + 1 < 60


def test_the_notice_is_in_every_answer(open_endpoints, cell_png):
    assert "Not for diagnosis" in json.dumps(post(open_endpoints(), [cell_png, b""]).json()["notice"])
