"""Answers: a service, and one image classified."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Annotated

import typer

from commands.console import progress_bar, show, show_json, tell
from commands.options import ARTIFACTS, Artifacts, Device, Json, Threads
from contract.blood_cells import NOTICE
from contract.errors import InvalidSettings


def serve(
    runtime: Annotated[str, typer.Option("--runtime", help="pytorch, tensorflow, jax, onnx or null.")] = "onnx",
    resolutions: Annotated[
        list[int] | None, typer.Option("--resolution", "-r", help="Default: all that are exported.", show_default=False)
    ] = None,
    host: Annotated[
        str, typer.Option("--host", help="0.0.0.0 for every interface; there is no authentication.")
    ] = "127.0.0.1",
    port: Annotated[int, typer.Option("--port", min=1, max=65535)] = 3000,
    device: Device = "cpu",
    threads: Threads = 1,
    batching: Annotated[
        bool, typer.Option("--batching/--no-batching", help="Infer waiting requests together: for GPUs and high load.")
    ] = False,
    audit_log: Annotated[
        Path | None, typer.Option("--audit-log", help="Append a line per answer: digest of the input, label, status.")
    ] = None,
    artifacts: Artifacts = ARTIFACTS,
) -> None:
    """Serve one runtime over HTTP until Ctrl-C."""
    from serving.launch import prepare_launch
    from serving.settings import ServiceSettings

    settings = ServiceSettings(
        runtime=runtime,
        device=device,
        resolutions_px=tuple(resolutions or ()),
        artifacts=artifacts,
        threads=threads,
        batching=batching,
        audit_log=audit_log,
    )
    launch = prepare_launch(settings, host=host, port=port)
    tell(f"{runtime} at {launch.url}  ({NOTICE})")
    os.execve(launch.command[0], launch.command, launch.environment)


def classify(
    image: Annotated[Path, typer.Argument(help="A PNG, JPEG, WebP, TIFF or BMP of one cell, or a folder of them.")],
    url: Annotated[str | None, typer.Option("--url", help="Ask a running service instead of this process.")] = None,
    out: Annotated[Path, typer.Option("--out", help="Of a folder: one row per file.")] = Path("predictions.csv"),
    concurrency: Annotated[int, typer.Option("--concurrency", min=1, help="Of a folder: files on their way.")] = 8,
    runtime: Annotated[str, typer.Option("--runtime", help="In this process only.")] = "onnx",
    resolution: Annotated[
        int | None, typer.Option("--resolution", "-r", help="Default: the smallest there is.")
    ] = None,
    artifacts: Artifacts = ARTIFACTS,
    as_json: Json = False,
) -> None:
    """Which cell is this? Label, probabilities and where the time went; of a folder, a CSV file."""
    from analysis.terminal import probabilities_table
    from serving.classify import classify_at, classify_file
    from serving.settings import ServiceSettings

    if image.is_dir():
        _classify_folder(image, url, out, resolution, concurrency)
        return
    if url:
        answer = classify_at(image, url, resolution)
    else:
        answer = classify_file(image, ServiceSettings(runtime=runtime, artifacts=artifacts), resolution)
    if as_json:
        show_json(answer)
        return
    show(probabilities_table(answer.label, answer.probabilities))
    timing = "  ".join(f"{part} {duration:.3f}" for part, duration in answer.timing_ms.items())
    show(f"{answer.model.name} at {answer.model.resolution} px on {answer.model.runtime}; ms: {timing}")
    show(f"[dim]{answer.notice}[/dim]")


def _classify_folder(folder: Path, url: str | None, out: Path, resolution: int | None, concurrency: int) -> None:
    from serving.folder import FolderSettings, classify_folder

    if url is None:
        raise InvalidSettings("a folder is classified by a service. Next: hemabench serve, and name it with --url")
    settings = FolderSettings(folder=folder, url=url, output=out, resolution_px=resolution, concurrency=concurrency)
    try:
        with progress_bar() as progress:
            outcome = classify_folder(settings, progress)
    except KeyboardInterrupt:
        tell(f"\nstopped; {out} keeps its rows. Next: the same command goes on")
        raise typer.Exit(130) from None
    show(f"{out}: {outcome.answered:,} answered, {outcome.refused:,} refused, {outcome.skipped:,} there already")
