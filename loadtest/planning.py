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
from contract.manifest import artifact_folder, load_artifact
from contract.records import ArtifactFacts, Cell, RunPlan
from loadtest.runfolder import new_run_name
from loadtest.scenarios import CLOSED_LOOP, OPEN_LOOP, Profile


@dataclass(frozen=True, slots=True, kw_only=True)
class CampaignSettings:
    """What to measure.

    ``formats`` says which artifact format each runtime loads, ``datasets`` where the images
    of each resolution lie. ``run`` names the folder under ``results``; with ``resume`` it
    must exist. ``command`` is only recorded: what a person would type to repeat the run.
    """

    profile: Profile
    formats: Mapping[str, str]
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
    """One runtime at one resolution: what one service process is started for."""

    runtime: str
    resolution_px: int

    def cell(self, scenario: str) -> Cell:
        """This contender under ``scenario``."""
        return Cell(runtime=self.runtime, resolution_px=self.resolution_px, scenario=scenario)

    def cells(self) -> tuple[Cell, Cell]:
        """In the order of measuring: the open loop's rate comes from the closed loop."""
        return self.cell(CLOSED_LOOP), self.cell(OPEN_LOOP)

    def __str__(self) -> str:
        return f"{self.runtime} {self.resolution_px} px"


def contenders_of(settings: CampaignSettings) -> list[Contender]:
    """In the order of measuring, drawn by the seed: neither a runtime nor a resolution is always first."""
    contenders = [
        Contender(name, side) for name in sorted(settings.formats) for side in settings.profile.resolutions_px
    ]
    random.Random(settings.seed).shuffle(contenders)
    return contenders


def plan_campaign(settings: CampaignSettings, datasets: Mapping[int, Dataset]) -> RunPlan:
    """The plan, on this machine and now; every artifact is checked against its manifest.

    Raises `InvalidSettings` for images of several sources, and what `load_artifact` raises.
    """
    now = datetime.now(UTC)
    contenders = contenders_of(settings)
    source, description, real = _one_source(datasets)
    return RunPlan(
        run=settings.run or new_run_name(settings.profile.name, now),
        created=now.isoformat(timespec="seconds"),
        profile=settings.profile.name,
        command=settings.command,
        environment=describe_environment(),
        data_source=source,
        data_description=description,
        data_is_real=real,
        artifacts=tuple(_artifact_facts(settings, contender) for contender in contenders),
        cells=tuple(cell for contender in contenders for cell in contender.cells()),
        seed=settings.seed,
    )


def _one_source(datasets: Mapping[int, Dataset]) -> tuple[str, str, bool]:
    """Source, description and whether it is real; a description may differ between resolutions, a source not."""
    facts = [dataset.facts for dataset in datasets.values()]
    if len(sources := {fact.source for fact in facts}) > 1:
        raise InvalidSettings(f"images of several sources: {', '.join(sorted(sources))}. Next: use one of them")
    return facts[0].source, facts[0].description, all(fact.real for fact in facts)


def _artifact_facts(settings: CampaignSettings, contender: Contender) -> ArtifactFacts:
    folder = artifact_folder(settings.artifacts, settings.formats[contender.runtime], contender.resolution_px)
    artifact = load_artifact(folder)
    manifest = artifact.manifest
    return ArtifactFacts(
        runtime=contender.runtime,
        resolution_px=contender.resolution_px,
        model=manifest.model,
        format=manifest.format,
        digest=artifact.digest,
        weights_digest=manifest.weights_digest,
        parity_largest_difference=manifest.parity.largest_difference,
        parity_images=manifest.parity.images,
    )
