"""Whether the load generator itself can be trusted, and what the form of an image costs."""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path
from typing import Annotated

import typer

from commands.console import progress_bar, show, typed_command
from commands.options import (
    ARTIFACTS,
    AUTO,
    CACHE,
    RESULTS,
    Artifacts,
    Cache,
    Data,
    DataRoot,
    Json,
    Resolutions,
    Results,
    Seed,
)
from commands.prepare import image_settings
from contract.blood_cells import RESOLUTIONS_PX

Page = Annotated[Path | None, typer.Option("--page", help="Write the result as Markdown, too.")]
Rounds = Annotated[int, typer.Option("--rounds", min=1, help="Each measures everything once.")]


def referee(
    runtime: Annotated[str, typer.Option("--runtime", help="Whose service is measured.")] = "onnx",
    resolution: Annotated[int, typer.Option("--resolution", "-r")] = 64,
    rounds: Rounds = 3,
    arrival_rate: Annotated[
        float, typer.Option("--arrival-rate", help="Requests per second of the Server scenario.")
    ] = 150.0,
    seed: Seed = 0,
    source: Data = AUTO,
    root: DataRoot = None,
    cache: Cache = CACHE,
    artifacts: Artifacts = ARTIFACTS,
    results: Results = RESULTS,
    page: Page = None,
    as_json: Json = False,
) -> None:
    """Our load generator beside MLPerf LoadGen, wrk and raw sockets: whether they agree, and what watching costs."""
    import numpy as np

    from analysis.referees import referee_tables, referees_as_json, referees_page, summarise_referees
    from loadtest.referees.comparison import RefereePlan, compare_referees
    from train.dataset import prepare_folders

    with progress_bar() as progress:
        images = image_settings(source, root, cache, [resolution], blood_cells=True)
        plan = RefereePlan(
            artifacts=artifacts,
            dataset=prepare_folders(images, [resolution], progress)[resolution],
            runtime=runtime,
            resolution_px=resolution,
            rounds=rounds,
            arrival_rate_per_s=arrival_rate,
            seed=seed,
        )
        comparison = compare_referees(plan, results, command=typed_command(), progress=progress)
    summary = summarise_referees(comparison, np.random.default_rng(seed))
    print_comparison(referee_tables(summary), referees_as_json(summary) if as_json else None)
    keep_page(page, referees_page(summary))


def payloads(
    resolutions: Resolutions = list(RESOLUTIONS_PX),  # noqa: B006 (typer copies it)
    runtime: Annotated[str, typer.Option("--runtime", help="Whose service is measured.")] = "onnx",
    rounds: Rounds = 5,
    seed: Seed = 0,
    source: Data = AUTO,
    root: DataRoot = None,
    cache: Cache = CACHE,
    artifacts: Artifacts = ARTIFACTS,
    results: Results = RESULTS,
    page: Page = None,
    as_json: Json = False,
) -> None:
    """The same image as PNG, JPEG, raw tensor and JSON numbers: bytes on the wire, decoding, response time."""
    import numpy as np

    from analysis.payloads import payloads_as_json, payloads_page, payloads_table, summarise_payloads
    from loadtest.payloads.comparison import PayloadPlan, compare_payloads
    from train.dataset import prepare_folders

    with progress_bar() as progress:
        images = image_settings(source, root, cache, resolutions, blood_cells=True)
        folders = prepare_folders(images, resolutions, progress)
        plan = PayloadPlan(artifacts=artifacts, datasets=folders, runtime=runtime, rounds=rounds, seed=seed)
        comparison = compare_payloads(plan, results / "payloads", command=typed_command(), progress=progress)
    figures = summarise_payloads(comparison, np.random.default_rng(seed))
    print_comparison([payloads_table(figures)], payloads_as_json(comparison, figures) if as_json else None)
    keep_page(page, payloads_page(comparison, figures))


def print_comparison(tables: Iterable[object], numbers: str | None) -> None:
    """Print ``numbers`` as they are, or ``tables`` where there are none."""
    if numbers is not None:
        typer.echo(numbers)
        return
    for table in tables:
        show(table)


def keep_page(page: Path | None, text: str) -> None:
    """Write a result as Markdown where ``page`` says so."""
    from contract.storage import write_atomically

    if page is not None:
        write_atomically(page, text.encode())
