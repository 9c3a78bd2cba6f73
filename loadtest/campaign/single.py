"""One scenario against a service that somebody else runs."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path

from contract.dataset import DatasetFacts, load_dataset
from contract.environment import describe_environment
from contract.errors import InvalidSettings, ServiceFailed
from contract.progress import Progress, silent
from contract.records.load import Cell, CellOutcome, RunPlan, Scenario
from contract.records.seal import seal_folder
from loadtest.campaign.cells import Surroundings, measure_cell
from loadtest.campaign.live import LiveTimes
from loadtest.campaign.meter import Meter
from loadtest.campaign.runfolder import create_run
from loadtest.folders import new_run_name
from loadtest.generator.plan import LoadPlan
from loadtest.service.processes import NOT_PINNED, CoreSplit
from loadtest.service.server import ask_service, is_ready

PROFILE = "load"
UNKNOWN_RUNTIME = "service"


@dataclass(frozen=True, slots=True, kw_only=True)
class LoadResult:
    """Where the records are, and how the one cell ended."""

    folder: Path
    outcome: CellOutcome


def require_ready(url: str) -> None:
    """Raise `ServiceFailed` unless a service at ``url`` would answer now."""
    if not is_ready(url.rstrip("/")):
        raise ServiceFailed(f"nothing at {url} says that it is ready. Next: hemabench serve, or check --url")


def offer_load(
    url: str,
    scenario: Scenario,
    resolution_px: int,
    dataset: Path,
    results: Path,
    *,
    images: int = 500,
    command: str = "",
    workers: int = 1,
    cores: CoreSplit = NOT_PINNED,
    progress: Progress = silent,
) -> LoadResult:
    """Offer ``scenario`` to the service at ``url`` and record it as a run of one cell under ``results``.

    ``workers`` processes share the load. ``dataset`` is the folder of a data set at
    ``resolution_px``. ``cores`` are for who knows where the service runs; nothing is pinned
    otherwise. Raises `ServiceFailed` when it is not ready.
    """
    url = url.rstrip("/")
    facts = load_dataset(dataset).facts
    if facts.resolution_px != resolution_px:
        raise InvalidSettings(f"{dataset} holds images of {facts.resolution_px} px, not {resolution_px}")
    require_ready(url)
    cell = Cell(runtime=_runtime_at(url, resolution_px), resolution_px=resolution_px, scenario=scenario.kind)
    run = create_run(results, _plan_of(cell, scenario, facts, command))
    plan = LoadPlan(
        scenario=scenario,
        resolution_px=resolution_px,
        dataset=str(dataset.absolute()),
        record_to=str(run.cell_folder(cell)),
        images=images,
        image_seed=scenario.seed,
    )
    meter = Meter(progress, expected_s := scenario.warmup_s + scenario.duration_s + 2.5)
    meter.section(expected_s)
    meter.begin(f"{scenario.kind.replace('_', ' ')} at {url}", expected_s)
    ticking = _showing(meter, LiveTimes(run.cell_folder(cell), workers))
    outcome = measure_cell(url, cell, plan, Surroundings(cores=cores), ticking=ticking, workers=workers)
    run.finish(outcome)
    seal_folder(run.path)
    return LoadResult(folder=run.path, outcome=outcome)


def _plan_of(cell: Cell, scenario: Scenario, facts: DatasetFacts, command: str) -> RunPlan:
    """A run of ``cell`` alone, here and now; which artifact answers is the service's business."""
    now = datetime.now(UTC)
    return RunPlan(
        run=new_run_name(PROFILE, now),
        created=now.isoformat(timespec="seconds"),
        profile=PROFILE,
        command=command,
        environment=describe_environment(),
        data_source=facts.source,
        data_description=facts.description,
        data_is_real=facts.real,
        artifacts=(),
        cells=(cell,),
        seed=scenario.seed,
    )


def _showing(meter: Meter, live: LiveTimes) -> Callable[[float], None]:
    return lambda elapsed_s: meter.tick(elapsed_s, live.words_at(elapsed_s))


def _runtime_at(url: str, resolution_px: int) -> str:
    return ask_service(url, resolution_px).facts.get("name", UNKNOWN_RUNTIME)
