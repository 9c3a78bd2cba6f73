"""Whether the load generator itself can be trusted, and what the form of an image costs."""

from __future__ import annotations

from typing import Annotated

import typer

from commands.console import progress_bar, typed_command
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
    Page,
    Resolution,
    Resolutions,
    Results,
    Rounds,
    Runtime,
    Seed,
)
from commands.prepare import image_settings
from commands.report import conclude, new_folder
from contract.blood_cells import RESOLUTIONS_PX


def referee(
    runtime: Runtime = "onnx",
    resolution: Resolution = 64,
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
    from contract.dataset import dataset_folder
    from loadtest.referees.comparison import RefereePlan, compare_referees
    from train.dataset import prepare_folders

    with progress_bar() as progress:
        images = image_settings(source, root, cache, [resolution], blood_cells=True)
        plan = RefereePlan(
            artifacts=artifacts,
            dataset=dataset_folder(images.cache, images.source, resolution),
            runtime=runtime,
            resolution_px=resolution,
            rounds=rounds,
            arrival_rate_per_s=arrival_rate,
            seed=seed,
        )
        prepare_folders(images, [resolution], progress)  # after the plan: its settings are refused first
        folder = new_folder(results, "referee")
        compare_referees(plan, folder, command=typed_command(), progress=progress)
    conclude(folder, as_json, page=page)


def payloads(
    resolutions: Resolutions = list(RESOLUTIONS_PX),  # noqa: B006 (typer copies it)
    runtime: Runtime = "onnx",
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
    from loadtest.payloads.comparison import PayloadPlan, compare_payloads
    from train.dataset import prepare_folders

    with progress_bar() as progress:
        images = image_settings(source, root, cache, resolutions, blood_cells=True)
        folders = prepare_folders(images, resolutions, progress)
        plan = PayloadPlan(artifacts=artifacts, datasets=folders, runtime=runtime, rounds=rounds, seed=seed)
        folder = new_folder(results, "payloads")
        compare_payloads(plan, folder, command=typed_command(), progress=progress)
    conclude(folder, as_json, page=page)
