"""Several images in one request: one result or one error for each, in the order sent.

They share one place in the line and take a turn each, so that the requests of others go in
between, and only one of them is decoded at a time. Each counts as a classification of its own.
"""

from __future__ import annotations

import asyncio
import logging
from collections import Counter
from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass

import msgspec

from contract.blood_cells import NOTICE
from contract.errors import InvalidImage
from contract.timing import PARTS, TOTAL
from serving.answers import ImageError, ImageLabel, ModelName, Prediction, Problem, encode_json, with_timing
from serving.bodies import missing_image
from serving.clock import PartClock
from serving.metrics import Measurements
from serving.refusal import ClientGone, Refusal

logger = logging.getLogger("hemabench.serving")

Predict = Callable[[bytes, PartClock], Awaitable[Prediction]]


class _Envelope(msgspec.Struct, frozen=True):
    """`ManyAnswers` of results that are encoded already, before its timing is known."""

    results: list[msgspec.Raw]
    model: ModelName
    request_id: str
    notice: str = NOTICE


@dataclass(frozen=True, slots=True)
class _Result:
    """How one image ended. ``refusal`` is None for an answer."""

    encoded: bytes
    parts_ns: dict[str, int]
    refusal: Refusal | InvalidImage | None = None


async def classify_each(
    images: Sequence[bytes],
    predict: Predict,
    model: ModelName,
    request_id: str,
    clock: PartClock,
    measurements: Measurements,
) -> tuple[bytes, dict[str, int]]:
    """The encoded `ManyAnswers` but for its timing, and the timing: sums over all images.

    The caller has counted the first image as started and stopped ``clock`` after reading.
    An image that waited past the line's deadline takes those behind it with it: they
    would only wait as long again.
    """
    results: list[_Result] = []
    late: Refusal | None = None
    last = clock
    for number, image_bytes in enumerate(images):
        if number:
            measurements.started += 1
            await asyncio.sleep(0)  # an image that fails before its turn gives way to others as well
        last = last.following()
        result = await _result_of(image_bytes, predict, request_id, last, late)
        _count(result, str(model.resolution), measurements)
        late = late or _deadline_of(result)
        results.append(result)
    encoded = encode_json(_Envelope([msgspec.Raw(result.encoded) for result in results], model, request_id))
    last = last.following()
    last.end("encode")
    return encoded, _summed([clock.parts_ns, *(result.parts_ns for result in results), last.parts_ns])


async def _result_of(
    image_bytes: bytes, predict: Predict, request_id: str, clock: PartClock, late: Refusal | None
) -> _Result:
    try:
        if late is not None:
            raise late
        if not image_bytes:
            raise missing_image()
        prediction = await predict(image_bytes, clock)
    except ClientGone:
        raise
    except (Refusal, InvalidImage) as refusal:
        return _refused(refusal, request_id, clock)
    except Exception:  # as the door does: logged whole, answered without a word of it
        logger.exception("an image of request %s failed", request_id)
        return _refused(_INTERNAL, request_id, clock)
    label = ImageLabel(prediction.label, prediction.class_index, prediction.probabilities, prediction.calibrated)
    encoded = encode_json(label)
    clock.end("encode")
    parts_ns = clock.with_total()
    return _Result(with_timing(encoded, parts_ns), parts_ns)


_INTERNAL = Refusal("something went wrong here; the log has it under this id", code="internal", status=500)


def _refused(refusal: Refusal | InvalidImage, request_id: str, clock: PartClock) -> _Result:
    clock.end(next(part for part in PARTS[1:] if part not in clock.parts_ns))  # the part in which it failed
    encoded = encode_json(ImageError(Problem(refusal.code, str(refusal), request_id)))
    return _Result(encoded, clock.with_total(), refusal)


def _deadline_of(result: _Result) -> Refusal | None:
    refusal = result.refusal
    return refusal if isinstance(refusal, Refusal) and refusal.code == "deadline" else None


def _count(result: _Result, resolution: str, measurements: Measurements) -> None:
    if result.refusal is None:
        measurements.answered(resolution, result.parts_ns)
    else:
        measurements.finished(resolution, result.refusal.code, result.refusal.status)


def _summed(clocks: Sequence[dict[str, int]]) -> dict[str, int]:
    """The parts added up, in the order of one request, with their total."""
    sums: Counter[str] = Counter()
    for parts_ns in clocks:
        sums.update({part: duration for part, duration in parts_ns.items() if part != TOTAL})
    ordered = {part: sums.pop(part, 0) for part in PARTS} | sums
    return ordered | {TOTAL: sum(ordered.values())}
