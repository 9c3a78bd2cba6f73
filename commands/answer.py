"""Answers: a service, and one image classified."""

from __future__ import annotations

import os
import signal
import webbrowser
from collections.abc import Mapping
from dataclasses import asdict, replace
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from commands.console import INTERRUPTED, progress_bar, show, show_json, tell, warn
from commands.options import ARTIFACTS, MOST_THREADS, Artifacts, Json, side_option
from contract.blood_cells import NOTICE
from contract.errors import DataUnavailable, InvalidSettings

if TYPE_CHECKING:
    from serving.answers import Answer
    from serving.client.folder import FolderOutcome
    from serving.gateway.services import Service
    from serving.settings import ServiceSettings

COMMONEST = 3  # codes of refusals that a closing line names

RuntimeOrDefault = Annotated[
    str | None,
    typer.Option("--runtime", help="pytorch, tensorflow, jax, onnx or null. Default: onnx.", show_default=False),
]
EveryRuntime = Annotated[
    bool, typer.Option("--all", help="Every runtime that has artifacts, and the page in front of them.")
]
Elsewhere = Annotated[
    list[str] | None,
    typer.Option(
        "--service",
        help="RUNTIME=URL: with --all, the page in front of services that run already; repeat for several.",
        show_default=False,
    ),
]
OpenPage = Annotated[bool, typer.Option("--open", help="With --all: open the page in a browser.")]
ExportedSides = Annotated[list[int] | None, side_option("Default: all that are exported.", show_default=False)]
Host = Annotated[str, typer.Option("--host", help="0.0.0.0 for every interface; there is no authentication.")]
Port = Annotated[int, typer.Option("--port", min=1, max=65535)]
DeviceOrDefault = Annotated[str | None, typer.Option("--device", help="cpu, cuda or cuda:N.", show_default="cpu")]
ThreadsOrDefault = Annotated[
    int | None,
    typer.Option("--threads", min=1, max=MOST_THREADS, help="Threads of one inference.", show_default="1"),
]
Batching = Annotated[
    bool | None,
    typer.Option(
        "--batching/--no-batching",
        help="Infer waiting requests together: for GPUs and high load.",
        show_default="no-batching",
    ),
]
AuditLog = Annotated[
    Path | None,
    typer.Option(
        "--audit-log",
        help="Append a line per answer: digest of the input, label, status.",
        dir_okay=False,
        show_default=False,
    ),
]
ArtifactsOrDefault = Annotated[
    Path | None, typer.Option("--artifacts", help="Where exported models lie.", show_default=str(ARTIFACTS))
]


def serve(
    runtime: RuntimeOrDefault = None,
    every_runtime: EveryRuntime = False,
    elsewhere: Elsewhere = None,
    open_page: OpenPage = False,
    resolutions: ExportedSides = None,
    host: Host = "127.0.0.1",
    port: Port = 3000,
    device: DeviceOrDefault = None,
    threads: ThreadsOrDefault = None,
    batching: Batching = None,
    audit_log: AuditLog = None,
    artifacts: ArtifactsOrDefault = None,
) -> None:
    """Serve one runtime over HTTP until Ctrl-C; with --all every runtime, and a page that asks them all.

    What is not given is taken from the HEMABENCH_* variables (docs/deploying.md), then from the defaults.
    """
    from serving.settings import ServiceSettings

    _require_page_for(every_runtime, runtime, elsewhere, open_page)
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
    else:
        _serve_one(settings, host, port)


def _require_page_for(every_runtime: bool, runtime: str | None, elsewhere: list[str] | None, open_page: bool) -> None:
    if every_runtime and runtime:
        raise InvalidSettings("--all serves every runtime, --runtime one. Next: leave one of them away")
    if elsewhere and not every_runtime:
        raise InvalidSettings("--service needs the page. Next: hemabench serve --all --service RUNTIME=URL")
    if open_page and not every_runtime:
        raise InvalidSettings("--open needs the page. Next: hemabench serve --all --open")


def _serve_one(settings: ServiceSettings, host: str, port: int) -> None:
    """Become the service: no process stands between it and whoever stops it."""
    from serving.process.launch import prepare_launch

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
        raise typer.Exit(INTERRUPTED)


def _announce(url: str, services: Mapping[str, Service], open_page: bool) -> None:
    for service in services.values():
        if service.reason:
            warn(f"{service.runtime} is {service.state}: {service.reason}. Next: {service.next_step}")
    tell(f"the page is at {url}  ({NOTICE})")
    if open_page and not webbrowser.open(url):
        warn(f"no browser could be opened. Next: open {url} yourself")


def classify(
    image: Annotated[Path, typer.Argument(help="A PNG, JPEG, WebP, TIFF or BMP of one cell, or a folder of them.")],
    url: Annotated[
        str | None, typer.Option("--url", help="Ask a running service instead of this process.", show_default=False)
    ] = None,
    out: Annotated[Path, typer.Option("--out", help="Of a folder: one row per file.")] = Path("predictions.csv"),
    concurrency: Annotated[
        int, typer.Option("--concurrency", min=1, max=1_000, help="Of a folder: files on their way.")
    ] = 8,
    runtime: Annotated[
        str | None, typer.Option("--runtime", help="In this process only, without --url.", show_default="onnx")
    ] = None,
    resolution: Annotated[int | None, side_option("Default: the smallest there is.", show_default=False)] = None,
    artifacts: Artifacts = ARTIFACTS,
    as_json: Json = False,
) -> None:
    """Which cell is this? Label, probabilities and where the time went; of a folder, a CSV file."""
    from analysis.terminal import probabilities_table
    from serving.client.classify import classify_at, classify_file
    from serving.settings import ServiceSettings

    if url is not None and runtime is not None:
        raise InvalidSettings(
            "a service has its runtime: --runtime is of this process. Next: leave --runtime or --url away"
        )
    if image.is_dir():
        _classify_folder(image, url, out, resolution, concurrency, as_json)
        return
    if url is not None:
        answer = classify_at(image, url, resolution)
    else:
        answer = classify_file(image, ServiceSettings(runtime=runtime or "onnx", artifacts=artifacts), resolution)
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


def _classify_folder(
    folder: Path, url: str | None, out: Path, resolution: int | None, concurrency: int, as_json: bool
) -> None:
    from serving.client.folder import FolderSettings, classify_folder

    if url is None:
        raise InvalidSettings("a folder is classified by a service. Next: hemabench serve, and name it with --url")
    settings = FolderSettings(folder=folder, url=url, output=out, resolution_px=resolution, concurrency=concurrency)
    with progress_bar(f"{out} keeps its rows. Next: the same command goes on") as progress:
        outcome = classify_folder(settings, progress)
    if as_json:
        show_json({"out": str(out), **asdict(outcome)})
    else:
        typer.echo(_closing_line(out, outcome))  # one line, however long, and a path as it is
    if not outcome.any_answered:
        raise DataUnavailable(f"no file below {folder} was answered. Next: see why under error_message in {out}")


def _closing_line(out: Path, outcome: FolderOutcome) -> str:
    counts = f"{outcome.answered:,} answered, {outcome.refused:,} refused, {outcome.skipped:,} there already"
    ordered = sorted(outcome.refusals.items(), key=lambda item: -item[1])
    refusals = ", ".join(f"{code} {files:,}" for code, files in ordered[:COMMONEST])
    in_all = f"{outcome.out_of_distribution:,} out of distribution" + (f", refused: {refusals}" if refusals else "")
    return f"{out}: {counts}; in all {in_all}"
