"""Load tests and what is made of their records."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Annotated

import typer

from commands.console import progress_bar, show, tell, typed_command
from commands.options import (
    ARTIFACTS,
    CACHE,
    CHECKPOINTS,
    NATIVE_RUNTIMES,
    RESULTS,
    Artifacts,
    Cache,
    Checkpoints,
    Data,
    DataRoot,
    DataSource,
    Device,
    Json,
    Results,
    Runtimes,
    Seed,
    Threads,
)
from commands.prepare import image_settings


def load(
    url: Annotated[str, typer.Option("--url", help="A service that is running.")] = "http://127.0.0.1:3000",
    resolution: Annotated[int, typer.Option("--resolution", "-r")] = 28,
    users: Annotated[int, typer.Option("--users", min=1, help="Closed loop: how many wait for answers at once.")] = 1,
    arrival_rate: Annotated[
        float | None, typer.Option("--arrival-rate", help="Open loop: requests per second.", show_default=False)
    ] = None,
    duration_s: Annotated[float, typer.Option("--duration", help="Seconds that are measured.")] = 10.0,
    warmup_s: Annotated[float, typer.Option("--warmup", help="Seconds before that.")] = 2.0,
    seed: Seed = 0,
    source: Data = DataSource.AUTO,
    root: DataRoot = None,
    cache: Cache = CACHE,
    results: Results = RESULTS,
    as_json: Json = False,
) -> None:
    """Load a running service and report what its users would have waited."""
    from contract.records import Scenario
    from loadtest.single import offer_load
    from train.dataset import prepare_folders

    scenario = Scenario(
        kind="closed_loop" if arrival_rate is None else "open_loop",
        users=users,
        arrival_rate_per_s=arrival_rate,
        warmup_s=warmup_s,
        duration_s=duration_s,
        seed=seed,
    )
    with progress_bar() as progress:
        folders = prepare_folders(image_settings(source, root, cache, [resolution]), [resolution], progress)
        images = folders[resolution]
        result = offer_load(url, scenario, resolution, images, results, command=typed_command(), progress=progress)
    _conclude(result.folder, as_json)


def run(
    profile: Annotated[str, typer.Option("--profile", help="quick or full.")] = "full",
    runtimes: Runtimes = list(NATIVE_RUNTIMES),  # noqa: B006 (typer copies it)
    device: Device = "cpu",
    threads: Threads = 1,
    seed: Seed = 0,
    source: Data = DataSource.AUTO,
    root: DataRoot = None,
    cache: Cache = CACHE,
    train_anew: Annotated[bool, typer.Option("--train", help="Train the weights anew.")] = False,
    checkpoints: Checkpoints = CHECKPOINTS,
    artifacts: Artifacts = ARTIFACTS,
    results: Results = RESULTS,
    resume: Annotated[str | None, typer.Option("--resume", help="Name of a run under results/ to finish.")] = None,
    as_json: Json = False,
) -> None:
    """Images, weights, artifacts, parity, load tests, report: the whole chain."""
    from loadtest.campaign import run_campaign
    from loadtest.planning import CampaignSettings
    from loadtest.scenarios import profile_named
    from serving.runtimes import formats_of
    from serving.verify import verify_all
    from train.dataset import prepare_folders
    from train.export import ExportSettings, export_all
    from train.stages import TrainingPlan, ensure_checkpoints

    chosen, formats = profile_named(profile), formats_of(runtimes)
    sides = chosen.resolutions_px
    wanted = ExportSettings(
        resolutions_px=sides, formats=tuple(formats.values()), checkpoints=checkpoints, artifacts=artifacts
    )
    with progress_bar() as progress:
        images = image_settings(source, root, cache, sides)
        folders = prepare_folders(images, sides, progress)
        ensure_checkpoints(TrainingPlan(checkpoints=checkpoints), images, sides, progress, anew=train_anew)
        export_all(wanted, progress)
        verify_all(runtimes, sides, artifacts, device=device, progress=progress)
        settings = CampaignSettings(
            profile=chosen,
            formats=formats,
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
        try:
            folder = run_campaign(settings, progress)
        except KeyboardInterrupt as stopped:
            tell(f"\n{stopped}")
            raise typer.Exit(130) from None
    _conclude(folder, as_json)


def peers(
    rounds: Annotated[int, typer.Option("--rounds", min=1, help="Each measures every service once.")] = 10,
    artifacts: Artifacts = ARTIFACTS,
    results: Results = RESULTS,
    page: Annotated[Path | None, typer.Option("--page", help="Write the result as Markdown, too.")] = None,
) -> None:
    """Our service beside bare Starlette, textbook BentoML and LitServe: same artifact, same image, same cores."""
    import numpy as np

    from analysis.peers import peers_page, peers_tables, summarise_peers
    from contract.storage import write_atomically
    from loadtest.peers import PeerPlan, compare_peers

    with progress_bar() as progress:
        plan = PeerPlan(artifacts=artifacts, rounds=rounds)
        comparison = compare_peers(plan, results / "peers", command=typed_command(), progress=progress)
    summary = summarise_peers(comparison, np.random.default_rng(0))
    for table in peers_tables(summary):
        show(table)
    if page is not None:
        write_atomically(page, peers_page(summary).encode())


def report(
    folder: Annotated[Path | None, typer.Argument(help="A run's folder. Default: the newest under results/.")] = None,
    baseline: Annotated[str | None, typer.Option("--baseline", help="The runtime that ratios refer to.")] = None,
    page: Annotated[Path | None, typer.Option("--page", help="Write the result as Markdown, too.")] = None,
    results: Results = RESULTS,
    as_json: Json = False,
) -> None:
    """Print a run's table and write its report.html, from its raw records."""
    _conclude(folder or _newest(results), as_json, baseline, page)


def _conclude(folder: Path, as_json: bool, baseline: str | None = None, page: Path | None = None) -> None:
    """Report a run in the terminal and as HTML.

    Exit code 1 where a cell is missing, or invalid for another reason than a disturbed machine.
    """
    from analysis.page import summary_page
    from analysis.report import save_report
    from analysis.runs import load_run
    from analysis.summary import summarise
    from analysis.tables import summary_as_json, summary_tables
    from contract.records import REPORT_FILE
    from contract.storage import write_atomically

    summary = summarise(load_run(folder), baseline=baseline)
    path = save_report(summary, folder / REPORT_FILE)
    if page is not None:
        write_atomically(page, summary_page(summary).encode())
    if as_json:
        typer.echo(summary_as_json(summary))
    else:
        show(summary_tables(summary))
    tell(f"report: {path}")
    verdicts = [cell.verdict for cell in summary.cells]
    if any(verdict.status != "valid" and not verdict.disturbed for verdict in verdicts):
        sys.exit(1)


def _newest(results: Path) -> Path:
    from contract.errors import RunInvalid
    from contract.records import RUN_FILE

    runs = sorted(results.glob(f"*/{RUN_FILE}"), key=lambda plan: plan.stat().st_mtime)
    if not runs:
        raise RunInvalid(f"no run in {results}. Next: hemabench run")
    return runs[-1].parent
