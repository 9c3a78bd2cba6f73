"""One request to every runtime at once: one outcome for each, whatever becomes of the others."""

from __future__ import annotations

import asyncio
from collections.abc import Mapping
from dataclasses import dataclass, field
from time import perf_counter_ns

import httpx
import msgspec

from contract.timing import NS_PER_MS, TIMING_HEADER, parse_server_timing
from serving.answers import ErrorAnswer, Problem, decode_json
from serving.gateway.answers import Outcome, RuntimeAnswer, RuntimeProblem
from serving.gateway.codes import GATEWAY_CODES
from serving.gateway.services import Service, State

NULL = msgspec.Raw(b"null")


@dataclass(frozen=True, slots=True, kw_only=True)
class Upload:
    """A classification as it came, and as every service gets it."""

    body: bytes
    content_type: bytes
    query: bytes
    request_id: str


@dataclass(frozen=True, slots=True)
class Asked:
    """How one service's part ended; ``parts_ns`` is its own timing and the ``round-trip`` as the gateway saw it."""

    outcome: Outcome
    parts_ns: dict[str, int] = field(default_factory=dict)


async def classify_everywhere(
    services: Mapping[str, Service], client: httpx.AsyncClient, upload: Upload, deadline_s: float
) -> dict[str, Asked]:
    """What each runtime says of ``upload``, in the order of ``services``."""
    asked = await asyncio.gather(*(_classify_at(service, client, upload, deadline_s) for service in services.values()))
    return dict(zip(services, asked, strict=True))


async def models_everywhere(
    services: Mapping[str, Service], client: httpx.AsyncClient, deadline_s: float
) -> dict[str, msgspec.Raw]:
    """What each runtime has loaded; null where it does not say."""
    said = await asyncio.gather(*(_models_at(service, client, deadline_s) for service in services.values()))
    return dict(zip(services, said, strict=True))


def merged_timing(own_ns: Mapping[str, int], asked: Mapping[str, Asked]) -> dict[str, int]:
    """For one ``Server-Timing`` header: the gateway's parts as they are, those of a runtime as ``runtime.part``."""
    theirs = {
        f"{runtime}.{part}": duration_ns for runtime, one in asked.items() for part, duration_ns in one.parts_ns.items()
    }
    return {**own_ns, **theirs}


async def _classify_at(service: Service, client: httpx.AsyncClient, upload: Upload, deadline_s: float) -> Asked:
    if service.state is State.STARTING:
        words = f"{service.runtime} is starting: {service.reason or 'it is loading its models'}"
        return Asked(_problem("service_starting", words, upload.request_id))
    if service.state is State.DOWN:
        return Asked(_problem("service_down", f"{service.runtime} is down: {service.reason}", upload.request_id))
    url = httpx.URL(f"{service.url}/v1/classify").copy_with(query=upload.query or None)
    headers = {b"content-type": upload.content_type, b"x-request-id": upload.request_id.encode()}
    began_ns = perf_counter_ns()
    try:
        async with asyncio.timeout(deadline_s):
            response = await client.post(url, content=upload.body, headers=headers)
    except (TimeoutError, httpx.TimeoutException):
        words = f"{service.runtime} did not answer within {deadline_s:g} s"
        return Asked(_problem("service_silent", words, upload.request_id))
    except httpx.HTTPError as error:
        words = f"{service.runtime} cannot be reached: {error or type(error).__name__}"
        return Asked(_problem("service_down", words, upload.request_id))
    return _understood(response, perf_counter_ns() - began_ns, service.runtime, upload.request_id)


def _understood(response: httpx.Response, round_trip_ns: int, runtime: str, request_id: str) -> Asked:
    round_trip_ms = round_trip_ns / NS_PER_MS
    timing = response.headers.get(TIMING_HEADER, "")
    try:
        if response.is_success:
            decode_json(response.content)  # what is passed on unread must be JSON at least
            outcome: Outcome = RuntimeAnswer(msgspec.Raw(response.content), timing, round_trip_ms)
        else:
            problem = decode_json(response.content, type=ErrorAnswer).error
            outcome = RuntimeProblem(response.status_code, problem, round_trip_ms)
    except (msgspec.MsgspecError, UnicodeDecodeError):
        words = f"{runtime} answered with status {response.status_code} and nothing that can be read"
        return Asked(_problem("service_unreadable", words, request_id))
    return Asked(outcome, {**parse_server_timing(timing), "round-trip": round_trip_ns})


async def _models_at(service: Service, client: httpx.AsyncClient, deadline_s: float) -> msgspec.Raw:
    if service.state is not State.READY:
        return NULL
    try:
        response = await client.get(f"{service.url}/v1/models", timeout=deadline_s)
        decode_json(response.content)
    except (httpx.HTTPError, msgspec.MsgspecError, UnicodeDecodeError):
        return NULL
    return msgspec.Raw(response.content) if response.is_success else NULL


def _problem(code: str, message: str, request_id: str) -> RuntimeProblem:
    return RuntimeProblem(GATEWAY_CODES[code].status, Problem(code, message, request_id))
