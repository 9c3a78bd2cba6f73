"""What the gateway's door answers: classifications by every runtime, what is loaded, who is up, and the page."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from contextlib import contextmanager

import httpx
import msgspec
from starlette.types import Message, Receive

from contract.blood_cells import LABELS
from contract.timing import TIMING_HEADER, format_server_timing
from serving.answers import decode_json, encode_json, with_timing
from serving.gateway.answers import GatewayModels, Outcomes, Readiness, RuntimeModels, ServiceState
from serving.gateway.fan_out import Upload, classify_everywhere, merged_timing, models_everywhere
from serving.gateway.pages import page_files, page_routes
from serving.gateway.services import Service, State
from serving.gateway.settings import GatewaySettings
from serving.http.bodies import body_of, missing_image, read_head
from serving.http.door import Request, Response, Routes
from serving.http.refusal import RETRY_SOON, Refusal
from serving.observe.clock import PartClock
from serving.openapi.gateway import gateway_document

_TIMING_HEADER = TIMING_HEADER.lower().encode()


class _Model(msgspec.Struct):
    resolution: int
    labels: list[str] = []


class _Loaded(msgspec.Struct):
    """The part of `LoadedModels` that is merged."""

    models: list[_Model]


class GatewayEndpoints:
    """The handlers over ``services``, asked through ``client``."""

    def __init__(self, settings: GatewaySettings, services: Mapping[str, Service], client: httpx.AsyncClient) -> None:
        self._settings = settings
        self._services = services
        self._client = client
        self._running = 0  # whose bodies are whole
        self._held_bytes = 0

    def routes(self) -> Routes:
        """The paths of the door."""
        own: Routes = {
            "/v1/classify": {"POST": self.classify},
            "/v1/models": {"GET": self.models},
            "/live": {"GET": self.alive},
            "/livez": {"GET": self.alive},
            "/ready": {"GET": self.ready},
            "/readyz": {"GET": self.ready},
            "/openapi.json": {"GET": self.openapi},
            "/docs.json": {"GET": self.openapi},
        }
        return own | page_routes()

    async def openapi(self, request: Request) -> Response:
        """The OpenAPI document of all of this."""
        return Response(gateway_document(page_files()))

    async def classify(self, request: Request) -> Response:
        """What every runtime says of the body; 200 however many of them fail."""
        clock = PartClock()
        self._require_place()
        with self._counted(request.receive) as receive:
            upload = await self._read(request, receive)
            clock.end("read")
            with self._place():
                asked = await classify_everywhere(
                    self._services, self._client, upload, self._settings.answer_deadline_s
                )
            clock.end("ask")
        outcomes = {runtime: one.outcome for runtime, one in asked.items()}
        encoded = encode_json(Outcomes(outcomes, request.id))
        clock.end("encode")
        own_ns = clock.with_total()
        timing = format_server_timing(merged_timing(own_ns, asked))
        return Response(with_timing(encoded, own_ns), headers=((_TIMING_HEADER, timing.encode()),))

    async def _read(self, request: Request, receive: Receive) -> Upload:
        limit = self._settings.max_body_bytes
        head = read_head(request.headers)
        body = await body_of(head, receive, limit, self._settings.body_deadline_s)
        if not body:
            raise missing_image()
        content_type = head.content_type or b"application/octet-stream"
        return Upload(body=body, content_type=content_type, query=request.query, request_id=request.id)

    @contextmanager
    def _counted(self, receive: Receive) -> Iterator[Receive]:
        """``receive``, whose bytes count as held until the block is left; it raises `Refusal` where too many are.

        Bytes are counted and not requests: one that is half sent would keep the place of one that is whole.
        """
        own_bytes, limit_bytes = 0, self._settings.max_body_bytes

        async def counting() -> Message:
            nonlocal own_bytes
            message = await receive()
            arrived_bytes = min(len(message.get("body", b"")), limit_bytes - own_bytes)  # what is above is not kept
            if self._held_bytes + arrived_bytes > self._settings.request_limit * limit_bytes:
                raise _overloaded()
            own_bytes += arrived_bytes
            self._held_bytes += arrived_bytes
            return message

        try:
            yield counting
        finally:
            self._held_bytes -= own_bytes

    @contextmanager
    def _place(self) -> Iterator[None]:
        self._require_place()
        self._running += 1
        try:
            yield
        finally:
            self._running -= 1

    def _require_place(self) -> None:
        if self._running >= self._settings.request_limit:
            raise _overloaded()

    async def models(self, request: Request) -> Response:
        """What every runtime has loaded, and the resolutions there are to choose from."""
        said = await models_everywhere(self._services, self._client, self._settings.answer_deadline_s)
        runtimes = {
            runtime: RuntimeModels(service.state, service.reason, service.restarts, said[runtime])
            for runtime, service in self._services.items()
        }
        loaded = [decode_json(one, type=_Loaded | None) for one in said.values()]
        resolutions = sorted({model.resolution for one in loaded if one for model in one.models})
        labels = next((model.labels for one in loaded if one for model in one.models if model.labels), [])
        return Response(encode_json(GatewayModels(runtimes, resolutions, labels or list(LABELS))))

    async def alive(self, request: Request) -> Response:
        """That the event loop turns."""
        return Response(b"\n", content_type=b"text/plain; charset=utf-8")

    async def ready(self, request: Request) -> Response:
        """Who would answer now; 503 where nobody would."""
        states = {
            runtime: ServiceState(service.state, service.reason, service.restarts)
            for runtime, service in self._services.items()
        }
        ready = any(service.state is State.READY for service in self._services.values())
        return Response(encode_json(Readiness(ready, states)), status=200 if ready else 503)


def _overloaded() -> Refusal:
    return Refusal("too many requests wait already", code="overloaded", status=503, headers=(RETRY_SOON,))
