from __future__ import annotations

import asyncio
import socket
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from pathlib import Path

import httpx
import pytest

from contract.timing import PARTS, parse_server_timing
from serving.answers import Answer, ManyAnswers, decode_json
from serving.gateway.answers import GatewayAnswer, GatewayModels, Readiness, RuntimeAnswer, RuntimeProblem
from serving.gateway.codes import GATEWAY_CODES
from serving.gateway.fan_out import Upload, classify_everywhere
from serving.gateway.services import OwnService, Service, State
from serving.gateway.settings import GatewaySettings
from serving.settings import ServiceSettings

OWN_PARTS = ("read", "ask", "encode")
ARRIVED_S = 10  # a bound for what is at once


def classified(url: str, body: bytes, query: str = "?resolution=28", **options) -> httpx.Response:
    return httpx.post(f"{url}/v1/classify{query}", content=body, timeout=30, **options)


def understood(response: httpx.Response) -> GatewayAnswer:
    assert response.status_code == 200, response.text
    return decode_json(response.content, type=GatewayAnswer)


def codes_in(response: httpx.Response) -> set[str]:
    outcomes = understood(response).runtimes.values()
    return {outcome.error.code for outcome in outcomes if isinstance(outcome, RuntimeProblem)}


def test_every_runtime_answers_one_upload(gateway, cell_png):
    said = understood(classified(gateway.url, cell_png))
    assert list(said.runtimes) == ["onnx", "null"]
    for runtime, outcome in said.runtimes.items():
        assert isinstance(outcome, RuntimeAnswer)
        answer = decode_json(outcome.answer, type=Answer)
        assert (answer.model.runtime, answer.model.resolution) == (runtime, 28)
        assert answer.request_id == said.request_id
        assert outcome.round_trip_ms > answer.timing_ms["total"]


def test_an_answer_is_the_services_own_byte_for_byte(gateway, cell_png):
    (outcome, _) = understood(classified(gateway.url, cell_png)).runtimes.values()
    loaded = httpx.get(f"{gateway.url}/v1/models").json()["runtimes"]["onnx"]["loaded"]
    assert decode_json(outcome.answer, type=Answer).model.digest == loaded["models"][0]["digest"]


def test_server_timing_has_the_gateways_parts_and_those_of_every_runtime(gateway, cell_png):
    response = classified(gateway.url, cell_png)
    timing = parse_server_timing(response.headers["server-timing"])
    assert sum(timing[part] for part in OWN_PARTS) == timing["total"]
    for runtime in ("onnx", "null"):
        assert sum(timing[f"{runtime}.{part}"] for part in PARTS) == pytest.approx(timing[f"{runtime}.total"], abs=10)
        assert timing[f"{runtime}.total"] < timing[f"{runtime}.round-trip"] < timing["ask"]


def test_space_behind_a_media_type_is_no_reason_to_call_a_service_down(gateway, cell_png):
    host, port = gateway.url.removeprefix("http://").split(":")
    head = b"POST /v1/classify HTTP/1.1\r\nHost: x\r\nConnection: close\r\nContent-Type: image/png \t\r\n"
    with socket.create_connection((host, int(port)), timeout=30) as connection:  # a client library would strip it
        connection.sendall(head + b"Content-Length: %d\r\n\r\n" % len(cell_png) + cell_png)
        answer = connection.makefile("rb").read()
    said = decode_json(answer.partition(b"\r\n\r\n")[2], type=GatewayAnswer)
    assert all(isinstance(outcome, RuntimeAnswer) for outcome in said.runtimes.values())


def test_a_form_of_several_images_gets_several_results_from_each(gateway, cell_png):
    files = [("image", ("a", content)) for content in (cell_png, b"no image", cell_png)]
    response = httpx.post(f"{gateway.url}/v1/classify?resolution=64", files=files, timeout=30)
    for outcome in understood(response).runtimes.values():
        results = decode_json(outcome.answer, type=ManyAnswers).results
        assert [hasattr(result, "label") for result in results] == [True, False, True]


def test_a_broken_image_is_each_runtimes_own_refusal(gateway, cell_png):
    assert codes_in(classified(gateway.url, cell_png[:300])) == {"corrupt_image"}
    assert codes_in(classified(gateway.url, b"not an image at all")) == {"unsupported_image"}


def test_a_resolution_that_nobody_has_is_each_runtimes_own_refusal(gateway, cell_png):
    assert codes_in(classified(gateway.url, cell_png, "?resolution=224")) == {"unknown_resolution"}


@pytest.mark.parametrize(
    ("body", "headers", "status", "code"),
    [
        (b"", {}, 400, "missing_image"),
        (b"x" * 2_000_001, {}, 413, "body_too_large"),
        (b"{}", {"content-type": "application/json"}, 415, "unsupported_media_type"),
        (b"x", {"content-encoding": "gzip"}, 415, "unsupported_encoding"),
    ],
)
def test_what_no_service_would_read_is_refused_as_a_whole(gateway, body, headers, status, code):
    response = classified(gateway.url, body, headers=headers)
    assert (response.status_code, response.json()["error"]["code"]) == (status, code)


def test_models_are_merged_with_the_resolutions_there_are(gateway):
    said = decode_json(httpx.get(f"{gateway.url}/v1/models").content, type=GatewayModels)
    assert said.resolutions == [28, 64]
    assert {runtime: one.state for runtime, one in said.runtimes.items()} == {"onnx": "ready", "null": "ready"}
    assert len(said.labels) == 8


@pytest.mark.parametrize("path", ["/live", "/livez"])
def test_it_says_that_it_lives(gateway, path):
    assert httpx.get(gateway.url + path).status_code == 200


@pytest.mark.parametrize("path", ["/ready", "/readyz"])
def test_it_says_who_is_ready(gateway, path):
    response = httpx.get(gateway.url + path)
    assert response.status_code == 200
    assert decode_json(response.content, type=Readiness).ready


def test_a_path_that_is_not_there_and_a_method_that_is_not_taken_are_refused_as_everywhere(gateway):
    assert httpx.get(f"{gateway.url}/%2e%2e/settings.py").json()["error"]["code"] == "not_found"
    assert httpx.get(f"{gateway.url}/v1/classify").headers["allow"] == "POST"


def test_a_service_that_dies_is_one_error_and_comes_back(gateway, cell_png):
    restarts = gateway.state_of("null")["restarts"]
    gateway.kill("null")
    gateway.wait_until("null", "down")
    said = understood(classified(gateway.url, cell_png)).runtimes
    assert isinstance(said["onnx"], RuntimeAnswer)
    assert said["null"].error.code == "service_down"
    assert "null is down" in said["null"].error.message
    assert httpx.get(f"{gateway.url}/ready").status_code == 200
    gateway.wait_until("null", "ready")
    assert gateway.state_of("null")["restarts"] == restarts + 1
    assert codes_in(classified(gateway.url, cell_png)) == set()


# What is no service of ours is a real socket that says what the test says.


@asynccontextmanager
async def answering(answer: bytes | None) -> AsyncIterator[str]:
    release = asyncio.Event()

    async def handle(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await reader.readuntil(b"\r\n\r\n")
        if answer is None:
            await release.wait()
        else:
            writer.write(answer)
            await writer.drain()
        writer.close()

    async with await asyncio.start_server(handle, "127.0.0.1", 0) as server:
        host, port = server.sockets[0].getsockname()
        yield f"http://{host}:{port}"
        release.set()


def service_at(url: str, state: State = State.READY) -> Service:
    settings = ServiceSettings(runtime="null")
    service = OwnService(settings, GatewaySettings(services=(settings,), logs=Path("unused")))
    service.url, service.state = url, state
    return service


async def asked(service: Service) -> RuntimeAnswer | RuntimeProblem:
    upload = Upload(body=b"x", content_type=b"image/png", query=b"", request_id="test")
    async with httpx.AsyncClient(trust_env=False) as client:
        return (await classify_everywhere({"null": service}, client, upload, 0.5))["null"].outcome


def code_of(answer: bytes | None) -> str:
    async def ask() -> str:
        async with answering(answer) as url:
            outcome = await asked(service_at(url))
        assert isinstance(outcome, RuntimeProblem)
        assert outcome.status == GATEWAY_CODES[outcome.error.code].status
        return outcome.error.code

    return asyncio.run(ask())


@pytest.mark.parametrize(
    ("answer", "code"),
    [
        (None, "service_silent"),
        (b"HTTP/1.1 200 OK\r\ncontent-length: 5\r\n\r\nhello", "service_unreadable"),
        (b"HTTP/1.1 200 OK\r\ncontent-length: 500\r\n\r\n{", "service_down"),
        (b"HTTP/1.1 500 Oh\r\ncontent-length: 2\r\n\r\n{}", "service_unreadable"),
        (b"no HTTP", "service_down"),
        (b"", "service_down"),
    ],
)
def test_what_is_no_answer_of_a_service_is_named(answer, code):
    assert code_of(answer) == code


def test_nobody_there_is_named_too():
    assert asyncio.run(asked(service_at("http://127.0.0.1:1"))).error.code == "service_down"


def test_a_service_that_is_loading_is_not_asked():
    outcome = asyncio.run(asked(service_at("http://127.0.0.1:1", State.STARTING)))
    assert (outcome.status, outcome.error.code) == (503, "service_starting")


def test_too_many_at_once_are_told_to_come_again(cell_png, open_gateway: Callable):
    async def ask() -> list[int]:
        async with answering(None) as url, open_gateway(service_at(url), request_limit=2) as client:
            responses = await asyncio.gather(*(client.post("/v1/classify", content=cell_png) for _ in range(5)))
            return sorted(response.status_code for response in responses)

    assert asyncio.run(ask()) == [200, 200, 503, 503, 503]


@asynccontextmanager
async def half_sent(client: httpx.AsyncClient, bodies: list[bytes]) -> AsyncIterator[None]:
    """Meanwhile each of ``bodies`` has arrived, and its request goes on."""
    arrived = [asyncio.Event() for _ in bodies]
    rest = asyncio.Event()

    async def sent(body: bytes, here: asyncio.Event) -> AsyncIterator[bytes]:
        yield body
        here.set()
        await rest.wait()

    requests = [
        asyncio.create_task(client.post("/v1/classify", content=sent(body, here)))
        for body, here in zip(bodies, arrived, strict=True)
    ]
    try:
        async with asyncio.timeout(ARRIVED_S):
            await asyncio.gather(*(here.wait() for here in arrived))
        yield
    finally:
        rest.set()
        await asyncio.gather(*requests)


def test_bodies_that_are_half_sent_keep_nobody_out(cell_png, open_gateway: Callable):
    async def ask() -> int:
        nobody = service_at("http://127.0.0.1:1")
        async with open_gateway(nobody, request_limit=2) as client, half_sent(client, [b"x"] * 6):
            return (await client.post("/v1/classify", content=cell_png)).status_code

    assert asyncio.run(ask()) == 200


def test_no_more_bytes_are_held_than_the_largest_bodies_of_as_many_requests_as_may_wait(open_gateway: Callable):
    async def ask() -> list[int]:
        nobody = service_at("http://127.0.0.1:1")
        async with open_gateway(nobody, max_body_bytes=1_000, request_limit=2) as client:
            async with half_sent(client, [b"x" * 600] * 3):
                held = [await client.post("/v1/classify", content=b"x" * size) for size in (100, 300, 100)]
            later = [await client.post("/v1/classify", content=b"x" * size) for size in (1_000, 1_000, 5_000, 300)]
        return [response.status_code for response in held + later]

    assert asyncio.run(ask()) == [200, 503, 200, 200, 200, 413, 200]
