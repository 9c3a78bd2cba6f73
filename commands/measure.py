"""Load tests and what is made of their records."""

from __future__ import annotations

from dataclasses import replace
from enum import StrEnum
from typing import Annotated

import typer

from commands.console import progress_bar, tell, typed_command
from commands.options import (
    ARTIFACTS,
    AUTO,
    CACHE,
    CHECKPOINTS,
    NATIVE_RUNTIMES,
    RESULTS,
    Artifacts,
    Cache,
    Checkpoints,
    Data,
    DataRoot,
    Device,
    Json,
    Page,
    Resolution,
    Results,
    Resume,
    Rounds,
    Runtimes,
    Seed,
    Threads,
    require_run,
)
from commands.prepare import image_settings
from commands.report import conclude, new_folder


class LoadKind(StrEnum):
    """The scenarios that `contract.records.load.Scenario` describes."""

    CLOSED_LOOP = "closed_loop"
    OPEN_LOOP = "open_loop"
    SOAK = "soak"
    SPIKE = "spike"
    OFFLINE = "offline"
    LADDER = "ladder"
    FIND_RATE = "find_rate"


class Arrivals(StrEnum):
    """How the gaps between scheduled requests are spread."""

    POISSON = "poisson"
    CONSTANT = "constant"


Url = Annotated[str, typer.Option("--url", help="A service that is running.")]
Kind = Annotated[
    LoadKind | None,
    typer.Option("--scenario", help="Default: open_loop where a rate is given, else closed_loop.", show_default=False),
]
Users = Annotated[
    int,
    typer.Option("--users", min=1, max=10_000, help="Closed loop, offline: how many requests are under way at once."),
]
ArrivalRate = Annotated[
    float | None,
    typer.Option("--arrival-rate", help="Requests per second; the first of a ladder.", show_default=False),
]
Gaps = Annotated[Arrivals, typer.Option("--arrivals", help="By chance, or evenly spaced.")]
PeakRate = Annotated[
    float | None, typer.Option("--peak-rate", help="Spike: requests per second at its top.", show_default=False)
]
RequestCount = Annotated[
    int | None, typer.Option("--requests", min=1, help="Offline: how many are due at once.", show_default=False)
]
P99Limit = Annotated[float | None, typer.Option("--p99-ms", help="find_rate: what p99 may be.", show_default=False)]
Workers = Annotated[int, typer.Option("--workers", min=1, max=1_000, help="Processes that share the load.")]
Duration = Annotated[float, typer.Option("--duration", help="Seconds that are measured.")]
Warmup = Annotated[float, typer.Option("--warmup", help="Seconds before that.")]
Repetitions = Annotated[
    int | None,
    typer.Option(
        "--repetitions", min=1, help="Fresh services per contender. Default: full 5, quick 1.", show_default=False
    ),
]


def load(
    url: Url = "http://127.0.0.1:3000",
    resolution: Resolution = 28,
    scenario: Kind = None,
    users: Users = 1,
    arrival_rate: ArrivalRate = None,
    arrivals: Gaps = Arrivals.POISSON,
    peak_rate: PeakRate = None,
    requests: RequestCount = None,
    p99_ms: P99Limit = None,
    workers: Workers = 1,
    duration_s: Duration = 10.0,
    warmup_s: Warmup = 2.0,
    seed: Seed = 0,
    source: Data = AUTO,
    root: DataRoot = None,
    cache: Cache = CACHE,
    results: Results = RESULTS,
    as_json: Json = False,
) -> None:
    """Load a running service and report what its users would have waited."""
    from contract.records.load import Scenario
    from loadtest.campaign.single import offer_load, require_ready
    from train.dataset import prepare_folders

    usual = LoadKind.CLOSED_LOOP if arrival_rate is None else LoadKind.OPEN_LOOP
    chosen = Scenario(
        kind=(scenario or usual).value,
        users=users,
        arrival_rate_per_s=arrival_rate,
        arrivals=arrivals.value,
        peak_rate_per_s=peak_rate,
        requests=requests,
        p99_limit_s=None if p99_ms is None else p99_ms / 1_000,
        warmup_s=warmup_s,
        duration_s=duration_s,
        seed=seed,
    )
    require_ready(url)  # before images are built for nobody
    with progress_bar() as progress:
        folders = prepare_folders(image_settings(source, root, cache, [resolution]), [resolution], progress)
        images = folders[resolution]
        result = offer_load(
            *(url, chosen, resolution, images, results),
            command=typed_command(),
            workers=workers,
            progress=progress,
        )
    conclude(result.folder, as_json, cache=cache)


def run(
    profile: Annotated[str, typer.Option("--profile", help="quick or full.")] = "full",
    runtimes: Runtimes = list(NATIVE_RUNTIMES),  # noqa: B006 (typer copies it)
    repetitions: Repetitions = None,
    device: Device = "cpu",
    threads: Threads = 1,
    seed: Seed = 0,
    source: Data = AUTO,
    root: DataRoot = None,
    cache: Cache = CACHE,
    train_anew: Annotated[bool, typer.Option("--train", help="Train the weights anew.")] = False,
    checkpoints: Checkpoints = CHECKPOINTS,
    artifacts: Artifacts = ARTIFACTS,
    results: Results = RESULTS,
    resume: Resume = None,
    as_json: Json = False,
) -> None:
    """Images, weights, artifacts, parity, load tests, report: the whole chain."""
    from analysis.chapters import newest_of_other_kinds
    from contract.records.load import NULL_RUNTIME
    from loadtest.campaign.planning import CampaignSettings
    from loadtest.campaign.running import run_campaign
    from loadtest.scenarios import profile_named
    from serving.inference.devices import parse_device, require_device
    from serving.inference.verify import verify_all
    from serving.runtimes import formats_of
    from train.dataset import prepare_folders
    from train.export import ExportSettings, export_all
    from train.stages import TrainingPlan, ensure_checkpoints

    chosen, formats = profile_named(profile), formats_of(runtimes)
    if repetitions is not None:
        chosen = replace(chosen, repetitions=repetitions)
    sides = chosen.resolutions_px
    require_device(parse_device(device))
    require_run(results, resume)
    wanted = ExportSettings(
        resolutions_px=sides, formats=tuple(formats.values()), checkpoints=checkpoints, artifacts=artifacts
    )
    with progress_bar("images, weights and artifacts that were ready are kept. Next: repeat the command") as progress:
        images = image_settings(source, root, cache, sides, blood_cells=True)
        folders = prepare_folders(images, sides, progress)
        ensure_checkpoints(TrainingPlan(checkpoints=checkpoints), images, sides, progress, anew=train_anew)
        export_all(wanted, progress)
        verify_all(runtimes, sides, artifacts, device=device, progress=progress)
        settings = CampaignSettings(
            profile=chosen,
            formats={**formats, NULL_RUNTIME: None},  # the floor is measured in every campaign
            datasets=folders,
            artifacts=artifacts,
            results=results,
            run=resume,
            resume=resume is not None,
            seed=seed,
            threads=threads,
            device=device,
            command=typed_command(),
        )
        folder = run_campaign(settings, progress)
    chapters = newest_of_other_kinds(results, folder)
    for chapter in chapters:
        tell(f"chapter: {chapter}")
    conclude(folder, as_json, cache=cache, chapters=chapters)


def peers(
    rounds: Rounds = 10,
    artifacts: Artifacts = ARTIFACTS,
    results: Results = RESULTS,
    page: Page = None,
    as_json: Json = False,
) -> None:
    """Our service beside bare Starlette, textbook BentoML and LitServe: same artifact, same image, same cores."""
    from loadtest.peers.comparison import PeerPlan, compare_peers

    with progress_bar("nothing is kept but the services' logs. Next: repeat the command") as progress:
        plan = PeerPlan(artifacts=artifacts, rounds=rounds)
        folder = new_folder(results, "peers")
        compare_peers(plan, folder, command=typed_command(), progress=progress)
    conclude(folder, as_json, page=page)
