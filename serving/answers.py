"""Logits -> probabilities -> the bytes of an answer, of an error, and of their headers."""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import NamedTuple

import msgspec

from contract.arrays import FloatArray
from contract.blood_cells import NOTICE
from contract.manifest import Metric
from contract.parity import Parity
from contract.timing import NS_PER_MS
from serving.http.refusal import Refusal

encode_json = msgspec.json.Encoder().encode
decode_json = msgspec.json.decode


class Distance(NamedTuple):
    """How unlike the training images an image is, and from where on it is out of distribution."""

    value: float
    threshold: float


class ModelName(msgspec.Struct, frozen=True):
    """Which artifact answered, on what."""

    name: str
    runtime: str
    resolution: int
    digest: str


class Prediction(msgspec.Struct, frozen=True):
    """What an answer says but for the timing, which is known last.

    ``in_distribution`` is false where ``distance`` (from the training images) is above
    ``distance_threshold``: the label is then of an image that the model knows nothing of.
    All three are null where the artifact holds no distribution.
    """

    label: str
    class_index: int
    probabilities: dict[str, float]
    model: ModelName
    request_id: str
    calibrated: bool  # whether a temperature was fitted, so that the probabilities may be read as such
    in_distribution: bool | None = None
    distance: float | None = None
    distance_threshold: float | None = None
    notice: str = NOTICE


class Answer(Prediction, frozen=True, kw_only=True):
    """The whole answer, as a client reads it. ``timing_ms`` has the parts and their ``total``."""

    timing_ms: dict[str, float]


class Problem(msgspec.Struct, frozen=True):
    """One error; ``code`` is stable, ``message`` is for people."""

    code: str
    message: str
    request_id: str


class ErrorAnswer(msgspec.Struct, frozen=True):
    """Every error body."""

    error: Problem


class ProtocolErrorAnswer(msgspec.Struct, frozen=True):
    """Every error body of the Open Inference Protocol, whose ``error`` is text; our own fields stand beside it."""

    error: str
    code: str
    request_id: str


class ImageLabel(msgspec.Struct, frozen=True, tag_field="outcome", tag="answer"):
    """What is said of one image among several, but for the timing, which is known last."""

    label: str
    class_index: int
    probabilities: dict[str, float]
    calibrated: bool
    in_distribution: bool | None = None
    distance: float | None = None
    distance_threshold: float | None = None


class ImageAnswer(ImageLabel, frozen=True, kw_only=True):
    """One image among several that was classified."""

    timing_ms: dict[str, float]


class ImageError(msgspec.Struct, frozen=True, tag_field="outcome", tag="error"):
    """One image among several that was not; its neighbours do not notice."""

    error: Problem


class ManyAnswers(msgspec.Struct, frozen=True):
    """The answer to several images: one result for each, in the order sent.

    ``timing_ms`` has the sums of the parts over all images, and their ``total``.
    """

    results: list[ImageAnswer | ImageError]
    model: ModelName
    request_id: str
    timing_ms: dict[str, float]
    notice: str = NOTICE


class ModelFacts(msgspec.Struct, frozen=True, kw_only=True):
    """One loaded model with its evidence. ``answered`` counts the images that it classified."""

    name: str
    resolution: int
    digest: str
    format: str | None
    weights_digest: str | None
    trained_on: str | None
    versions: dict[str, str] | None
    parity: Parity | None
    metrics: tuple[Metric, ...]
    temperature: float
    labels: tuple[str, ...]
    answered: int
    distance_threshold: float | None = None


class ServiceFacts(msgspec.Struct, frozen=True):
    """The process that answers, and its classifications by how they ended."""

    pid: int
    requests: dict[str, int]


class LoadedModels(msgspec.Struct, frozen=True):
    """Every loaded model, what really runs it, and what was counted."""

    models: list[ModelFacts]
    runtime: dict[str, str]
    service: ServiceFacts
    notice: str = NOTICE


class Index(msgspec.Struct, frozen=True):
    """What there is to ask for."""

    endpoints: list[str]
    service: str = "hemabench"
    notice: str = NOTICE


def probabilities_of(logits: FloatArray, temperature: float) -> list[float]:
    """softmax(logits / temperature) of one image's logits (classes,), in float64.

    Raises `Refusal` (500 ``model_output_invalid``) where a logit is not finite: a NaN
    is never an answer. Plain Python: at eight classes it is faster than NumPy.
    """
    values = [logit / temperature for logit in logits.tolist()]
    if not all(map(math.isfinite, values)):
        raise Refusal("the model answered with a number that is not finite", code="model_output_invalid", status=500)
    highest = max(values)
    weights = [math.exp(value - highest) for value in values]
    total = sum(weights)
    return [weight / total for weight in weights]


def predict_label(
    logits: FloatArray,
    temperature: float,
    labels: tuple[str, ...],
    model: ModelName,
    request_id: str,
    distance: Distance | None = None,
) -> Prediction:
    """The answer to one image, from its logits (classes,) and its distance from the training images."""
    probabilities = probabilities_of(logits, temperature)
    index = probabilities.index(max(probabilities))
    return Prediction(
        label=labels[index],
        class_index=index,
        probabilities=dict(zip(labels, probabilities, strict=True)),
        model=model,
        request_id=request_id,
        calibrated=temperature != 1.0,
        in_distribution=None if distance is None else distance.value <= distance.threshold,
        distance=None if distance is None else distance.value,
        distance_threshold=None if distance is None else distance.threshold,
    )


def with_timing(encoded: bytes, parts_ns: Mapping[str, int]) -> bytes:
    """An encoded `Prediction` turned into an `Answer` by the parts of its time.

    Spliced in, because the encoding itself is one of the parts.
    """
    timing = encode_json({name: duration / NS_PER_MS for name, duration in parts_ns.items()})
    return b'%b,"timing_ms":%b}' % (encoded[:-1], timing)


def error_body(code: str, message: str, request_id: str) -> bytes:
    """The one shape of every error."""
    return encode_json(ErrorAnswer(Problem(code, message, request_id)))


def protocol_error_body(code: str, message: str, request_id: str) -> bytes:
    """The shape of an error under ``/v2``."""
    return encode_json(ProtocolErrorAnswer(message, code, request_id))
