"""From settings and a data set to trained weights and the record of how they came to be."""

from __future__ import annotations

import resource
import time
from collections.abc import Mapping
from dataclasses import dataclass

from contract.architecture import spec_named
from contract.arrays import FloatArray
from contract.dataset import Dataset
from contract.environment import Environment, describe_environment
from contract.errors import DataUnavailable
from contract.manifest import Metric
from contract.progress import Progress
from contract.weights import Weights
from train.batches import BatchStream
from train.evaluate import accuracy, logits_of, recalls
from train.frameworks import Trainer, load_framework
from train.initial_weights import initial_weights
from train.settings import TrainSettings, learning_rate_at


@dataclass(frozen=True, slots=True, kw_only=True)
class EpochRecord:
    """One epoch. ``step_ns`` is the time inside the framework's steps, ``loop_ns`` includes waiting for batches."""

    epoch: int
    mean_loss: float
    validation_accuracy: float
    images: int
    step_ns: int
    loop_ns: int


@dataclass(frozen=True, slots=True, kw_only=True)
class TrainingRecord:
    """What a training run was and did; ``metrics`` are of the final, averaged weights."""

    settings: TrainSettings
    started_from: str
    data_source: str
    data_description: str
    data_digest: str
    environment: Environment
    first_step_ns: int
    peak_memory_bytes: int
    epochs: tuple[EpochRecord, ...]
    metrics: tuple[Metric, ...]


@dataclass(frozen=True, slots=True)
class Trained:
    """Weights and their record."""

    weights: Weights
    record: TrainingRecord


class WeightAverage:
    """An exponential average of weights, which irons out the last steps' noise.

    It starts as a plain mean, so that early weights do not linger (Tarvainen and
    Valpola, arXiv 1703.01780, use the same ramp).
    """

    def __init__(self, decay: float) -> None:
        self._decay, self._taken = decay, 0
        self._mean: Weights = {}

    def take(self, weights: Weights) -> None:
        """Fold ``weights`` into the average."""
        keep = min(self._decay, self._taken / (self._taken + 1))
        self._taken += 1
        self._mean = {
            name: array if not keep else (keep * self._mean[name] + (1 - keep) * array).astype(array.dtype)
            for name, array in weights.items()
        }

    @property
    def weights(self) -> Weights:
        """The average so far; empty before the first `take`."""
        return self._mean


def train(
    settings: TrainSettings,
    dataset: Dataset,
    progress: Progress,
    start: Mapping[str, FloatArray] | None = None,
    started_from: str = "random",
) -> Trained:
    """Train on the train split, watch validation, score the test split once at the end.

    ``start`` are weights to go on from, of any resolution; without them NumPy draws
    them from the seed.
    """
    spec = spec_named(settings.model)
    stream = _stream(dataset, settings)
    trainer = load_framework(settings.framework).Trainer(spec, start or initial_weights(spec, settings.seed), settings)
    course = _Course(settings, dataset, stream, trainer, progress)
    epochs = tuple(course.run_epoch(number) for number in range(settings.epochs))
    trainer.replace_weights(course.average.weights)
    return Trained(course.average.weights, _record(course, epochs, started_from))


def _stream(dataset: Dataset, settings: TrainSettings) -> BatchStream:
    positions = dataset.indices("train")
    if len(positions) < settings.batch_images:
        raise DataUnavailable(
            f"{dataset.facts.source} has {len(positions)} training images, fewer than one batch of "
            f"{settings.batch_images}. Next: choose a larger data set or a smaller batch"
        )
    return BatchStream(dataset.images[positions], dataset.labels[positions], len(dataset.facts.labels), settings)


class _Course:
    """The state of a run that is under way."""

    def __init__(
        self, settings: TrainSettings, dataset: Dataset, stream: BatchStream, trainer: Trainer, progress: Progress
    ) -> None:
        self.settings, self.dataset, self.stream, self.trainer = settings, dataset, stream, trainer
        self.progress = progress
        self.average = WeightAverage(settings.average_decay)
        self.first_step_ns = 0
        self._step = 0
        self._validated = 0.0

    def run_epoch(self, number: int) -> EpochRecord:
        """One pass over the training images, then validation with the averaged weights."""
        losses: list[float] = []
        step_ns, begun = 0, time.perf_counter_ns()
        for batch in self.stream.epoch(number):
            entered = time.perf_counter_ns()
            rate = learning_rate_at(self._step, self.stream.steps_per_epoch, self.settings)
            losses.append(self.trainer.step(batch, rate))
            step_ns += (taken := time.perf_counter_ns() - entered)
            self._after_step(number, taken, losses[-1])
        loop_ns = time.perf_counter_ns() - begun
        self._validated = self._validate()
        return EpochRecord(
            epoch=number,
            mean_loss=sum(losses) / len(losses),
            validation_accuracy=self._validated,
            images=len(losses) * self.settings.batch_images,
            step_ns=step_ns,
            loop_ns=loop_ns,
        )

    def _after_step(self, epoch: int, taken_ns: int, loss: float) -> None:
        self.first_step_ns = self.first_step_ns or taken_ns
        self._step += 1
        if self._step % self.settings.average_every_steps == 0:
            self.average.take(self.trainer.weights())
        what = f"epoch {epoch + 1}/{self.settings.epochs}  loss {loss:.3f}  validation {self._validated:.2%}"
        self.progress(what, self._step, self.settings.epochs * self.stream.steps_per_epoch)

    def _validate(self) -> float:
        if self._step % self.settings.average_every_steps:
            self.average.take(self.trainer.weights())
        current = self.trainer.weights()
        self.trainer.replace_weights(self.average.weights)
        score = accuracy(logits_of(self.trainer.predict, self.dataset, "validation"), self.dataset, "validation")
        self.trainer.replace_weights(current)
        return score.value


def _record(course: _Course, epochs: tuple[EpochRecord, ...], started_from: str) -> TrainingRecord:
    dataset, facts = course.dataset, course.dataset.facts
    validation = logits_of(course.trainer.predict, dataset, "validation")
    test = logits_of(course.trainer.predict, dataset, "test")
    return TrainingRecord(
        settings=course.settings,
        started_from=started_from,
        data_source=facts.source,
        data_description=facts.description,
        data_digest=facts.images_sha256,
        environment=describe_environment(),
        first_step_ns=course.first_step_ns,
        peak_memory_bytes=resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024,
        epochs=epochs,
        metrics=(
            accuracy(validation, dataset, "validation"),
            accuracy(test, dataset, "test"),
            *recalls(test, dataset, "test"),
        ),
    )
