"""O: more work than there is time for, and clients that do not finish what they begin."""

from __future__ import annotations

import asyncio
import select
import threading
import time
from contextlib import suppress

import httpx
import numpy as np
import pytest

from contract.blood_cells import LABELS
from serving.answers import ModelName
from serving.http.connections import HEAD_DEADLINE_S
from serving.http.door import Door
from serving.http.endpoints import Endpoints
from serving.inference.classifier import Classifier, ServedModel
from serving.inference.devices import CPU
from serving.runtimes.null import NullRuntime
from serving.settings import ServiceSettings

ROUNDS = 100


class SlowModel:
    """A real wait in place of a large network; it remembers how many of its calls overlapped."""

    def __init__(self, inference_s):
        self.inference_s = inference_s
        self.running = self.most = self.calls = 0

    def predict(self, images):
        self.running += 1
        self.most = max(self.most, self.running)
        self.calls += 1
        time.sleep(self.inference_s)
        self.running -= 1
        return np.zeros((len(images), len(LABELS)), np.float32)


def door_before(model, **settings):
    endpoints = Endpoints(ServiceSettings(runtime="null", **settings))
    name = ModelName("slow", "null", 28, "0" * 64)
    served = ServedModel(name=name, model=model, labels=LABELS, temperature=1.0)
    endpoints.open(Classifier(NullRuntime(CPU, 1), {28: served}, {}))
    return Door(endpoints.routes())


async def ask(client, image):
    return await client.post("/v1/classify", content=image, headers={"Content-Type": "image/png"})


@pytest.mark.acceptance("O2")
@pytest.mark.acceptance("O3")
def test_what_timed_out_never_runs_and_the_next_is_served_at_once(cell_png):
    model = SlowModel(0.05)

    async def scenario():
        transport = httpx.ASGITransport(app=door_before(model, line_deadline_s=0.12))
        async with httpx.AsyncClient(transport=transport, base_url="http://service") as client:
            responses = await asyncio.gather(*(ask(client, cell_png) for _ in range(26)))
            statuses = [response.status_code for response in responses]
            assert statuses.count(504) >= 20
            assert {response.json()["error"]["code"] for response in responses if response.status_code == 504} == {
                "deadline"
            }
            assert model.calls == statuses.count(200)
            assert model.most == 1
            calls = model.calls
            assert (await ask(client, cell_png)).status_code == 200
            assert model.calls == calls + 1

    asyncio.run(scenario())


@pytest.mark.acceptance("O4")
def test_half_sent_bodies_get_a_408_and_hold_up_nobody(onnx_service, connect, head_of, read_to_end, classify, cell_png):
    slow = [connect(onnx_service) for _ in range(20)]
    for connection in slow:
        connection.sendall(head_of(len(cell_png)) + cell_png[:40])
    assert [classify(onnx_service, cell_png).status_code for _ in range(5)] == [200] * 5
    for connection in slow:
        answered = read_to_end(connection)
        assert answered.startswith(b"HTTP/1.1 408 ")
        assert b"body_too_slow" in answered
        connection.close()
    assert ServiceSettings().body_deadline_s < 5


@pytest.mark.acceptance("O5")
def test_half_sent_headers_are_given_up_within_ten_seconds(onnx_service, connect, read_to_end, classify, cell_png):
    beginnings = (b"", b"\r\n", b"POST /v1/cl", b"POST /v1/classify HTTP/1.1\r\nHost: x\r\n", b"GET / HTTP/1.1\r\nX: a")
    slow = [connect(onnx_service) for _ in range(50)]
    for number, connection in enumerate(slow):
        connection.sendall(beginnings[number % len(beginnings)])
    assert classify(onnx_service, cell_png).status_code == 200
    for connection in slow[3 :: len(beginnings)]:
        keep_sending_until_answered(connection)  # a byte now and then buys no time
    for number, connection in enumerate(slow):
        with suppress(ConnectionResetError):  # by a byte that met the closing
            answered = read_to_end(connection)
            assert answered == b"" or answered.startswith(b"HTTP/1.1 408 "), number
        connection.close()
    assert HEAD_DEADLINE_S < 10


def keep_sending_until_answered(connection):
    """Bytes of a header that never ends, more often than the deadline; fails where the service goes on reading."""
    for _ in range(300):
        if select.select([connection], [], [], 0.2)[0]:
            return
        with suppress(ConnectionError):  # closed in this moment
            connection.sendall(b"-")
    raise AssertionError("a minute of single bytes was not enough")


@pytest.mark.acceptance("O6")
def test_the_probes_answer_within_a_second_at_five_times_the_load(serve, onnx_settings, tmp_path, cell_png):
    from dataclasses import replace

    limit = 8
    over = threading.Event()
    statuses = []

    def hammer(url):
        with httpx.Client(base_url=url, headers={"Content-Type": "image/png"}, timeout=20) as client:
            while not over.is_set():
                statuses.append(client.post("/v1/classify?resolution=64", content=cell_png).status_code)

    with serve(replace(onnx_settings, line_limit=limit), tmp_path) as service:
        clients = [threading.Thread(target=hammer, args=(service.url,)) for _ in range(5 * limit)]
        for client in clients:
            client.start()
        took_s = []
        try:
            for probe in ("/livez", "/readyz") * 10:
                began_s = time.monotonic()
                assert httpx.get(service.url + probe, timeout=20).status_code == 200
                took_s.append(time.monotonic() - began_s)
        finally:
            over.set()
            for client in clients:
                client.join()
    assert sorted(took_s)[len(took_s) // 2] < 1  # the middle: forty clients share this machine's cores with the service
    assert set(statuses) <= {200, 503}
    assert statuses.count(200) > 0


@pytest.mark.acceptance("O7")
def test_a_bad_image_never_fails_its_neighbours(onnx_service, cell_png):
    bad = (cell_png[:-9], b"<svg/>", b"", b"GIF89a")

    async def scenario():
        async with httpx.AsyncClient(base_url=onnx_service.url, timeout=30) as client:
            for number in range(ROUNDS):
                images = [cell_png, bad[number % len(bad)], cell_png, cell_png]
                responses = await asyncio.gather(*(ask(client, image) for image in images))
                statuses = [response.status_code for response in responses]
                assert [statuses[0], *statuses[2:]] == [200] * 3
                assert 400 <= statuses[1] < 500

    asyncio.run(scenario())


@pytest.mark.acceptance("O8")
@pytest.mark.parametrize("gone", [False, True])
def test_one_who_left_while_waiting_is_not_computed_for(gone, cell_png):
    model = SlowModel(0.05)

    async def scenario():
        door = door_before(model)
        transport = httpx.ASGITransport(app=door)
        async with httpx.AsyncClient(transport=transport, base_url="http://service") as client:
            first = asyncio.create_task(ask(client, cell_png))
            await asyncio.sleep(0)
            sent = await request_of(door, cell_png, gone=gone)
            assert (await first).status_code == 200
        assert bool(sent) is not gone

    asyncio.run(scenario())
    assert model.calls == (1 if gone else 2)


@pytest.mark.acceptance("O8")
@pytest.mark.parametrize("gone", [False, True])
def test_one_who_left_while_a_batch_ran_is_in_no_later_one(gone, cell_png):
    model = SlowModel(0.05)

    async def scenario():
        door = door_before(model, batching=True)
        transport = httpx.ASGITransport(app=door)
        async with httpx.AsyncClient(transport=transport, base_url="http://service") as client:
            first = asyncio.create_task(ask(client, cell_png))
            while not model.running:
                await asyncio.sleep(0.001)
            sent = await request_of(door, cell_png, gone=gone)
            assert (await first).status_code == 200
        assert bool(sent) is not gone

    asyncio.run(scenario())
    assert model.calls == (1 if gone else 2)


async def request_of(door, image, *, gone):
    """What is sent to a client that waits behind another, and is there no more after its body where ``gone``."""
    messages = [{"type": "http.request", "body": image, "more_body": False}]
    sent = []

    async def receive():
        if messages:
            return messages.pop()
        if not gone:
            await asyncio.sleep(60)
        return {"type": "http.disconnect"}

    async def send(message):
        sent.append(message)

    headers = [(b"content-type", b"image/png")]
    scope = {"type": "http", "path": "/v1/classify", "method": "POST", "query_string": b"", "headers": headers}
    await door(scope, receive, send)
    return sent


@pytest.mark.acceptance("O8")
def test_a_client_that_leaves_is_counted(onnx_service, connect, head_of, eventually, cell_png):
    def gone():
        requests = httpx.get(f"{onnx_service.url}/v1/models").json()["service"]["requests"]
        return requests["aborted"], requests["running"]

    before = gone()[0]
    for _ in range(3):
        with connect(onnx_service) as connection:
            connection.sendall(head_of(len(cell_png)) + cell_png[:40])
            time.sleep(0.1)
    assert eventually(lambda: gone() == (before + 3, 0), 60)
