"""What a campaign sets out to measure: its settings, its contenders in their order, its `RunPlan`."""

from __future__ import annotations

import random
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path

from contract.dataset import Dataset
from contract.environment import describe_environment
from contract.errors import InvalidSettings
from contract.records.load import NULL_RUNTIME, Cell, RunPlan, RunSettings
from loadtest.artifacts import artifact_facts, same_weights
from loadtest.folders import new_run_name
from loadtest.scenarios import CLOSED_LOOP, OPEN_LOOP, Profile


@dataclass(frozen=True, slots=True, kw_only=True)
class CampaignSettings:
    """What to measure.

    ``formats`` says which artifact format each runtime loads, None where it loads nothing;
    ``datasets`` where the images of each resolution lie. ``run`` names the folder under ``results``; with ``resume`` it
    must exist. ``command`` is only recorded: what a person would type to repeat the run.
    """

    profile: Profile
    formats: Mapping[str, str | None]
    datasets: Mapping[int, Path]
    artifacts: Path
    results: Path = Path("results")
    run: str | None = None
    resume: bool = False
    seed: int = 0
    threads: int = 1
    device: str = "cpu"
    command: str = ""

    def __post_init__(self) -> None:
        if not self.formats:
            raise InvalidSettings("no runtime was named; name at least one")
        if missing := set(self.profile.resolutions_px) - self.datasets.keys():
            raise InvalidSettings(f"no data set was named for {min(missing)} px. Next: hemabench data")
        if self.threads < 1:
            raise InvalidSettings(f"threads ({self.threads}) must be at least 1")
        if self.seed < 0:
            raise InvalidSettings(f"seed ({self.seed}) must be >= 0")
        if self.resume and self.run is None:
            raise InvalidSettings("resume without a run: name the folder under results/ that is to be resumed")


@dataclass(frozen=True, slots=True)
class Contender:
    """One runtime at one resolution, for the n-th time: what one service process is started for."""

    runtime: str
    resolution_px: int
    repetition: int = 1

    def cell(self, scenario: str) -> Cell:
        """This contender under ``scenario``."""
        return Cell(
            runtime=self.runtime, resolution_px=self.resolution_px, scenario=scenario, repetition=self.repetition
        )

    def cells(self) -> tuple[Cell, ...]:
        """In the order of measuring: the open loop's rate comes from the closed loop.

        The null service has the closed loop alone: a floor is what one request takes.
        """
        closed = self.cell(CLOSED_LOOP)
        return (closed,) if self.runtime == NULL_RUNTIME else (closed, self.cell(OPEN_LOOP))

    def __str__(self) -> str:
        again = f", repetition {self.repetition}" if self.repetition > 1 else ""
        return f"{self.runtime} {self.resolution_px} px{again}"


def contenders_of(settings: CampaignSettings) -> list[Contender]:
    """In the order of measuring, drawn by the seed anew for every repetition.

    A whole repetition comes before the next, so that a machine which slows down in the
    course of an hour slows all contenders alike.
    """
    places = [(name, side) for name in sorted(settings.formats) for side in settings.profile.resolutions_px]
    drawn: list[Contender] = []
    for repetition in range(1, settings.profile.repetitions + 1):
        order = random.Random(f"{settings.seed}/{repetition}").sample(places, len(places))
        drawn += [Contender(name, side, repetition) for name, side in order]
    return drawn


def plan_campaign(settings: CampaignSettings, datasets: Mapping[int, Dataset]) -> RunPlan:
    """The plan, on this machine and now; every artifact is checked against its manifest.

    Raises `InvalidSettings` for images of several sources, and what `load_artifact` raises.
    """
    profile, now = settings.profile, datetime.now(UTC)
    contenders = contenders_of(settings)
    source, description, real = _one_source(datasets)
    return RunPlan(
        run=settings.run or new_run_name(profile.name, now),
        created=now.isoformat(timespec="seconds"),
        profile=profile.name,
        command=settings.command,
        environment=describe_environment(),
        data_source=source,
        data_description=description,
        data_is_real=real,
        artifacts=same_weights(
            artifact_facts(settings.artifacts, contender.runtime, format_, contender.resolution_px)
            for contender in contenders
            if contender.repetition == 1 and (format_ := settings.formats[contender.runtime]) is not None
        ),
        cells=tuple(cell for contender in contenders for cell in contender.cells()),
        seed=settings.seed,
        settings=RunSettings(
            device=settings.device,
            threads=settings.threads,
            images=profile.images,
            warmup_s=profile.warmup_s,
            duration_s=profile.duration_s,
        ),
    )


def _one_source(datasets: Mapping[int, Dataset]) -> tuple[str, str, bool]:
    """Source, description and whether it is real; a description may differ between resolutions, a source not."""
    facts = [dataset.facts for dataset in datasets.values()]
    if len(sources := {fact.source for fact in facts}) > 1:
        raise InvalidSettings(f"images of several sources: {', '.join(sorted(sources))}. Next: use one of them")
    return facts[0].source, facts[0].description, all(fact.real for fact in facts)
