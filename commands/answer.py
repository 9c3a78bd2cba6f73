"""Answers: a service, and one image classified."""

from __future__ import annotations

import os
import signal
import webbrowser
from collections.abc import Mapping
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from commands.console import progress_bar, show, show_json, tell, warn
from commands.options import ARTIFACTS, Artifacts, Json
from contract.blood_cells import NOTICE
from contract.errors import InvalidSettings

if TYPE_CHECKING:
    from serving.answers import Answer
    from serving.gateway.services import Service
    from serving.settings import ServiceSettings


def serve(
    runtime: Annotated[
        str | None,
        typer.Option("--runtime", help="pytorch, tensorflow, jax, onnx or null. Default: onnx.", show_default=False),
    ] = None,
    every_runtime: Annotated[
        bool, typer.Option("--all", help="Every runtime that has artifacts, and the page in front of them.")
    ] = False,
    elsewhere: Annotated[
        list[str] | None,
        typer.Option(
            "--service",
            help="RUNTIME=URL: with --all, the page in front of services that run already; repeat for several.",
            show_default=False,
        ),
    ] = None,
    open_page: Annotated[bool, typer.Option("--open", help="With --all: open the page in a browser.")] = False,
    resolutions: Annotated[
        list[int] | None, typer.Option("--resolution", "-r", help="Default: all that are exported.", show_default=False)
    ] = None,
    host: Annotated[
        str, typer.Option("--host", help="0.0.0.0 for every interface; there is no authentication.")
    ] = "127.0.0.1",
    port: Annotated[int, typer.Option("--port", min=1, max=65535)] = 3000,
    device: Annotated[str | None, typer.Option("--device", help="cpu, cuda or cuda:N.", show_default="cpu")] = None,
    threads: Annotated[
        int | None, typer.Option("--threads", min=1, help="Threads of one inference.", show_default="1")
    ] = None,
    batching: Annotated[
        bool | None,
        typer.Option(
            "--batching/--no-batching",
            help="Infer waiting requests together: for GPUs and high load.",
            show_default="no-batching",
        ),
    ] = None,
    audit_log: Annotated[
        Path | None, typer.Option("--audit-log", help="Append a line per answer: digest of the input, label, status.")
    ] = None,
    artifacts: Annotated[
        Path | None, typer.Option("--artifacts", help="Where exported models lie.", show_default=str(ARTIFACTS))
    ] = None,
) -> None:
    """Serve one runtime over HTTP until Ctrl-C; with --all every runtime, and a page that asks them all.

    What is not given is taken from the HEMABENCH_* variables (docs/deploying.md), then from the defaults.
    """
    from serving.process.launch import prepare_launch
    from serving.settings import ServiceSettings

    if every_runtime and runtime:
        raise InvalidSettings("--all serves every runtime, --runtime one. Next: leave one of them away")
    if elsewhere and not every_runtime:
        raise InvalidSettings("--service needs the page. Next: hemabench serve --all --service RUNTIME=URL")
    if open_page and not every_runtime:
        raise InvalidSettings("--open needs the page. Next: hemabench serve --all --open")
    options = {
        "runtime": runtime,
        "device": device,
        "resolutions_px": tuple(resolutions or ()) or None,
        "artifacts": artifacts,
        "threads": threads,
        "batching": batching,
        "audit_log": audit_log,
    }
    given = {name: value for name, value in options.items() if value is not None}
    settings = replace(ServiceSettings.from_environment(os.environ), **given)  # type: ignore[arg-type]
    if every_runtime:
        _serve_all(settings, elsewhere or [], host, port, open_page)
        return
    launch = prepare_launch(settings, host=host, port=port)
    tell(f"{settings.runtime} at {launch.url}  ({NOTICE})")
    os.execve(launch.command[0], launch.command, launch.environment)


def _serve_all(template: ServiceSettings, elsewhere: list[str], host: str, port: int, open_page: bool) -> None:
    from serving.gateway.run import run_gateway
    from serving.gateway.settings import Elsewhere, GatewaySettings, servable_runtimes

    if elsewhere:
        settings = GatewaySettings(services=tuple(map(Elsewhere.parse, elsewhere)), host=host, port=port)
    else:
        found, left_out = servable_runtimes(template)
        for runtime, reason in left_out.items():
            warn(f"{runtime} is left out: {reason}")
        settings = GatewaySettings(services=found, host=host, port=port)
    ended_by = run_gateway(settings, progress_bar, partial(_announce, open_page=open_page))
    tell(f"stopped; no process is left, the services' logs are in {settings.logs}")
    if ended_by == signal.SIGINT:
        raise typer.Exit(130)


def _announce(url: str, services: Mapping[str, Service], open_page: bool) -> None:
    for service in services.values():
        if service.reason:
            warn(f"{service.runtime} is {service.state}: {service.reason}. Next: read {service.log}")
    tell(f"the page is at {url}  ({NOTICE})")
    if open_page and not webbrowser.open(url):
        warn(f"no browser could be opened. Next: open {url} yourself")


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
    from serving.client.classify import classify_at, classify_file
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
    show(_likeness(answer))
    timing = "  ".join(f"{part} {duration:.3f}" for part, duration in answer.timing_ms.items())
    show(f"{answer.model.name} at {answer.model.resolution} px on {answer.model.runtime}; ms: {timing}")
    show(f"[dim]{answer.notice}[/dim]")


def _likeness(answer: Answer) -> str:
    if answer.in_distribution is None:
        return "nothing tells whether this is such an image as the model knows"
    measured = f"distance {answer.distance:.1f} from the training images, threshold {answer.distance_threshold:.1f}"
    if answer.in_distribution:
        return f"an image such as the model knows ({measured})"
    return f"[bold]out of distribution: the label means nothing[/bold] ({measured})"


def _classify_folder(folder: Path, url: str | None, out: Path, resolution: int | None, concurrency: int) -> None:
    from serving.client.folder import FolderSettings, classify_folder

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
