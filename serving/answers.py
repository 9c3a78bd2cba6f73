"""Logits -> probabilities -> the bytes of an answer, of an error, and of their headers."""

from __future__ import annotations

import math
from collections.abc import Mapping

import msgspec

from contract.arrays import FloatArray
from contract.blood_cells import NOTICE
from contract.timing import NS_PER_MS
from serving.refusal import Refusal

encode_json = msgspec.json.Encoder().encode
decode_json = msgspec.json.decode


class ModelName(msgspec.Struct, frozen=True):
    """Which artifact answered, on what."""

    name: str
    runtime: str
    resolution: int
    digest: str


class Prediction(msgspec.Struct, frozen=True):
    """What an answer says but for the timing, which is known last."""

    label: str
    class_index: int
    probabilities: dict[str, float]
    model: ModelName
    request_id: str
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
    logits: FloatArray, temperature: float, labels: tuple[str, ...], model: ModelName, request_id: str
) -> Prediction:
    """The answer to one image, from its logits (classes,)."""
    probabilities = probabilities_of(logits, temperature)
    index = probabilities.index(max(probabilities))
    return Prediction(
        label=labels[index],
        class_index=index,
        probabilities=dict(zip(labels, probabilities, strict=True)),
        model=model,
        request_id=request_id,
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
