"""From settings and a data set to trained weights and the record of how they came to be."""

from __future__ import annotations

import resource
import time
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path

import numpy as np

from contract.architecture import spec_named
from contract.arrays import FloatArray
from contract.blood_cells import LABELS
from contract.calibration import Calibration, Distribution
from contract.dataset import Dataset, Split
from contract.environment import Environment, describe_environment
from contract.errors import DataUnavailable
from contract.manifest import Metric
from contract.progress import Progress
from contract.records.training import EVALUATED_SPLITS, NOT_CHECKED, EpochRecord, Predictions
from contract.weights import Weights, digest_of_weights
from train.batches import BatchStream, Stream
from train.calibration import calibrate, final_scores
from train.evaluate import accuracy, logits_of
from train.frameworks import Trainer, load_framework
from train.initial_weights import initial_weights
from train.replay import REPLAYED_STEPS, replayed
from train.settings import TrainSettings, learning_rate_at
from train.snapshots import Course, Snapshot, load_snapshot, require_same_course, save_snapshot
from train.teacher import TaughtStream, Teacher, require_same_cells


@dataclass(frozen=True, slots=True, kw_only=True)
class TrainingRecord:
    """What a training run was and did; ``metrics`` are of the final, averaged weights.

    ``reproducible`` says in words whether repeated steps gave the same weights. The data's
    source and description are the same at every resolution, and so is ``splits_sha256``, of its splits.
    """

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
    startup_ns: int = 0
    reproducible: str = NOT_CHECKED
    calibration: Calibration | None = None  # none in records from before there was any
    labels: tuple[str, ...] = LABELS
    splits_sha256: str = ""  # none in records from before it was kept

    def is_of(self, source: str, description: str, splits_sha256: str = "") -> bool:
        """Whether the run learnt from that data in that split, at whatever resolution.

        Weights of other data may have learnt from what is a test image here.
        """
        told = self.splits_sha256 and splits_sha256
        same_splits = self.splits_sha256 == splits_sha256 or not told
        return (self.data_source, self.data_description) == (source, description) and same_splits


@dataclass(frozen=True, slots=True)
class Trained:
    """Weights, their record, their answers to every validation and test image, and what their training images are."""

    weights: Weights
    record: TrainingRecord
    predictions: Mapping[Split, Predictions] = field(default_factory=dict)
    distribution: Distribution | None = None


class WeightAverage:
    """An exponential average of weights, which irons out the last steps' noise.

    It starts as a plain mean, so that early weights do not linger (Tarvainen and
    Valpola, arXiv 1703.01780, use the same ramp).
    """

    def __init__(self, decay: float, taken: int = 0, weights: Weights | None = None) -> None:
        self._decay = decay
        self.taken = taken
        self._mean: Weights = weights or {}

    def take(self, weights: Weights) -> None:
        """Fold ``weights`` into the average."""
        keep = min(self._decay, self.taken / (self.taken + 1))
        self.taken += 1
        self._mean = {
            name: array if not keep else (keep * self._mean[name] + (1 - keep) * array).astype(array.dtype)
            for name, array in weights.items()
        }

    @property
    def weights(self) -> Weights:
        """The average so far; empty before the first `take`."""
        return self._mean


@dataclass(frozen=True, slots=True)
class Start:
    """Where a run starts: weights of any resolution, or None for those that NumPy draws from the seed."""

    weights: Mapping[str, FloatArray] | None = None
    described: str = "random weights"


def train(
    settings: TrainSettings,
    dataset: Dataset,
    progress: Progress,
    start: Start | None = None,
    *,
    keep_at: Path | None = None,
    resume: bool = False,
    replay: bool = False,
    teacher: Teacher | None = None,
) -> Trained:
    """Train on the train split, watch validation, score the test split once at the end.

    After every epoch a snapshot is kept at ``keep_at``; with ``resume`` the run goes on
    from it, through the batches it would have seen, to the same result. With ``replay``
    the first steps are repeated at the end, to say whether they give the same weights.
    """
    stream = _stream(dataset, settings, teacher)
    run = _Run(settings, dataset, stream, progress, start or Start())
    if resume and keep_at is not None:
        run.go_on_from(keep_at)
    while len(run.epochs) < settings.epochs:
        run.run_epoch()
        if keep_at is not None:
            save_snapshot(keep_at, run.snapshot())
    run.trainer.replace_weights(run.average.weights)
    trained = _evaluated(run)
    if not replay:
        return trained
    progress(f"{settings.resolution_px} px: repeat {REPLAYED_STEPS} steps", 1, 1)
    said = replayed(settings, run.start_weights, stream, run.early_digest)
    return replace(trained, record=replace(trained.record, reproducible=said))


def _stream(dataset: Dataset, settings: TrainSettings, teacher: Teacher | None) -> Stream:
    plain = _plain_stream(dataset, settings, teacher)
    if teacher is None:
        return plain
    network = load_framework(settings.framework).Trainer(
        spec_named(settings.model, settings.classes), teacher.weights, settings
    )
    return TaughtStream(plain, network.predict, settings.teacher_share)


def _plain_stream(dataset: Dataset, settings: TrainSettings, teacher: Teacher | None) -> BatchStream:
    positions = dataset.indices("train")
    if len(positions) < settings.batch_images:
        raise DataUnavailable(
            f"{dataset.facts.source} has {len(positions)} training images, fewer than one batch of "
            f"{settings.batch_images}. Next: choose a larger data set or a smaller batch"
        )
    if teacher is not None:
        require_same_cells(dataset, teacher)
    larger = None if teacher is None else teacher.dataset.images[positions]
    labels = dataset.labels[positions]
    return BatchStream(dataset.images[positions], labels, len(dataset.facts.labels), settings, larger)


class _Run:
    """The state of a run that is under way."""

    def __init__(
        self, settings: TrainSettings, dataset: Dataset, stream: Stream, progress: Progress, start: Start
    ) -> None:
        spec, begun = spec_named(settings.model, settings.classes), time.perf_counter_ns()
        self.start_weights = start.weights or initial_weights(spec, settings.seed)
        self.settings, self.dataset, self.stream, self.progress = settings, dataset, stream, progress
        self.trainer: Trainer = load_framework(settings.framework).Trainer(spec, self.start_weights, settings)
        self.startup_ns = time.perf_counter_ns() - begun
        self.average = WeightAverage(settings.average_decay)
        self.epochs: list[EpochRecord] = []
        self.started_from = start.described
        self.first_step_ns = 0
        self.early_digest = ""  # of the weights after the steps that are repeated at the end
        self._steps = 0

    def go_on_from(self, path: Path) -> None:
        """Take up the run that left its snapshot at ``path``; raises `RunInvalid`."""
        snapshot = load_snapshot(path)
        course = snapshot.course
        require_same_course(snapshot, self.settings, self.dataset.facts.images_sha256, path)
        self.trainer.replace_weights(snapshot.weights)
        self.trainer.restore_optimizer(snapshot.optimizer)
        self.average = WeightAverage(self.settings.average_decay, course.averaged, snapshot.average)
        self.epochs, self.started_from = list(course.epochs), course.started_from
        self.first_step_ns, self._steps = course.first_step_ns, course.steps
        self.startup_ns, self.early_digest = course.startup_ns, course.early_digest

    def snapshot(self) -> Snapshot:
        """The run as it stands between two epochs."""
        course = Course(
            settings=self.settings,
            started_from=self.started_from,
            data_digest=self.dataset.facts.images_sha256,
            first_step_ns=self.first_step_ns,
            steps=self._steps,
            averaged=self.average.taken,
            epochs=tuple(self.epochs),
            startup_ns=self.startup_ns,
            early_digest=self.early_digest,
        )
        return Snapshot(
            course=course,
            weights=self.trainer.weights(),
            average=self.average.weights,
            optimizer=self.trainer.optimizer_state(),
        )

    def run_epoch(self) -> None:
        """One pass over the training images, then validation with the averaged weights."""
        losses: list[float] = []
        step_ns, begun = 0, time.perf_counter_ns()
        for batch in self.stream.epoch(len(self.epochs)):
            entered = time.perf_counter_ns()
            rate = learning_rate_at(self._steps, self.stream.steps_per_epoch, self.settings)
            losses.append(self.trainer.step(batch, rate))
            step_ns += (taken := time.perf_counter_ns() - entered)
            self._after_step(taken, losses[-1])
        loop_ns = time.perf_counter_ns() - begun
        self.epochs.append(
            EpochRecord(
                epoch=len(self.epochs),
                mean_loss=sum(losses) / len(losses),
                validation_accuracy=self._validate(),
                images=len(losses) * self.settings.batch_images,
                step_ns=step_ns,
                loop_ns=loop_ns,
            )
        )

    def _after_step(self, taken_ns: int, loss: float) -> None:
        self.first_step_ns = self.first_step_ns or taken_ns
        self._steps += 1
        if self._steps == REPLAYED_STEPS:
            self.early_digest = digest_of_weights(self.trainer.weights())
        if self._steps % self.settings.average_every_steps == 0:
            self.average.take(self.trainer.weights())
        validated = f"  validation {self.epochs[-1].validation_accuracy:.2%}" if self.epochs else ""
        what = f"{self.settings.resolution_px} px, epoch {len(self.epochs) + 1}/{self.settings.epochs}"
        total = self.settings.epochs * self.stream.steps_per_epoch
        self.progress(f"{what}  loss {loss:.3f}{validated}", self._steps, total)

    def _validate(self) -> float:
        if self._steps % self.settings.average_every_steps:
            self.average.take(self.trainer.weights())
        current = self.trainer.weights()
        self.trainer.replace_weights(self.average.weights)
        score = accuracy(logits_of(self.trainer.predict, self.dataset, "validation"), self.dataset, "validation")
        self.trainer.replace_weights(current)
        return score.value


def _evaluated(run: _Run) -> Trained:
    """The final weights, scored; the only place where the test split is looked at."""
    dataset, peak_memory_bytes = run.dataset, resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024
    predictions = {split: _predictions(run, split) for split in EVALUATED_SPLITS}
    validation, test = (predictions[split].logits for split in EVALUATED_SPLITS)
    calibration, distribution = calibrate(dataset, validation)
    metrics = final_scores(calibration, distribution, validation, test, dataset)
    record = _record(run, metrics, calibration, peak_memory_bytes)
    return Trained(run.average.weights, record, predictions, distribution)


def _predictions(run: _Run, split: Split) -> Predictions:
    positions = run.dataset.indices(split)
    logits = logits_of(run.trainer.predict, run.dataset, split)
    return Predictions(positions.astype(np.int64), run.dataset.labels[positions], logits)


def _record(run: _Run, metrics: tuple[Metric, ...], calibration: Calibration, peak_memory_bytes: int) -> TrainingRecord:
    facts = run.dataset.facts
    return TrainingRecord(
        settings=run.settings,
        started_from=run.started_from,
        data_source=facts.source,
        data_description=facts.description,
        data_digest=facts.images_sha256,
        splits_sha256=facts.splits_sha256,
        labels=facts.labels,
        environment=describe_environment(),
        startup_ns=run.startup_ns,
        first_step_ns=run.first_step_ns,
        peak_memory_bytes=peak_memory_bytes,
        epochs=tuple(run.epochs),
        metrics=metrics,
        calibration=calibration,
    )
