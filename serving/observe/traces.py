"""Traces over OTLP: a span for a request and one for each of its parts, where an endpoint is configured.

OpenTelemetry's own variables say where to and how much: ``OTEL_EXPORTER_OTLP_ENDPOINT``,
``OTEL_TRACES_SAMPLER``, ``OTEL_SERVICE_NAME`` and so on. A client's ``traceparent`` is the parent.
Nothing is measured for a trace: the spans are made of the times that `PartClock` took anyway,
after the answer was handed to the connection, and sent by a thread of OpenTelemetry's.
"""

from __future__ import annotations

import asyncio
import threading
import time
from collections.abc import Iterator, Mapping
from importlib.util import find_spec
from time import perf_counter_ns
from typing import TYPE_CHECKING

from contract.errors import InvalidSettings
from contract.timing import PARTS
from serving.observe.clock import PartClock
from serving.observe.ended import Ended
from serving.observe.metrics import OK

if TYPE_CHECKING:
    from opentelemetry.sdk.trace import TracerProvider
    from opentelemetry.trace import Span, Tracer
    from opentelemetry.util.types import AttributeValue

STOP_LIMIT_S = 2.0
_ENDPOINTS = ("OTEL_EXPORTER_OTLP_ENDPOINT", "OTEL_EXPORTER_OTLP_TRACES_ENDPOINT")


def traces_are_asked_for(environment: Mapping[str, str]) -> bool:
    """Whether OpenTelemetry's variables name an endpoint, and none of them switches it off."""
    return (
        any(environment.get(name) for name in _ENDPOINTS)
        and environment.get("OTEL_SDK_DISABLED", "").lower() != "true"
        and environment.get("OTEL_TRACES_EXPORTER", "otlp") == "otlp"
    )


def require_exporter(environment: Mapping[str, str]) -> None:
    """Raise `InvalidSettings` where traces are asked for that nothing here can send."""
    if not traces_are_asked_for(environment):
        return
    if find_spec("opentelemetry") is None or find_spec("opentelemetry.exporter.otlp.proto.http") is None:
        raise InvalidSettings(
            "traces are asked for by OTEL_EXPORTER_OTLP_ENDPOINT and the exporter is not installed. "
            "Next: pip install -c constraints.txt -e '.[traces]'"
        )
    protocol = environment.get("OTEL_EXPORTER_OTLP_TRACES_PROTOCOL") or environment.get("OTEL_EXPORTER_OTLP_PROTOCOL")
    if protocol not in (None, "", "http/protobuf"):
        raise InvalidSettings(f"traces go by http/protobuf, not {protocol}. Next: OTEL_EXPORTER_OTLP_PROTOCOL unset")


class Traces:
    """An `Observer` that does nothing before `start`, which imports OpenTelemetry and blocks for a moment."""

    def __init__(self, service: Mapping[str, str]) -> None:
        self._service = dict(service)
        self._tracer: Tracer | None = None
        self._provider: TracerProvider | None = None

    def start(self) -> None:
        """Begin to trace."""
        from opentelemetry.exporter.otlp.proto.http.trace_exporter import OTLPSpanExporter
        from opentelemetry.sdk.resources import OTELResourceDetector, Resource
        from opentelemetry.sdk.trace import TracerProvider
        from opentelemetry.sdk.trace.export import BatchSpanProcessor

        ours = Resource({"service.name": "hemabench", **self._service})
        self._provider = TracerProvider(
            resource=ours.merge(OTELResourceDetector().detect()),
            shutdown_on_exit=False,  # a worker ends by a signal, which runs no exit handler: see `stop`
        )
        self._provider.add_span_processor(BatchSpanProcessor(OTLPSpanExporter()))
        self._tracer = self._provider.get_tracer("hemabench.serving")

    def stop(self) -> None:
        """Send what is not sent yet, for `STOP_LIMIT_S` at most: a collector that is gone delays no stop."""
        if self._provider is None:
            return
        last = threading.Thread(target=self._provider.shutdown, name="last traces", daemon=True)
        last.start()
        last.join(STOP_LIMIT_S)

    def __call__(self, ended: Ended) -> None:
        """Give the request its trace; where it is sampled, have its spans made when the event loop is free."""
        if self._tracer is None:
            return
        from opentelemetry.context import Context
        from opentelemetry.trace import SpanKind
        from opentelemetry.trace.propagation.tracecontext import TraceContextTextMapPropagator

        sent = {name.decode("latin-1"): value.decode("latin-1") for name, value in ended.request.headers}
        to_epoch_ns = time.time_ns() - perf_counter_ns()
        span = self._tracer.start_span(
            f"POST {ended.path}",
            TraceContextTextMapPropagator().extract(sent, Context()),
            SpanKind.SERVER,
            {"http.request.method": "POST", "http.route": ended.path},
            start_time=ended.began_ns + to_epoch_ns,
        )
        context = span.get_span_context()
        ended.request.traceparent = f"00-{context.trace_id:032x}-{context.span_id:016x}-{context.trace_flags:02x}"
        if span.is_recording():
            asyncio.get_running_loop().call_soon(self._complete, self._tracer, span, ended, to_epoch_ns)

    def _complete(self, tracer: Tracer, span: Span, ended: Ended, to_epoch_ns: int) -> None:
        from opentelemetry.trace import Status, StatusCode, set_span_in_context

        failed = Status(StatusCode.ERROR, ended.code)
        within = set_span_in_context(span)
        for part, began_ns, ended_ns, attributes in _parts_of(ended):
            child = tracer.start_span(part, within, attributes=attributes, start_time=began_ns + to_epoch_ns)
            child.end(ended_ns + to_epoch_ns)
        span.set_attributes(_attributes_of(ended))
        if ended.status >= 500:
            span.set_status(failed)
        span.end(ended.ended_ns + to_epoch_ns)


def _parts_of(ended: Ended) -> Iterator[tuple[str, int, int, dict[str, AttributeValue]]]:
    """Name, beginning, end and attributes of each part; of one that was never finished as well."""
    clock = ended.request.clock
    number = -1  # the first clock is the request's own, each of the others an image's
    while clock is not None:
        began_ns = clock.began_ns
        attributes: dict[str, AttributeValue] = {"hemabench.image": number} if _is_of_an_image(clock, number) else {}
        for part, duration_ns in clock.parts_ns.items():
            yield part, began_ns, began_ns + duration_ns, attributes
            began_ns += duration_ns
        if ended.code != OK and clock.followed_by is None:
            unfinished = next((part for part in PARTS if part not in clock.parts_ns), PARTS[-1])
            yield unfinished, began_ns, ended.ended_ns, {"hemabench.unfinished": True}
        clock = clock.followed_by
        number += 1


def _is_of_an_image(clock: PartClock, number: int) -> bool:
    return number >= 0 and "decode" in clock.parts_ns


def _attributes_of(ended: Ended) -> dict[str, AttributeValue]:
    request = ended.request
    attributes: dict[str, AttributeValue] = {
        "http.response.status_code": ended.status,
        "hemabench.request_id": request.id,
        "hemabench.code": ended.code,
        "hemabench.images": request.image_count,
    }
    if ended.status >= 500:
        attributes["error.type"] = ended.code
    if request.model is not None:
        attributes["hemabench.model"] = request.model.name
        attributes["hemabench.digest"] = request.model.digest
        attributes["hemabench.resolution_px"] = request.model.resolution
    if request.clock is not None and request.clock.batch_images:
        attributes["hemabench.batch_images"] = request.clock.batch_images
    return attributes
