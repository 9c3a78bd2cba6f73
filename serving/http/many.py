"""Several images in one request: one result or one error for each, in the order sent.

They share one place in the line. Without batching they take a turn each, so that the requests of
others go in between; with it they wait together and are inferred together. Only one of them is decoded
at a time. Each counts as a classification of its own.
"""

from __future__ import annotations

import asyncio
import logging
from collections import Counter
from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass, field

import msgspec

from contract.blood_cells import NOTICE
from contract.errors import InvalidImage
from contract.timing import PARTS, TOTAL
from serving.answers import ImageError, ImageLabel, ModelName, Prediction, Problem, encode_json, with_timing
from serving.http.bodies import missing_image
from serving.http.refusal import ClientGone, Refusal
from serving.observe.clock import PartClock
from serving.observe.metrics import ABORTED, Measurements

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
    at_once: int = 1,
) -> tuple[bytes, dict[str, int]]:
    """The encoded `ManyAnswers` but for its timing, and the timing: sums over all images.

    The caller has counted the first image as started and stopped ``clock`` after reading.
    ``at_once`` images wait for the model together. One that waited past the line's deadline
    takes those behind it with it: they would only wait as long again.
    """
    form = _Form(predict, str(model.resolution), request_id, measurements, clock, clock.ended_ns)
    measurements.started -= 1  # each of them counts itself
    for first in range(0, len(images), at_once):
        await form.add(images[first : first + at_once])
    encoded = encode_json(_Envelope([msgspec.Raw(result.encoded) for result in form.results], model, request_id))
    last = form.last.following(form.ended_ns)
    last.end("encode")
    return encoded, _summed([clock.parts_ns, *form.parts_ns, last.parts_ns])


@dataclass(slots=True)
class _Form:
    """The images of one request so far: how each ended, and the clock of the last."""

    predict: Predict
    resolution: str
    request_id: str
    measurements: Measurements
    last: PartClock
    ended_ns: int  # when all of them so far had ended
    late: Refusal | None = None
    results: list[_Result] = field(default_factory=list)
    parts_ns: list[dict[str, int]] = field(default_factory=list)

    async def add(self, images: Sequence[bytes]) -> None:
        """The results of the next ``images``, which wait for the model together."""
        self.measurements.started += 1  # before it gives way: who gives up meanwhile counts as one that ended
        if self.results:
            await asyncio.sleep(0)  # an image that fails before its turn gives way to others as well
        began_ns = self.ended_ns
        self.measurements.started += len(images) - 1
        results = [await self._next(images[0], began_ns)] if len(images) == 1 else await self._together(images)
        for result in results:
            _count(result, self.resolution, self.measurements)
            self.late = self.late or _deadline_of(result)
        self.results += results
        together = len(results) > 1
        self.parts_ns.append(_shared(results, self.ended_ns - began_ns) if together else results[0].parts_ns)

    async def _together(self, images: Sequence[bytes]) -> list[_Result]:
        began_ns = self.ended_ns
        tasks = [asyncio.create_task(self._next(image, began_ns)) for image in images]
        try:
            return await asyncio.gather(*tasks)
        except BaseException:
            for task in tasks:
                task.cancel()
            await asyncio.gather(*tasks, return_exceptions=True)
            for _ in images[1:]:  # the request itself counts how one of them ended
                self.measurements.finished(self.resolution, ABORTED, 0)
            raise

    async def _next(self, image: bytes, began_ns: int) -> _Result:
        self.last = clock = self.last.following(began_ns)
        result = await _result_of(image, self.predict, self.request_id, clock, self.late)
        self.ended_ns = max(self.ended_ns, clock.ended_ns)
        return result


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
    label = ImageLabel(
        prediction.label,
        prediction.class_index,
        prediction.probabilities,
        prediction.calibrated,
        prediction.in_distribution,
        prediction.distance,
        prediction.distance_threshold,
    )
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


def _shared(results: Sequence[_Result], duration_ns: int) -> dict[str, int]:
    """The parts of images that waited together, which took ``duration_ns`` and not the sum of all their waits.

    One is decoded after the other; inference and encoding are as long as the longest, and they waited for the rest.
    """
    parts_ns = {part: sum(result.parts_ns.get(part, 0) for result in results) for part in ("decode", "preprocess")}
    parts_ns |= {part: max(result.parts_ns.get(part, 0) for result in results) for part in ("infer", "encode")}
    return parts_ns | {"queue": max(0, duration_ns - sum(parts_ns.values()))}


def _summed(clocks: Sequence[dict[str, int]]) -> dict[str, int]:
    """The parts added up, in the order of one request, with their total."""
    sums: Counter[str] = Counter()
    for parts_ns in clocks:
        sums.update({part: duration for part, duration in parts_ns.items() if part != TOTAL})
    ordered = {part: sums.pop(part, 0) for part in PARTS} | sums
    return ordered | {TOTAL: sum(ordered.values())}
