"""Services that somebody else runs, as the gateway sees them."""

from __future__ import annotations

import asyncio
from contextlib import asynccontextmanager
from pathlib import Path

import httpx

from serving.gateway.services import ServiceElsewhere, State, awaited
from serving.gateway.settings import Elsewhere, GatewaySettings

PATIENCE_S = 30
READY = b"HTTP/1.1 200 OK\r\ncontent-length: 0\r\nconnection: close\r\n\r\n"


def elsewhere(port=9, runtime="onnx", **limits):
    url = f"http://127.0.0.1:{port}"
    settings = GatewaySettings(services=(Elsewhere(runtime, url),), logs=Path("unused"), **limits)
    return ServiceElsewhere(runtime, settings, url)


@asynccontextmanager
async def looked_at(service):
    async with httpx.AsyncClient(trust_env=False) as client:
        looking = asyncio.create_task(service.keep_running(Path("unused"), client))
        try:
            yield
        finally:
            looking.cancel()
            await asyncio.gather(looking, return_exceptions=True)


async def until(condition):
    async with asyncio.timeout(PATIENCE_S):
        while not condition():
            await asyncio.sleep(0.01)


@asynccontextmanager
async def ready_at(port):
    async def answer(reader, writer):
        await reader.readuntil(b"\r\n\r\n")
        writer.write(READY)
        await writer.drain()
        writer.close()

    async with await asyncio.start_server(answer, "127.0.0.1", port):
        yield


def test_one_that_does_not_answer_yet_is_starting_until_it_does(port):
    service = elsewhere(port)

    async def scenario():
        async with looked_at(service):
            await until(lambda: service.reason)
            assert service.state is State.STARTING
            async with ready_at(port):
                await until(lambda: service.state is State.READY)

    asyncio.run(scenario())
    assert service.reason == ""


def test_one_that_never_answered_is_down_past_the_deadline_of_a_start_and_is_looked_at_still(port):
    service = elsewhere(port, start_deadline_s=1e-9)

    async def scenario():
        async with looked_at(service):
            await until(lambda: service.state is State.DOWN)
            async with ready_at(port):
                await until(lambda: service.state is State.READY)

    asyncio.run(scenario())
    assert (service.reason, service.was_ready) == ("", True)


def test_one_that_was_ready_and_answers_no_more_is_down_whatever_the_deadline(port):
    service = elsewhere(port)

    async def scenario():
        async with looked_at(service):
            async with ready_at(port):
                await until(lambda: service.state is State.READY)
            await until(lambda: service.state is State.DOWN)

    asyncio.run(scenario())
    assert service.reason == "it does not answer"


def test_what_may_never_be_there_is_awaited_only_while_nobody_is_ready():
    unseen, silent, ready = (elsewhere(runtime=runtime) for runtime in ("jax", "onnx", "null"))
    silent.reason = "it is not ready yet, or not there"
    services = {service.runtime: service for service in (unseen, silent, ready)}
    assert awaited(services) == ["jax", "onnx", "null"]
    ready.state = State.READY
    assert awaited(services) == ["jax"]


def test_where_to_look_is_its_address_and_its_reason_names_none():
    service = elsewhere()
    assert "http://127.0.0.1:9/readyz" in service.next_step
    assert "://" not in service.reason
