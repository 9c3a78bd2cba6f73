"""Several training runs that are to be compared: every framework, seed and resolution, each in a fresh process.

A process holds one framework, and one run: a second run in it would find compiled
steps and memory of the first, and its time to the first step and its peak would lie.
"""

from __future__ import annotations

import argparse
from collections.abc import Iterator
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from pathlib import Path

import msgspec

from contract.children import answer_parent, run_child, tell_parent
from contract.dataset import Dataset
from contract.errors import InvalidSettings, RunInvalid
from contract.progress import Progress, part_of
from contract.records.seal import open_seal, seal_folder
from contract.records.training import (
    TRAINING_FILE,
    TrainingRun,
    load_training_record,
    run_name,
    save_training_run,
)
from contract.storage import require_room
from contract.weights import digest_of_weights
from train.dataset import DataSettings, choose_source, facts_of, prepare_datasets, verified_datasets
from train.frameworks import FRAMEWORKS
from train.stages import TrainingPlan, load_teacher, require_start, require_teacher, train_resolutions
from train.training import Trained

ROOM_BYTES = 50_000_000  # of a run's record, its checkpoints and a snapshot to resume from


@dataclass(frozen=True, slots=True, kw_only=True)
class CampaignSettings:
    """What to train: ``plan`` for each of ``frameworks``, ``seeds`` and ``resolutions_px``; records go to ``folder``.

    One framework and one seed leave their weights in the plan's ``checkpoints``; several
    have a folder each below the campaign's own. With the plan's ``resume`` finished runs
    are kept and the one that was under way goes on.
    """

    plan: TrainingPlan
    data: DataSettings
    frameworks: tuple[str, ...]
    seeds: tuple[int, ...]
    resolutions_px: tuple[int, ...]
    folder: Path
    command: str

    def __post_init__(self) -> None:
        if unknown := [name for name in self.frameworks if name not in FRAMEWORKS]:
            raise InvalidSettings(f"no framework is called {unknown[0]!r}; choose from: {', '.join(FRAMEWORKS)}")
        if not (self.frameworks and self.seeds and self.resolutions_px):
            raise InvalidSettings("a campaign has at least one framework, one seed and one resolution")
        for job in self.jobs():
            job.plan.settings_at(job.resolution_px)  # what a framework cannot do is refused before anything is begun

    def jobs(self) -> Iterator[Job]:
        """Lowest resolution first, because the next one starts from it; then whole seeds, so that
        what is finished when a campaign is stopped can be compared.
        """
        start, teacher = (path and path.absolute() for path in (self.plan.start, self.plan.teacher))
        alone = len(self.frameworks) == len(self.seeds) == 1
        for resolution_px in sorted(set(self.resolutions_px)):
            for seed in sorted(set(self.seeds)):
                for framework in dict.fromkeys(self.frameworks):
                    own = self.folder / "checkpoints" / f"{framework}-s{seed}"
                    folder = (self.plan.checkpoints if alone else own).absolute()
                    own_plan = replace(self.plan, framework=framework, seed=seed, checkpoints=folder)
                    yield Job(
                        plan=replace(own_plan, start=start, teacher=teacher),
                        data=self.data,
                        resolution_px=resolution_px,
                        record=(self.folder / run_name(own_plan.model, resolution_px, framework, seed)).absolute(),
                        command=self.command,
                    )


@dataclass(frozen=True, slots=True, kw_only=True)
class Job:
    """One run in a process of its own; ``record`` is the folder of its record."""

    plan: TrainingPlan
    data: DataSettings
    resolution_px: int
    record: Path
    command: str

    @property
    def cost(self) -> int:
        """About how long it takes, beside the others of its campaign."""
        return int(self.plan.settings_at(self.resolution_px).epochs * self.resolution_px**2)

    def to_json(self) -> str:
        """For the command line of the process that does it."""
        return msgspec.json.encode(self, enc_hook=str).decode()

    @classmethod
    def from_json(cls, text: str) -> Job:
        """What `to_json` gave."""
        return msgspec.json.decode(text, type=cls, dec_hook=lambda type_, value: type_(value))


def train_campaign(settings: CampaignSettings, progress: Progress) -> list[Path]:
    """Run every job that is not finished; returns the folders of all records, in the order of the jobs.

    Raises `InvalidSettings` for a start or a teacher of other data, `RunInvalid` where a record is there that is
    not of this.
    """
    settled = choose_source(settings.data, settings.resolutions_px).settings
    require_start(settings.plan, settled)
    require_teacher(settings.plan, settled, settings.resolutions_px)
    jobs = [replace(job, data=_absolute(settled)) for job in settings.jobs()]
    due = [job for job in jobs if not _is_finished(job)]
    open_seal(settings.folder)
    if due:
        for folder in (settings.folder, settings.plan.checkpoints):
            require_room(folder, ROOM_BYTES)
        datasets = prepare_datasets(settled, settings.resolutions_px, progress)
        for job in jobs:
            if job not in due:
                _require_same_images(job, datasets[job.resolution_px])
        for heard, job in _with_progress(due, progress):
            run_child("train.campaign", [job.to_json()], str, heard)
    seal_folder(settings.folder)
    return [job.record for job in jobs]


def default_campaign(now: datetime | None = None) -> str:
    """A campaign's name where none is given: the time in UTC."""
    return f"{now or datetime.now(UTC):%Y%m%dT%H%M%SZ}"


def _absolute(data: DataSettings) -> DataSettings:
    return replace(data, cache=data.cache.absolute(), root=data.root and data.root.absolute())


def _is_finished(job: Job) -> bool:
    """Whether its record is there; raises `RunInvalid` where that was not asked for, or is of something else."""
    if not (job.record / TRAINING_FILE).is_file():
        return False
    if not job.plan.resume:
        raise RunInvalid(f"{job.record} is there already. Next: --resume keeps it, another --campaign trains anew")
    run, facts = load_training_record(job.record), facts_of(job.data)
    if (run.data_source, run.data_description) != (job.data.source, facts.description):
        raise RunInvalid(
            f"{job.record} was trained on {run.data_description}, not on {facts.description}. Next: name its data with "
            "--data, or another --campaign"
        )
    if run.settings != msgspec.to_builtins(job.plan.settings_at(job.resolution_px, len(facts.labels))):
        raise RunInvalid(f"{job.record} was trained with other settings. Next: repeat them, or another --campaign")
    return True


def _require_same_images(job: Job, dataset: Dataset) -> None:
    """Raise `RunInvalid` where a finished run saw other images than those that come after it will."""
    if load_training_record(job.record).data_digest != dataset.facts.images_sha256:
        raise RunInvalid(
            f"{job.record} was trained on other images of {dataset.facts.description}. Next: name its --data-root, or "
            "another --campaign"
        )


def _with_progress(jobs: list[Job], progress: Progress) -> Iterator[tuple[Progress, Job]]:
    """Each job with a progress that counts all of them as one piece of work."""
    total, before = sum(job.cost for job in jobs), 0
    for number, job in enumerate(jobs):
        named = f"{job.plan.framework}, seed {job.plan.seed} ({number + 1}/{len(jobs)}): "
        yield part_of(progress, before, job.cost, total, named), job
        before += job.cost


def run_job(job: Job, progress: Progress) -> str:
    """Train in this process, write checkpoint and record; returns the record's folder."""
    datasets = verified_datasets(job.data, [job.resolution_px], progress)
    facts = datasets[job.resolution_px].facts
    teacher = load_teacher(job.plan, job.data, job.resolution_px, progress)
    ((_, trained),) = train_resolutions(job.plan, datasets, progress, teacher)
    run = training_run(trained, real=facts.real, labels=facts.labels, command=job.command)
    save_training_run(job.record, run, trained.predictions)
    return str(job.record)


def training_run(trained: Trained, *, real: bool, labels: tuple[str, ...], command: str) -> TrainingRun:
    """What analysis is told of ``trained``."""
    record, settings = trained.record, trained.record.settings
    return TrainingRun(
        model=settings.model,
        framework=settings.framework,
        resolution_px=settings.resolution_px,
        seed=settings.seed,
        batch_images=settings.batch_images,
        settings=msgspec.to_builtins(settings),
        started_from=record.started_from,
        data_source=record.data_source,
        data_description=record.data_description,
        data_digest=record.data_digest,
        data_is_real=real,
        environment=record.environment,
        command=command,
        created=f"{datetime.now(UTC):%Y-%m-%dT%H:%M:%SZ}",
        weights_digest=digest_of_weights(trained.weights),
        startup_ns=record.startup_ns,
        first_step_ns=record.first_step_ns,
        peak_memory_bytes=record.peak_memory_bytes,
        epochs=record.epochs,
        reproducible=record.reproducible,
        temperature=record.calibration.temperature if record.calibration else None,
        labels=labels,
    )


def main() -> None:
    """Do one job, for `train_campaign`."""
    parser = argparse.ArgumentParser(prog="python -m train.campaign", description=main.__doc__)
    parser.add_argument("job", type=Job.from_json)
    parser.add_argument("--output", type=Path, required=True)
    given = parser.parse_args()
    answer_parent(given.output, lambda: run_job(given.job, tell_parent))


if __name__ == "__main__":
    main()
