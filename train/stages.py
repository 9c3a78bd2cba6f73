"""Resolution by resolution: each network starts from the weights of the resolution below it."""

from __future__ import annotations

from collections.abc import Collection, Iterator
from dataclasses import dataclass, replace
from pathlib import Path

from contract.blood_cells import LABELS
from contract.dataset import Dataset, DatasetFacts
from contract.errors import InvalidSettings
from contract.progress import Progress
from contract.weights import digest_of_weights
from train.checkpoints import Checkpoint, checkpoint_path, load_checkpoint, save_checkpoint
from train.dataset import DataSettings, facts_of, verified_datasets
from train.settings import Precision, TrainSettings, recipe_for, taught
from train.snapshots import snapshot_path
from train.teacher import Teacher
from train.training import Start, Trained, train


@dataclass(frozen=True, slots=True, kw_only=True)
class TrainingPlan:
    """What to train and where to keep it. ``epochs`` None takes the recipe's.

    With ``from_below`` a network starts from the checkpoint of the next lower resolution in
    ``checkpoints`` that was trained on the same data and split, if there is one; else from
    random weights. ``start`` is a checkpoint to start from instead, of whatever resolution;
    ``teacher`` is one of a larger resolution that a network starts from and is taught by: both
    of the same data and split. With ``resume`` resolutions that were
    left unfinished go on where they were stopped.
    """

    model: str = "hemanet"
    framework: str = "pytorch"
    seed: int = 0
    epochs: int | None = None
    precision: Precision = "float32"
    compiled: bool = False
    from_below: bool = True
    start: Path | None = None
    teacher: Path | None = None
    resume: bool = False
    checkpoints: Path = Path("exported_models/checkpoints")

    def settings_at(self, resolution_px: int, classes: int = len(LABELS)) -> TrainSettings:
        """The recipe of that resolution with this plan's choices, for so many classes."""
        recipe = recipe_for(resolution_px, self.model)
        if self.teacher is not None:
            recipe = taught(recipe)
        epochs = self.epochs or recipe.epochs
        return replace(
            recipe,
            model=self.model,
            classes=classes,
            framework=self.framework,
            seed=self.seed,
            epochs=epochs,
            warmup_epochs=min(recipe.warmup_epochs, epochs / 4),
            precision=self.precision,
            compiled=self.compiled,
        )


def train_resolutions(
    plan: TrainingPlan, datasets: dict[int, Dataset], progress: Progress, teacher: Teacher | None = None
) -> Iterator[tuple[Path, Trained]]:
    """Train each resolution of ``datasets``, lowest first; yields a checkpoint's path as soon as it is written."""
    for resolution_px in sorted(datasets):
        path = checkpoint_path(plan.checkpoints, plan.model, resolution_px)
        yield path, _train_one(plan, path, datasets[resolution_px], progress, teacher)


def load_teacher(plan: TrainingPlan, data: DataSettings, resolution_px: int, progress: Progress) -> Teacher | None:
    """The plan's teacher for a network of ``resolution_px``; raises as `require_teacher` does."""
    if plan.teacher is None:
        return None
    require_teacher(plan, data, [resolution_px])
    checkpoint = load_checkpoint(plan.teacher)
    side = checkpoint.record.settings.resolution_px
    dataset = verified_datasets(data, [side], progress)[side]
    _require_of_the_same(plan.teacher, checkpoint, dataset.facts)
    return Teacher(checkpoint.weights, dataset, f"the {side} px weights {digest_of_weights(checkpoint.weights)[:12]}")


def require_teacher(plan: TrainingPlan, data: DataSettings, resolutions_px: Collection[int]) -> None:
    """Raise `InvalidSettings` unless the plan's teacher, if it has one, may teach all ``resolutions_px``.

    It is the same network, its images are larger, and it was trained on the same ``data`` in the
    same split: a teacher that learnt from the pupil's test images would give them away.
    """
    if plan.teacher is None:
        return
    checkpoint, largest = load_checkpoint(plan.teacher), max(resolutions_px)
    settings = checkpoint.record.settings
    if settings.resolution_px <= largest or settings.model != plan.model:
        raise InvalidSettings(
            f"{plan.teacher} is a {settings.model} of {settings.resolution_px} px and cannot teach a {plan.model} of "
            f"{largest} px: a teacher is the same network at a larger resolution"
        )
    _require_of(plan.teacher, checkpoint, data.source, facts_of(data).description)


def require_start(plan: TrainingPlan, data: DataSettings) -> None:
    """Raise `InvalidSettings` unless a network may start from the plan's checkpoint, if it names one.

    It is the same network, trained on the same ``data`` in the same split, and no teacher is named: a
    taught network starts from its teacher.
    """
    if plan.start is None:
        return
    if plan.teacher is not None:
        raise InvalidSettings(f"a taught network starts from its teacher, not from {plan.start}. Next: name one")
    checkpoint = load_checkpoint(plan.start, calibrated=False)
    if checkpoint.record.settings.model != plan.model:
        raise InvalidSettings(f"{plan.start} is a {checkpoint.record.settings.model}, and no start for a {plan.model}")
    _require_of(plan.start, checkpoint, data.source, facts_of(data).description)


def _require_of_the_same(path: Path, checkpoint: Checkpoint, facts: DatasetFacts) -> None:
    _require_of(path, checkpoint, facts.source, facts.description, facts.splits_sha256)


def _require_of(path: Path, checkpoint: Checkpoint, source: str, description: str, splits_sha256: str = "") -> None:
    """Raise `InvalidSettings` where the weights in ``path`` may have learnt from what are test images here."""
    if not checkpoint.record.is_of(source, description, splits_sha256):
        raise InvalidSettings(
            f"{path} was trained on {checkpoint.record.data_description} and may know the test images of "
            f"{description}. Next: name one that was trained on the same data and split"
        )


def _train_one(
    plan: TrainingPlan, path: Path, dataset: Dataset, progress: Progress, teacher: Teacher | None
) -> Trained:
    unfinished, resolution_px = snapshot_path(path), dataset.facts.resolution_px
    settings = plan.settings_at(resolution_px, len(dataset.facts.labels))
    start = _start(plan, dataset.facts, teacher)
    progress(f"{resolution_px} px: starts from {start.described}", 0, 1)
    resume = plan.resume and unfinished.is_file()
    trained = train(settings, dataset, progress, start, keep_at=unfinished, resume=resume, replay=True, teacher=teacher)
    save_checkpoint(path, trained)
    unfinished.unlink()
    return trained


def ensure_checkpoints(
    plan: TrainingPlan, data: DataSettings, resolutions_px: Collection[int], progress: Progress, *, anew: bool = False
) -> list[Path]:
    """Train the resolutions that have no checkpoint, or all of them ``anew``; returns what was written."""
    wanted = [px for px in resolutions_px if anew or not checkpoint_path(plan.checkpoints, plan.model, px).is_file()]
    if not wanted:
        return []
    return [path for path, _ in train_resolutions(plan, verified_datasets(data, wanted, progress), progress)]


def _start(plan: TrainingPlan, facts: DatasetFacts, teacher: Teacher | None) -> Start:
    if teacher is not None:
        return Start(teacher.weights, f"{teacher.described}, and taught by them")
    if plan.start is not None:
        given = load_checkpoint(plan.start, calibrated=False)
        _require_of_the_same(plan.start, given, facts)
        return _start_from(given)
    at_random = f"random weights, seed {plan.seed}"
    below = sorted((px for px in _trained_resolutions(plan) if px < facts.resolution_px), reverse=True)
    if not plan.from_below or not below:
        return Start(described=at_random)
    refused = []
    for px in below:
        found = load_checkpoint(checkpoint_path(plan.checkpoints, plan.model, px), calibrated=False)
        if _learnt_from(facts, found):
            return _start_from(found)
        refused.append(f"the {px} px weights, trained on {found.record.data_description}")
    return Start(described=f"{at_random}; not {' nor '.join(refused)}: that may hold test images of this run")


def _start_from(checkpoint: Checkpoint) -> Start:
    side, digest = checkpoint.record.settings.resolution_px, digest_of_weights(checkpoint.weights)
    return Start(checkpoint.weights, f"the {side} px weights {digest[:12]}")


def _learnt_from(facts: DatasetFacts, checkpoint: Checkpoint) -> bool:
    return checkpoint.record.is_of(facts.source, facts.description, facts.splits_sha256)


def _trained_resolutions(plan: TrainingPlan) -> Iterator[int]:
    for path in plan.checkpoints.glob(f"{plan.model}-*px.safetensors"):
        side = path.stem.removeprefix(f"{plan.model}-").removesuffix("px")
        if side.isdigit():
            yield int(side)
