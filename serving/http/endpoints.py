"""What the door answers: classifications, what is loaded, what was counted."""

from __future__ import annotations

import asyncio
import os
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from functools import partial
from typing import TypeVar
from urllib.parse import parse_qsl

from PIL.Image import Image

from contract.errors import InvalidImage
from contract.timing import TIMING_HEADER, format_server_timing
from serving.answers import (
    Index,
    LoadedModels,
    ModelFacts,
    Prediction,
    ServiceFacts,
    encode_json,
    predict_label,
    with_timing,
)
from serving.http.bodies import body_of, client_is_gone, images_in, read_head
from serving.http.door import Request, Response, Routes
from serving.http.images import examine, model_input
from serving.http.many import classify_each
from serving.http.refusal import CLOSE_CONNECTION, RETRY_SOON, ClientGone, Refusal
from serving.inference.batching import batches_for
from serving.inference.cards import model_card
from serving.inference.classifier import Classifier, ServedModel
from serving.inference.line import LARGEST_GROUP, LONG_WAIT_NS, Line
from serving.inference.reload import warm_up_in_turns
from serving.observe.audit import AuditLog
from serving.observe.clock import PartClock
from serving.observe.ended import Observer, observed
from serving.observe.metrics import ABORTED, CompilationCounter, Exposition, Measurements
from serving.observe.request_log import RequestLog
from serving.openapi.bentoml import client_schema
from serving.openapi.document import openapi_document
from serving.protocol.open_inference import OpenInference
from serving.settings import ServiceSettings

# Above this a decoder takes milliseconds, during which the event loop should answer others.
WORK_DONE_IN_PLACE_PX = 500_000
BYTES_READ_IN_PLACE = 250_000
T = TypeVar("T")
_TIMING_HEADER = TIMING_HEADER.lower().encode()


class Endpoints:
    """The handlers of one service. Before `open` every classification is refused with 503 ``starting``."""

    def __init__(self, settings: ServiceSettings, traces: Observer | None = None) -> None:
        self._settings = settings
        self._measurements = Measurements()
        self._observers = _observers_of(settings, self._measurements, traces)
        largest_group = 1 if settings.batching else LARGEST_GROUP  # a batch gives way while its thread infers
        self._line = Line(settings.line_limit, settings.line_deadline_s, largest_group)
        self._batches = batches_for(settings, self._line)
        self._images_at_once = self._batches.sizes[-1] if self._batches is not None else 1
        self._decoders = ThreadPoolExecutor(max_workers=1, thread_name_prefix="decode")
        self._classifier: Classifier | None = None
        self._compilations: CompilationCounter | None = None
        self._stopping = False
        self._by_query: dict[bytes, ServedModel] = {}
        identity = {"runtime": settings.runtime, "device": settings.device, "pid": str(os.getpid())}
        self._exposition = Exposition(self._measurements, lambda: self._line.length, identity)
        self._open_inference = OpenInference(
            settings, self._measurements, self._line, self._require_open, self._observers, self._batches
        )
        self._routes = self._own_routes() | self._open_inference.routes()

    @property
    def is_open(self) -> bool:
        """Whether models are loaded, proved and warm."""
        return self._classifier is not None and not self._stopping

    def prepare(self, classifier: Classifier) -> None:
        """Run every size that batches will have; blocks, so it is for a thread that has time."""
        if self._batches is not None:
            self._batches.warm_up((served.model, served.resolution_px) for served in self._new_in(classifier))

    def open(self, classifier: Classifier) -> None:
        """From now on answer with ``classifier``."""
        self._compilations = CompilationCounter(classifier.runtime)
        self._exposition.add(self._compilations)
        if self._batches is not None:
            self._exposition.add(self._batches)
        self._answer_with(classifier)

    async def replace(self, classifier: Classifier, compilations: int) -> None:
        """Answer with ``classifier``, whose loading took ``compilations``; what has begun keeps the old.

        Before that the event loop makes its own first calls of what is new, while the old models answer.
        """
        await warm_up_in_turns(self._new_in(classifier), self._line)
        self._measurements.reloads["done"] += 1
        if self._compilations is not None:
            self._compilations.leave_out(compilations)
        if not self._stopping:
            self._answer_with(classifier)

    def _new_in(self, classifier: Classifier) -> list[ServedModel]:
        served = self._classifier.models if self._classifier is not None else {}
        return [model for side, model in classifier.models.items() if model is not served.get(side)]

    def refuse_newer(self) -> None:
        """Count that a changed artifact was no good."""
        self._measurements.reloads["refused"] += 1

    def _answer_with(self, classifier: Classifier) -> None:
        self._classifier = classifier
        self._by_query = {b"resolution=%d" % side: served for side, served in classifier.models.items()}
        self._by_query[b""] = classifier.smallest
        self._routes |= self._open_inference.routes_of(classifier)

    def refuse_new(self) -> None:
        """From now on refuse every classification with 503 ``stopping``; those that have begun are answered."""
        self._stopping = True
        self._by_query = {}

    @property
    def is_busy(self) -> bool:
        """Whether a classification has begun and not ended."""
        return self._measurements.totals()["running"] > 0

    def routes(self) -> Routes:
        """The paths of the door, the very table: those of the models join it when they are there."""
        return self._routes

    def _own_routes(self) -> Routes:
        """BentoML itself answers GET on the three probes, before the door is asked."""
        return {
            "/": {"GET": self.index},
            "/v1/classify": {"POST": observed(self.classify, "/v1/classify", self._observers)},
            "/v1/models": {"GET": self.models},
            "/v1/card": {"GET": self.card},
            "/metrics": {"GET": self.metrics},
            "/openapi.json": {"GET": self.openapi},
            "/docs.json": {"GET": self.openapi},
            "/schema.json": {"GET": self.client_schema},
            "/healthz": {"GET": self.alive},
            "/livez": {"GET": self.alive},
            "/readyz": {"GET": self.ready},
        }

    async def classify(self, request: Request) -> Response:
        """One image in, one label with its probabilities out, or several; counted however it ends."""
        clock = request.clock = PartClock()
        self._measurements.started += 1
        resolution = "none"
        try:
            served = self._model_for(request.query)
            request.model = served.name
            resolution = str(served.resolution_px)
            response = await self._classified(request, served, clock)
        except (Refusal, InvalidImage) as refusal:
            self._measurements.finished(resolution, refusal.code, refusal.status)
            raise
        except (ClientGone, asyncio.CancelledError):
            self._measurements.finished(resolution, ABORTED, 0)
            raise
        except Exception:
            self._measurements.finished(resolution, "internal", 500)
            raise
        return response

    async def _classified(self, request: Request, served: ServedModel, clock: PartClock) -> Response:
        images = request.images = await self._read(request)
        request.image_count = len(images)
        clock.end("read")
        with self._line.place():
            if len(images) == 1:
                encoded = encode_json(await self._predict(images[0], clock, served, request))
                clock.end("encode")
                parts_ns = clock.with_total()
                self._measurements.answered(str(served.resolution_px), parts_ns)
            else:
                predict = partial(self._predict, served=served, request=request)
                encoded, parts_ns = await classify_each(
                    images, predict, served.name, request.id, clock, self._measurements, self._images_at_once
                )
        timing = format_server_timing(parts_ns)
        if clock.batch_images:
            timing += f', batch;desc="{clock.batch_images}"'
        return Response(with_timing(encoded, parts_ns), headers=((_TIMING_HEADER, timing.encode()),))

    async def _predict(self, image_bytes: bytes, clock: PartClock, served: ServedModel, request: Request) -> Prediction:
        image = await self._decode(image_bytes)
        clock.end("decode")
        batch = model_input(image, served.resolution_px)
        distance = served.distance_of(batch)
        clock.end("preprocess")
        if self._batches is not None:
            logits = await self._batches.predict(served.model, batch, clock, partial(client_is_gone, request.receive))
        else:
            async with self._line.turn():
                clock.end("queue")
                if clock.parts_ns["queue"] > LONG_WAIT_NS and client_is_gone(request.receive):
                    raise ClientGone
                logits = served.model.predict(batch)
                clock.end("infer")
        prediction = predict_label(logits[0], served.temperature, served.labels, served.name, request.id, distance)
        self._measurements.out_of_distribution[str(served.resolution_px)] += prediction.in_distribution is False
        return prediction

    async def _read(self, request: Request) -> list[bytes]:
        settings = self._settings
        head = read_head(request.headers)
        self._line.require_room()
        body = await body_of(head, request.receive, settings.max_body_bytes, settings.body_deadline_s)
        return images_in(head, body)

    async def _decode(self, image_bytes: bytes) -> Image:
        in_place = len(image_bytes) <= BYTES_READ_IN_PLACE
        examined = examine(image_bytes) if in_place else await self._aside(partial(examine, image_bytes))
        in_place = in_place and examined.is_read_by_c
        opened = examined.open() if in_place else await self._aside(examined.open)
        self._measurements.icc_profiles_ignored += opened.has_icc_profile
        if in_place and opened.work_px <= WORK_DONE_IN_PLACE_PX:
            return opened.decode()
        return await self._aside(opened.decode)

    async def _aside(self, work: Callable[[], T]) -> T:
        """``work`` done in the decoders' thread, while the event loop answers others."""
        return await asyncio.get_running_loop().run_in_executor(self._decoders, work)

    def _model_for(self, query: bytes) -> ServedModel:
        served = self._by_query.get(query)  # the query as nearly every client spells it
        return served if served is not None else self._model_by_name(query)

    def _model_by_name(self, query: bytes) -> ServedModel:
        classifier = self._require_open()
        asked = [value for name, value in parse_qsl(query.decode("latin-1"), True) if name == "resolution"]
        if not asked:
            return classifier.smallest
        by_name = {str(side): served for side, served in classifier.models.items()}
        if len(asked) > 1 or asked[0] not in by_name:
            there = ", ".join(by_name)
            raise Refusal(f"resolution must be one of: {there}", code="unknown_resolution", status=404)
        return by_name[asked[0]]

    def _require_open(self) -> Classifier:
        if self._stopping:
            raise Refusal(
                "the service is being stopped",
                code="stopping",
                status=503,
                headers=(RETRY_SOON, CLOSE_CONNECTION),
            )
        if self._classifier is None:
            raise Refusal("the models are being loaded", code="starting", status=503, headers=(RETRY_SOON,))
        return self._classifier

    async def models(self, request: Request) -> Response:
        """Every loaded model with its evidence, what it runs on, and how many requests ended how."""
        classifier = self._require_open()
        return Response(
            encode_json(
                LoadedModels(
                    models=[self._described(served) for served in classifier.models.values()],
                    runtime={"name": classifier.runtime.name, **classifier.facts, **classifier.runtime.describe()},
                    service=ServiceFacts(os.getpid(), self._measurements.totals()),
                )
            )
        )

    def _described(self, served: ServedModel) -> ModelFacts:
        return ModelFacts(
            name=served.name.name,
            resolution=served.resolution_px,
            digest=served.name.digest,
            format=served.format,
            weights_digest=served.weights_digest,
            trained_on=served.trained_on,
            versions=served.versions,
            parity=served.parity,
            metrics=served.metrics,
            temperature=served.temperature,
            distance_threshold=served.distance_threshold,
            labels=served.labels,
            answered=self._measurements.answered_at(str(served.resolution_px)),
        )

    async def card(self, request: Request) -> Response:
        """The model card of one model, in Markdown; ``resolution`` chooses it as for a classification."""
        card = model_card(self._model_for(request.query))
        return Response(card.encode(), content_type=b"text/markdown; charset=utf-8")

    async def metrics(self, request: Request) -> Response:
        """For Prometheus."""
        return Response(self._exposition.text(), content_type=self._exposition.content_type.encode())

    async def index(self, request: Request) -> Response:
        """What there is to ask for."""
        paths = [f"{method} {path}" for path, methods in self.routes().items() for method in methods]
        return Response(encode_json(Index(paths)))

    async def openapi(self, request: Request) -> Response:
        """The OpenAPI document of all of this."""
        return Response(openapi_document())

    async def client_schema(self, request: Request) -> Response:
        """The methods that a client of BentoML finds."""
        return Response(encode_json(client_schema(self._require_open().models)))

    async def alive(self, request: Request) -> Response:
        """That the event loop turns."""
        return Response(b"\n", content_type=b"text/plain; charset=utf-8")

    async def ready(self, request: Request) -> Response:
        """That a classification would be answered; else 503."""
        self._require_open()
        return await self.alive(request)


def _observers_of(settings: ServiceSettings, measurements: Measurements, traces: Observer | None) -> list[Observer]:
    """Traces come first: the logs name the trace."""
    observers = [traces] if traces else []
    if settings.logged_share is not None:
        observers.append(RequestLog(settings.logged_share))
    if settings.audit_log is not None:
        observers.append(AuditLog(settings.audit_log, measurements))
    return observers
