"""Predict alone: every runtime at every resolution and batch, without a service."""

from __future__ import annotations

import sys
from dataclasses import replace
from pathlib import Path
from typing import Annotated

import typer

from commands.console import progress_bar, show, tell, typed_command, warn
from commands.options import (
    ARTIFACTS,
    CHECKPOINTS,
    RESULTS,
    Artifacts,
    Checkpoints,
    Device,
    Json,
    Results,
    Seed,
)


def compute(
    profile: Annotated[str, typer.Option("--profile", help="quick (4 minutes) or full (15).")] = "full",
    division: Annotated[str, typer.Option("--division", help="closed: like for like; open: tuned; all.")] = "closed",
    runtimes: Annotated[
        list[str] | None, typer.Option("--runtime", help="In place of a division; repeat for several.")
    ] = None,
    resolutions: Annotated[list[int] | None, typer.Option("--resolution", "-r", help="Repeat for several.")] = None,
    batches: Annotated[list[int] | None, typer.Option("--batch", min=1, help="Images per call; repeat.")] = None,
    threads: Annotated[
        list[int] | None, typer.Option("--threads", min=1, help="Repeat for several. Default: 1, and all cores.")
    ] = None,
    processes: Annotated[
        int | None, typer.Option("--processes", min=1, help="Fresh processes per runtime. Default: full 3, quick 2.")
    ] = None,
    pixels: Annotated[bool, typer.Option("--uint8", help="Hand over pixels: scaling is part of the call.")] = False,
    baseline: Annotated[str | None, typer.Option("--baseline", help="The runtime that ratios refer to.")] = None,
    page: Annotated[Path | None, typer.Option("--page", help="Write the result as Markdown, too.")] = None,
    device: Device = "cpu",
    seed: Seed = 0,
    checkpoints: Checkpoints = CHECKPOINTS,
    artifacts: Artifacts = ARTIFACTS,
    results: Results = RESULTS,
    resume: Annotated[str | None, typer.Option("--resume", help="Name of a run under results/ to finish.")] = None,
    as_json: Json = False,
) -> None:
    """Time predict alone, beside the limit of the machine: import, load, first call and steady calls apart."""
    from loadtest.compute.measure import measure_compute
    from loadtest.compute.planning import ComputeSettings, profile_named
    from serving.runtimes import formats_of
    from train.export import ExportSettings, export_all

    chosen = profile_named(profile)
    chosen = replace(
        chosen,
        resolutions_px=tuple(resolutions or chosen.resolutions_px),
        batches=tuple(batches or chosen.batches),
        processes=processes or chosen.processes,
    )
    names = tuple(runtimes) if runtimes else _installed(division)
    settings = ComputeSettings(
        profile=chosen,
        artifacts=artifacts,
        runtimes=names,
        threads=tuple(dict.fromkeys(threads or ())),
        device=device,
        input="uint8" if pixels else "float32",
        results=results,
        run=resume,
        resume=resume is not None,
        seed=seed,
        command=typed_command(),
    )
    wanted = ExportSettings(
        resolutions_px=chosen.resolutions_px,
        formats=tuple(dict.fromkeys(formats_of(names).values())),
        checkpoints=checkpoints,
        artifacts=artifacts,
    )
    with progress_bar() as progress:
        export_all(wanted, progress)
        folder = measure_compute(settings, progress)
    conclude_compute(folder, as_json, baseline, page)


def conclude_compute(folder: Path, as_json: bool, baseline: str | None = None, page: Path | None = None) -> None:
    """Report a compute run in the terminal and as HTML. Exit code 1 where something is missing or invalid."""
    from analysis.compute.page import compute_page
    from analysis.compute.report import save_compute_report
    from analysis.compute.runs import load_compute_run
    from analysis.compute.summary import summarise_compute
    from analysis.compute.tables import compute_as_json, compute_tables
    from contract.records.load import REPORT_FILE, SUMMARY_FILE
    from contract.records.seal import add_to_seal
    from contract.storage import write_atomically

    summary = summarise_compute(load_compute_run(folder), baseline=baseline)
    path = save_compute_report(summary, folder / REPORT_FILE)
    write_atomically(folder / SUMMARY_FILE, (numbers := compute_as_json(summary)).encode())
    add_to_seal(folder, [REPORT_FILE, SUMMARY_FILE])
    if page is not None:
        write_atomically(page, compute_page(summary).encode())
    if as_json:
        typer.echo(numbers)
    else:
        show(compute_tables(summary))
    tell(f"report: {path}")
    if summary.run.missing or not all(cell.valid for cell in summary.cells):
        sys.exit(1)


def _installed(division: str) -> tuple[str, ...]:
    """The runtimes of ``division`` whose packages are here; the others are named."""
    from contract.errors import RuntimeUnavailable
    from loadtest.compute.planning import runtimes_of
    from serving.runtimes import require_runtime

    names = []
    for name in runtimes_of(division):
        try:
            require_runtime(name)
        except RuntimeUnavailable as missing:
            warn(f"left out: {missing}")
        else:
            names.append(name)
    return tuple(names)
