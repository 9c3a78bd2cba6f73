"""Answers: a service, and one image classified."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Annotated

import typer

from commands.console import show, show_json, tell
from commands.options import ARTIFACTS, Artifacts, Device, Json, Threads
from contract.blood_cells import NOTICE


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
    artifacts: Artifacts = ARTIFACTS,
) -> None:
    """Serve one runtime over HTTP until Ctrl-C."""
    from serving.launch import prepare_launch
    from serving.settings import ServiceSettings

    settings = ServiceSettings(
        runtime=runtime, device=device, resolutions_px=tuple(resolutions or ()), artifacts=artifacts, threads=threads
    )
    launch = prepare_launch(settings, host=host, port=port)
    tell(f"{runtime} at {launch.url}  ({NOTICE})")
    os.execve(launch.command[0], launch.command, launch.environment)


def classify(
    image: Annotated[Path, typer.Argument(help="A PNG, JPEG, WebP, TIFF or BMP of one cell.")],
    url: Annotated[str | None, typer.Option("--url", help="Ask a running service instead of this process.")] = None,
    runtime: Annotated[str, typer.Option("--runtime", help="In this process only.")] = "onnx",
    resolution: Annotated[
        int | None, typer.Option("--resolution", "-r", help="Default: the smallest there is.")
    ] = None,
    artifacts: Artifacts = ARTIFACTS,
    as_json: Json = False,
) -> None:
    """Which cell is this? Label, probabilities and where the time went."""
    from analysis.terminal import probabilities_table
    from serving.classify import classify_at, classify_file
    from serving.settings import ServiceSettings

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
