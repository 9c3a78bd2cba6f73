"""Requests that wait together are inferred together, on a thread of their own.

While a batch is being inferred the event loop reads and decodes the next ones; when it is
done, all that wait by then are the next batch. A batch is filled up with blank images to
a size that was run before the service was ready, so that no request meets a compilation.
A batch that fails is tried again image by image: nobody fails for a neighbour's sake.
"""

from __future__ import annotations

import asyncio
import logging
from collections import Counter, deque
from collections.abc import Callable, Iterable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from time import monotonic

import numpy as np
from prometheus_client.core import CounterMetricFamily, HistogramMetricFamily
from prometheus_client.metrics_core import Metric

from contract.arrays import FloatArray
from contract.timing import NS_PER_S
from serving.http.refusal import ClientGone, Refusal
from serving.inference.line import LONG_WAIT_NS, Line
from serving.observe.clock import PartClock
from serving.runtimes.base import LoadedModel
from serving.settings import ServiceSettings

logger = logging.getLogger("hemabench.serving")

WARM_UP_PREDICTIONS = 3  # per size: the first compiles, the others let pools and caches settle


def warmed_sizes(max_images: int) -> tuple[int, ...]:
    """The powers of two below ``max_images``, and itself."""
    return (*(1 << power for power in range((max_images - 1).bit_length())), max_images)


def predict_padded(model: LoadedModel, images: FloatArray, sizes: Sequence[int]) -> FloatArray:
    """Logits (n, classes) of ``images`` (n, side, side, 3), by predictions of none but ``sizes`` (ascending)."""
    chunks = [images[at : at + sizes[-1]] for at in range(0, len(images), sizes[-1])]
    logits = [model.predict(_padded(chunk, sizes))[: len(chunk)] for chunk in chunks]
    return logits[0] if len(logits) == 1 else np.concatenate(logits)


def _padded(images: FloatArray, sizes: Sequence[int]) -> FloatArray:
    size = next(size for size in sizes if size >= len(images))
    if size == len(images):
        return images
    blank = np.zeros((size - len(images), *images.shape[1:]), np.float32)
    return np.concatenate([images, blank])


@dataclass(slots=True, eq=False)
class _Waiting:
    """Images of one request, until their logits are there."""

    model: LoadedModel
    images: FloatArray
    clock: PartClock
    joined_s: float
    is_gone: Callable[[], bool]
    logits: asyncio.Future[FloatArray]


class Batches:
    """Batches of at most ``max_images`` of one model; the oldest waits at most ``delay_s`` for others to join it.

    A batch takes a turn of ``line``, so that nothing else runs a model meanwhile.
    """

    def __init__(self, line: Line, *, max_images: int, delay_s: float = 0.0) -> None:
        self.sizes = warmed_sizes(max_images)
        self._line = line
        self._delay_s = delay_s
        self._thread = ThreadPoolExecutor(max_workers=1, thread_name_prefix="infer")
        self._waiting: deque[_Waiting] = deque()
        self._arrived = asyncio.Event()
        self._serving: asyncio.Task[None] | None = None
        self._counts: Counter[int] = Counter()  # batches by how many images they held
        self._retried = 0

    def warm_up(self, models: Iterable[tuple[LoadedModel, int]]) -> None:
        """Run every size of every (model, resolution); blocks until done.

        What compiles does so in the calling thread. The one that will run them then takes each
        prediction for itself, so that a batch of a model that is served already goes in between.
        """
        for model, side in models:
            for size in self.sizes:
                blank = np.zeros((size, side, side, 3), np.float32)
                model.predict(blank)
                for _ in range(WARM_UP_PREDICTIONS):
                    self._thread.submit(model.predict, blank).result()

    async def predict(
        self, model: LoadedModel, images: FloatArray, clock: PartClock, is_gone: Callable[[], bool] = lambda: False
    ) -> FloatArray:
        """Logits (n, classes) of ``images``, with the parts ``queue`` and ``infer`` taken on ``clock``.

        Raises `Refusal` (504) past the line's deadline, `ClientGone` where nobody waits for
        them any more as ``is_gone`` says, and what the model raises for these images alone.
        """
        waiting = _Waiting(model, images, clock, monotonic(), is_gone, asyncio.get_running_loop().create_future())
        self._waiting.append(waiting)
        self._arrived.set()
        if self._serving is None:
            self._serving = asyncio.create_task(self._serve_all())
        return await waiting.logits

    async def _serve_all(self) -> None:
        try:
            while self._waiting:
                await self._serve_next()
        finally:
            self._serving = None

    async def _serve_next(self) -> None:
        try:
            async with self._line.turn():
                await self._let_more_join()
                if batch := self._take():
                    await self._infer(batch)
        except Refusal:  # the line's deadline: some of those who wait here have waited as long
            self._drop_late()

    async def _let_more_join(self) -> None:
        if self._delay_s == 0 or not self._waiting:
            return
        end_s = self._waiting[0].joined_s + self._delay_s
        while sum(len(waiting.images) for waiting in self._waiting) < self.sizes[-1]:
            self._arrived.clear()
            try:
                async with asyncio.timeout(end_s - monotonic()):
                    await self._arrived.wait()
            except TimeoutError:
                return

    def _take(self) -> list[_Waiting]:
        """The oldest and those that fit with it; the others keep their order."""
        self._drop_late()
        batch: list[_Waiting] = []
        left: deque[_Waiting] = deque()
        images = 0
        for waiting in self._waiting:
            joins = (
                waiting.model is batch[0].model and images + len(waiting.images) <= self.sizes[-1] if batch else True
            )
            if joins:
                batch.append(waiting)
                images += len(waiting.images)
            else:
                left.append(waiting)
        self._waiting = left
        return batch

    def _drop_late(self) -> None:
        """Without those who gave up or are gone, and those past the deadline, who are told."""
        kept: deque[_Waiting] = deque()
        now_s = monotonic()
        for waiting in self._waiting:
            if waiting.logits.done():
                continue
            waited_s = now_s - waiting.joined_s
            if waited_s * NS_PER_S > LONG_WAIT_NS and waiting.is_gone():
                waiting.logits.set_exception(ClientGone())
            elif waited_s > self._line.deadline_s:
                waiting.logits.set_exception(self._line.too_late())
            else:
                kept.append(waiting)
        self._waiting = kept

    async def _infer(self, batch: list[_Waiting]) -> None:
        for waiting in batch:
            waiting.clock.end("queue")
        images = sum(len(waiting.images) for waiting in batch)
        self._counts[images] += 1
        outcomes = await asyncio.get_running_loop().run_in_executor(self._thread, self._outcomes_of, batch)
        for waiting, outcome in zip(batch, outcomes, strict=True):
            waiting.clock.end("infer")
            waiting.clock.batch_images = images
            if waiting.logits.done():
                continue  # nobody waits for it any more
            if isinstance(outcome, Exception):
                waiting.logits.set_exception(outcome)
            else:
                waiting.logits.set_result(outcome)

    def _outcomes_of(self, batch: list[_Waiting]) -> list[FloatArray | Exception]:
        """In the thread: each one's logits, or what its own images made the model raise."""
        try:
            logits = predict_padded(batch[0].model, np.concatenate([each.images for each in batch]), self.sizes)
        except Exception as error:
            if len(batch) == 1:
                return [error]
            logger.warning("a batch of %d requests failed; each is tried alone", len(batch), exc_info=True)
            self._retried += 1
            return [outcome for each in batch for outcome in self._outcomes_of([each])]
        ends = np.cumsum([len(each.images) for each in batch])
        return list(np.split(logits, ends[:-1]))

    def collect(self) -> Iterator[Metric]:
        """For Prometheus: how many images the batches held, and how many batches were tried again."""
        images = HistogramMetricFamily("hemabench_batch_images", "Images that were inferred together.")
        images.add_metric((), self._cumulative(), sum(size * count for size, count in self._counts.items()))
        yield images
        yield CounterMetricFamily(
            "hemabench_batches_retried", "Batches that failed and were tried again one by one.", value=self._retried
        )

    def _cumulative(self) -> list[tuple[str, float]]:
        counts = dict(self._counts)  # one step, so that what is counted meanwhile does not matter
        buckets = [(str(size), float(sum(n for k, n in counts.items() if k <= size))) for size in self.sizes]
        return [*buckets, ("+Inf", float(sum(counts.values())))]


def batches_for(settings: ServiceSettings, line: Line) -> Batches | None:
    """What ``settings`` ask for; None where requests are inferred one by one."""
    if not settings.batching:
        return None
    return Batches(line, max_images=settings.batch_max_images, delay_s=settings.batch_delay_s)
