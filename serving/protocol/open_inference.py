"""The Open Inference Protocol v2 over REST, with Triton's extensions for binary tensors, statistics and configuration.

The same models, line, metrics and limits as behind ``/v1``; what differs is that a client
sends the model's input itself: float32 (n, side, side, 3) in [-1, 1]. Models are called
``hemanet-28px`` and the like. Their paths are made when the models are there, and are
exact as all of the door's are: no part of a path is ever taken for a name.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from functools import partial
from time import perf_counter_ns

import numpy as np

from contract.arrays import FloatArray
from contract.blood_cells import NOTICE
from contract.environment import versions_of
from contract.timing import TIMING_HEADER, format_server_timing
from serving.answers import ModelName, encode_json, probabilities_of
from serving.http.bodies import body_of, client_is_gone, read_head
from serving.http.door import JSON_TYPE, Handler, Request, Response, Routes
from serving.http.refusal import ClientGone, Refusal
from serving.inference.batching import Batches
from serving.inference.classifier import EXECUTION_SIZES, Classifier, ServedModel
from serving.inference.line import LONG_WAIT_NS, Line
from serving.observe.clock import PartClock
from serving.observe.ended import Observer, observed
from serving.observe.metrics import ABORTED, Measurements
from serving.protocol.model_statistics import ModelStatistics, new_statistics
from serving.protocol.tensors import (
    CHANNELS,
    DATATYPE,
    MAX_BATCH,
    encode_answer,
    images_of,
    outputs_wanted,
    split_body,
)
from serving.settings import ServiceSettings

EXTENSIONS = ("binary_tensor_data", "statistics", "model_configuration")
# A newer artifact that takes over while a service runs is version 1 too: a path that clients know must not go away.
# Which one it is, the digest among a model's parameters says; its statistics begin anew.
VERSION = "1"
PROBABILITIES = "probabilities"
MEDIA_TYPES = frozenset({b"", b"application/json", b"application/octet-stream"})
BINARY_TYPE = b"application/octet-stream"
_JSON_LENGTH = b"inference-header-content-length"
_TIMING_HEADER = TIMING_HEADER.lower().encode()


@dataclass(frozen=True, slots=True)
class Asked:
    """What is left of a request once it is parsed; its body, which can be large, does not wait in the line."""

    id: str | None
    images: FloatArray
    outputs: dict[str, bool]  # by name, in order: whether it goes as binary data


class OpenInference:
    """The handlers under ``/v2``. ``require_open`` gives the models, or raises the `Refusal` that says why not."""

    def __init__(
        self,
        settings: ServiceSettings,
        measurements: Measurements,
        line: Line,
        require_open: Callable[[], Classifier],
        observers: Sequence[Observer] = (),
        batches: Batches | None = None,
    ) -> None:
        self._settings = settings
        self._measurements = measurements
        self._line = line
        self._require_open = require_open
        self._observers = observers
        self._batches = batches
        self._statistics: dict[ModelName, ModelStatistics] = {}

    def routes(self) -> Routes:
        """The paths that are there from the beginning."""
        return {
            "/v2": {"GET": self.server_metadata},
            "/v2/health/live": {"GET": self.live},
            "/v2/health/ready": {"GET": self.ready},
            "/v2/models/stats": {"GET": self.all_statistics},
            "/v2/repository/index": {"POST": self.index},
        }

    def routes_of(self, classifier: Classifier) -> Routes:
        """The paths of the models, with and without their version; the statistics of those that are new begin."""
        self._statistics = {served.name: self._statistics_of(served) for served in classifier.models.values()}
        routes: Routes = {}
        for served in classifier.models.values():
            for path in (f"/v2/models/{name_of(served)}", f"/v2/models/{name_of(served)}/versions/{VERSION}"):
                routes[path] = {"GET": self._answering(metadata_of, served)}
                routes[f"{path}/config"] = {"GET": self._answering(configuration_of, served)}
                routes[f"{path}/ready"] = {"GET": self._answering(_readiness_of, served)}
                routes[f"{path}/stats"] = {"GET": self._answering(self._told_statistics_of, served)}
                infer = f"{path}/infer"
                routes[infer] = {"POST": observed(partial(self.infer, served), infer, self._observers)}
        return routes

    async def server_metadata(self, request: Request) -> Response:
        """Who serves, and which extensions."""
        version = versions_of(("hemabench",)).get("hemabench", "unknown")
        return _json({"name": "hemabench", "version": version, "extensions": EXTENSIONS})

    async def live(self, request: Request) -> Response:
        """That the event loop turns."""
        return _json({"live": True})

    async def ready(self, request: Request) -> Response:
        """That every model would answer; else 503. The specification calls the field ``live`` here too."""
        self._require_open()
        return _json({"ready": True, "live": True})

    async def index(self, request: Request) -> Response:
        """Every model, all of which are ready. The body, which may ask for less, is not read."""
        read_head(request.headers, MEDIA_TYPES)
        models = self._require_open().models.values()
        return _json([{"name": name_of(s), "version": VERSION, "state": "READY", "reason": ""} for s in models])

    async def all_statistics(self, request: Request) -> Response:
        """The statistics of every model."""
        self._require_open()
        return _json({"model_stats": list(self._statistics.values())})

    async def infer(self, served: ServedModel, request: Request) -> Response:
        """Tensors in, tensors out; counted however it ends."""
        clock = request.clock = PartClock()
        request.model = served.name
        with self._counted(served, perf_counter_ns()):
            self._require_open()
            asked = await self._asked(served, request, clock)
            request.image_count = len(asked.images)
            with self._line.place():
                if self._settings.audit_log:
                    request.images = [image.tobytes() for image in asked.images]
                clock.end("preprocess")  # which was the client's affair
                return await self._inferred(served, asked, clock, partial(client_is_gone, request.receive))

    async def _asked(self, served: ServedModel, request: Request, clock: PartClock) -> Asked:
        body = await self._read(request)
        clock.end("read")
        self._line.require_room()  # others may have come while the body did; parsing is the dearer part
        lengths = [value for name, value in request.headers if name == _JSON_LENGTH]
        envelope, binary = split_body(body, lengths)
        images = images_of(envelope, binary, served.input_name, served.resolution_px)
        wanted = outputs_wanted(envelope, (served.output_name, PROBABILITIES))
        clock.end("decode")
        return Asked(envelope.id, images, wanted)

    async def _inferred(
        self, served: ServedModel, asked: Asked, clock: PartClock, is_gone: Callable[[], bool]
    ) -> Response:
        if self._batches is not None:
            logits = await self._batches.predict(served.model, asked.images, clock, is_gone)
            executions = [(len(asked.images), clock.parts_ns["infer"])]  # its share of a batch that it had with others
        else:
            logits, executions = await self._predict(served, asked.images, clock, is_gone)
        tensors = outputs_of(served, logits, asked.outputs)
        model = (name_of(served), VERSION)
        parameters = {"digest": served.name.digest, "notice": NOTICE}
        body, json_length = encode_answer(model, asked.id, tensors, asked.outputs, parameters)
        clock.end("encode")
        parts_ns = clock.with_total()
        self._measurements.answered(str(served.resolution_px), parts_ns)
        self._statistics_of(served).answered(executions, parts_ns)
        batch = f', batch;desc="{clock.batch_images}"' if clock.batch_images else ""
        timing = (_TIMING_HEADER, (format_server_timing(parts_ns) + batch).encode())
        told = _told(served, logits) if self._settings.audit_log else b""
        if json_length is None:
            return Response(body, headers=(timing,), told=told)
        headers = (timing, (_JSON_LENGTH, b"%d" % json_length))
        return Response(body, content_type=BINARY_TYPE, headers=headers, told=told)

    async def _predict(
        self, served: ServedModel, images: FloatArray, clock: PartClock, is_gone: Callable[[], bool]
    ) -> tuple[FloatArray, list[tuple[int, int]]]:
        """Logits (n, classes), and the size and duration in ns of each execution.

        Several executions of a few sizes, each of which was warmed, and a turn for each: no
        request meets a compilation, and a large one lets others in between. Raises `ClientGone`
        where a long wait for a turn was for nobody, as ``is_gone`` says.
        """
        pieces, executions = [], []
        queue_ns = first = 0
        for size in execution_sizes(len(images)):
            async with self._line.turn():
                clock.end("queue")
                if clock.parts_ns["queue"] > LONG_WAIT_NS and is_gone():
                    raise ClientGone
                pieces.append(served.model.predict(images[first : first + size]))
                clock.end("infer")
            queue_ns += clock.parts_ns["queue"]
            executions.append((size, clock.parts_ns["infer"]))
            first += size
        clock.parts_ns |= {"queue": queue_ns, "infer": sum(infer_ns for _, infer_ns in executions)}
        return np.concatenate(pieces), executions

    async def _read(self, request: Request) -> bytes:
        settings = self._settings
        head = read_head(request.headers, MEDIA_TYPES)
        self._line.require_room()
        return await body_of(head, request.receive, settings.max_tensor_bytes, settings.body_deadline_s)

    @contextmanager
    def _counted(self, served: ServedModel, began_ns: int) -> Iterator[None]:
        resolution = str(served.resolution_px)
        self._measurements.started += 1
        try:
            yield
        except BaseException as error:
            self._measurements.finished(resolution, *_outcome_of(error))
            self._statistics_of(served).failed(perf_counter_ns() - began_ns)
            raise

    def _answering(self, describe: Callable[[ServedModel], object], served: ServedModel) -> Handler:
        async def answer(request: Request) -> Response:
            self._require_open()
            return _json(describe(served))

        return answer

    def _statistics_of(self, served: ServedModel) -> ModelStatistics:
        """New ones, which nobody is told, where another model has taken its place meanwhile."""
        known = self._statistics.get(served.name)
        return new_statistics(name_of(served), VERSION) if known is None else known

    def _told_statistics_of(self, served: ServedModel) -> object:
        return {"model_stats": [self._statistics_of(served)]}


def name_of(served: ServedModel) -> str:
    """What the protocol's clients call a model: ``hemanet-28px``."""
    return f"{served.name.name}-{served.resolution_px}px"


def execution_sizes(images: int) -> list[int]:
    """``images`` as a sum of `EXECUTION_SIZES`, the large ones first: 7 is 4 + 2 + 1."""
    sizes: list[int] = []
    for size in EXECUTION_SIZES:
        whole, images = divmod(images, size)
        sizes += [size] * whole
    return sizes


def outputs_of(served: ServedModel, logits: FloatArray, wanted: dict[str, bool]) -> dict[str, FloatArray]:
    """The tensors wanted, each (n, classes); raises `Refusal` (500) where a logit is not finite."""
    if not np.isfinite(logits).all():
        raise Refusal("the model answered with a number that is not finite", code="model_output_invalid", status=500)
    tensors = {served.output_name: logits}
    if PROBABILITIES in wanted:
        rows = [probabilities_of(row, served.temperature) for row in logits]
        tensors[PROBABILITIES] = np.array(rows, np.float32)
    return tensors


def metadata_of(served: ServedModel) -> object:
    """A model's inputs and outputs; what the protocol has no field for is among its parameters."""
    side, classes = served.resolution_px, len(served.labels)
    return {
        "name": name_of(served),
        "versions": [VERSION],
        "platform": _platform_of(served),
        "inputs": [{"name": served.input_name, "datatype": DATATYPE, "shape": [-1, side, side, CHANNELS]}],
        "outputs": [
            {"name": name, "datatype": DATATYPE, "shape": [-1, classes]} for name in (served.output_name, PROBABILITIES)
        ],
        "parameters": {
            "digest": served.name.digest,
            "labels": ",".join(served.labels),
            "input_range": "[-1, 1]: pixel / 127.5 - 1",
            "layout": "NHWC",
            "temperature": served.temperature,
            "notice": NOTICE,
        },
    }


def configuration_of(served: ServedModel) -> object:
    """The part of Triton's model configuration that holds here."""
    side, classes = served.resolution_px, len(served.labels)
    datatype = f"TYPE_{DATATYPE}"
    return {
        "name": name_of(served),
        "platform": _platform_of(served),
        "backend": served.name.runtime,
        "max_batch_size": MAX_BATCH,
        "input": [
            {
                "name": served.input_name,
                "data_type": datatype,
                "format": "FORMAT_NHWC",
                "dims": [side, side, CHANNELS],
            }
        ],
        "output": [
            {"name": name, "data_type": datatype, "dims": [classes]} for name in (served.output_name, PROBABILITIES)
        ],
    }


def _told(served: ServedModel, logits: FloatArray) -> bytes:
    """The answer as the audit log reads it: a label for each image."""
    labels = [served.labels[index] for index in logits.argmax(axis=1)]
    return encode_json({"results": [{"label": label} for label in labels], "model": served.name})


def _readiness_of(served: ServedModel) -> object:
    return {"name": name_of(served), "ready": True}


def _platform_of(served: ServedModel) -> str:
    return f"{served.name.runtime}_{served.format or 'none'}"


def _outcome_of(error: BaseException) -> tuple[str, int]:
    if isinstance(error, Refusal):
        return error.code, error.status
    if isinstance(error, (ClientGone, asyncio.CancelledError)):
        return ABORTED, 0
    return "internal", 500


def _json(answer: object) -> Response:
    return Response(encode_json(answer), content_type=JSON_TYPE)
