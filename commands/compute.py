"""Predict alone: every runtime at every resolution and batch, without a service."""

from __future__ import annotations

from dataclasses import replace
from typing import Annotated

import typer

from commands.console import progress_bar, typed_command, warn
from commands.options import (
    ARTIFACTS,
    CHECKPOINTS,
    MOST_THREADS,
    RESULTS,
    Artifacts,
    Baseline,
    Checkpoints,
    Device,
    Json,
    Page,
    Results,
    Resume,
    Seed,
    require_run,
    side_option,
)
from commands.report import conclude
from contract.errors import InvalidSettings

Profile = Annotated[
    str, typer.Option("--profile", help="quick (4 minutes), full (15), or card: batches up to 1,024, for a GPU.")
]
Division = Annotated[str, typer.Option("--division", help="closed: like for like; open: tuned; all.")]
InPlaceOfADivision = Annotated[
    list[str] | None,
    typer.Option("--runtime", help="In place of a division; repeat for several.", show_default=False),
]
SomeSides = Annotated[list[int] | None, side_option("Default: the profile's; repeat for several.", show_default=False)]
Batches = Annotated[
    list[int] | None,
    typer.Option("--batch", min=1, max=4_096, help="Images per call; repeat for several.", show_default=False),
]
SeveralThreads = Annotated[
    list[int] | None,
    typer.Option(
        "--threads",
        min=1,
        max=MOST_THREADS,
        help="Repeat for several. Default: 1, and all cores.",
        show_default=False,
    ),
]
Processes = Annotated[
    int | None,
    typer.Option(
        "--processes",
        min=1,
        max=100,
        help="Fresh processes per runtime. Default: full 3, quick 2.",
        show_default=False,
    ),
]
Pixels = Annotated[bool, typer.Option("--uint8", help="Hand over pixels: scaling is part of the call.")]


def compute(
    profile: Profile = "full",
    division: Division = "closed",
    runtimes: InPlaceOfADivision = None,
    resolutions: SomeSides = None,
    batches: Batches = None,
    threads: SeveralThreads = None,
    processes: Processes = None,
    pixels: Pixels = False,
    baseline: Baseline = None,
    page: Page = None,
    device: Device = "cpu",
    seed: Seed = 0,
    checkpoints: Checkpoints = CHECKPOINTS,
    artifacts: Artifacts = ARTIFACTS,
    results: Results = RESULTS,
    resume: Resume = None,
    as_json: Json = False,
) -> None:
    """Time predict alone, beside the limit of the machine: import, load, first call and steady calls apart."""
    from loadtest.compute.measure import measure_compute
    from loadtest.compute.planning import ComputeSettings, profile_named
    from serving.inference.devices import parse_device, require_device
    from serving.runtimes import formats_of
    from train.export import ExportSettings, export_all

    chosen = profile_named(profile)
    chosen = replace(
        chosen,
        resolutions_px=tuple(resolutions or chosen.resolutions_px),
        batches=tuple(batches or chosen.batches),
        processes=processes or chosen.processes,
    )
    require_device(parse_device(device))
    require_run(results, resume)
    names = tuple(runtimes) if runtimes else _installed(division, device)
    if baseline is not None and baseline not in names:
        raise InvalidSettings(f"baseline {baseline!r} is not measured; choose one of: {', '.join(names)}")
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
    with progress_bar("artifacts that were proved are kept. Next: repeat the command") as progress:
        export_all(wanted, progress)
        folder = measure_compute(settings, progress)
    conclude(folder, as_json, baseline=baseline, page=page)


def _installed(division: str, device: Device) -> tuple[str, ...]:
    """The runtimes of ``division`` for ``device`` whose packages are here; the others are named."""
    from contract.errors import RuntimeUnavailable
    from loadtest.compute.planning import runtimes_of
    from serving.inference.devices import parse_device
    from serving.runtimes import require_runtime

    names = []
    for name in runtimes_of(division, parse_device(device)):
        try:
            require_runtime(name)
        except RuntimeUnavailable as missing:
            warn(f"left out: {missing}")
        else:
            names.append(name)
    return tuple(names)
