"""What is installed, what this machine is like, and what lies ready: with what to do where something is missing."""

from __future__ import annotations

import os
import shutil
import socket
import sys
from collections.abc import Iterator
from dataclasses import dataclass
from importlib.metadata import packages_distributions, version
from importlib.util import find_spec
from pathlib import Path
from typing import Annotated, Literal

import typer

from commands.console import show, show_json
from commands.options import ARTIFACTS, CACHE, CHECKPOINTS, Artifacts, Cache, Checkpoints, Json
from contract.blood_cells import RESOLUTIONS_PX

Level = Literal["ok", "warn", "fail"]
GIB = 2**30
LEAST_FREE_BYTES, ENOUGH_FREE_BYTES = 1 * GIB, 5 * GIB

# The package that tells whether an extra is installed, beside the runtimes' own.
EXTRA_PACKAGES = {
    "data": "medmnist",
    "serving": "bentoml",
    "loadtest": "locust",
    "report": "altair",
    "peers": "litserve",
    "referee": "mlperf_loadgen",
}
NEEDED_EXTRAS = {"serving"}
OPTIONAL_PROGRAMS = {
    "g++": "the runtimes that compile with PyTorch need it: apt install g++",
    "chromium": "only the page's own tests need it: apt install chromium chromium-driver",
    "wrk": "only the comparison of load generators needs it: apt install wrk",
}


@dataclass(frozen=True, slots=True, kw_only=True)
class Check:
    """One line: what was looked at, what was found, and what to do unless it is fine."""

    name: str
    level: Level
    found: str
    next: str = ""


def doctor(
    port: Annotated[int, typer.Option("--port", min=1, max=65535, help="The port that shall be free.")] = 3000,
    cache: Cache = CACHE,
    checkpoints: Checkpoints = CHECKPOINTS,
    artifacts: Artifacts = ARTIFACTS,
    as_json: Json = False,
) -> None:
    """What is installed, what this machine is like, what lies ready, and what to do. Exit code 1 on a failed check."""
    checks = [
        *_installed(),
        *_machine(),
        *_images(cache),
        *(_weights(checkpoints, resolution_px) for resolution_px in RESOLUTIONS_PX),
        *_artifacts(artifacts),
        _port(port),
        _disk(),
        *_programs(),
    ]
    if as_json:
        show_json(checks)
    else:
        _show_table(checks)
    if any(check.level == "fail" for check in checks):
        raise typer.Exit(1)


def _installed() -> Iterator[Check]:
    from serving.runtimes import RUNTIMES

    yield Check(name="Python", level="ok", found=sys.version.split()[0])
    runtimes = {entry.extra: entry.module for entry in RUNTIMES.values() if entry.format is not None}
    distributions = packages_distributions()
    for extra, module in (runtimes | EXTRA_PACKAGES).items():
        if find_spec(module) is not None:
            package = distributions.get(module, [module])[0]  # tensorflow comes as tensorflow-cpu, too
            yield Check(name=f"extra {extra}", level="ok", found=f"{package} {version(package)}")
            continue
        yield Check(
            name=f"extra {extra}",
            level="fail" if extra in NEEDED_EXTRAS else "warn",
            found=f"{module} is not installed",
            next=f"pip install -c constraints.txt -e '.[{extra}]'",
        )


def _machine() -> Iterator[Check]:
    from contract.environment import describe_environment

    machine = describe_environment()
    yield Check(name="device", level="ok", found=f"{machine.cpu_model}; GPU: {machine.accelerator or 'none'}")
    yield Check(
        name="cores",
        level="ok" if machine.cores > 1 else "warn",
        found=f"{machine.cores} usable" + (", pinning possible" if hasattr(os, "sched_setaffinity") else ""),
        next="" if machine.cores > 1 else "service and load generator share a core: measure where there are two",
    )
    steady = machine.governor in (None, "performance")
    yield Check(
        name="governor",
        level="ok" if steady else "warn",
        found=machine.governor or "not visible from here, as in most virtual machines",
        next="" if steady else "cpupower frequency-set -g performance, or expect wider intervals",
    )
    given = sorted(name for name in os.environ if name.endswith("_NUM_THREADS"))
    yield Check(
        name="threads",
        level="warn" if given else "ok",
        found=", ".join(f"{name}={os.environ[name]}" for name in given) or "no variable sets them",
        next="services replace these variables; choose with --threads" if given else "",
    )


def _images(cache: Path) -> Iterator[Check]:
    from contract.dataset import DATASET_FILE

    found = sorted(f"{path.parent.parent.name} {path.parent.name}" for path in cache.glob(f"*/*px/{DATASET_FILE}"))
    if found:
        yield Check(name="images", level="ok", found=", ".join(found))
    else:
        yield Check(name="images", level="warn", found=f"none in {cache}", next="hemabench data")


def _weights(checkpoints: Path, resolution_px: int) -> Check:
    from contract.errors import ArtifactUnavailable, HemaBenchError
    from train.checkpoints import checkpoint_path, load_checkpoint

    name = f"weights {resolution_px} px"
    try:
        record = load_checkpoint(checkpoint_path(checkpoints, "hemanet", resolution_px)).record
    except ArtifactUnavailable:
        return Check(name=name, level="warn", found="none", next=f"hemabench train --resolution {resolution_px}")
    except HemaBenchError as error:
        return Check(name=name, level="fail", found=str(error), next="restore the file, or hemabench train")
    return Check(name=name, level="ok", found=f"trained on {record.data_description}")


def _artifacts(artifacts: Path) -> Iterator[Check]:
    from contract.errors import HemaBenchError
    from contract.manifest import FORMATS, MANIFEST_FILE, artifact_folder, load_artifact

    for format_ in FORMATS:
        proved: list[str] = []
        folders = (artifact_folder(artifacts, format_, resolution_px) for resolution_px in RESOLUTIONS_PX)
        for folder in (folder for folder in folders if (folder / MANIFEST_FILE).is_file()):
            try:
                load_artifact(folder)
                proved.append(folder.name)
            except HemaBenchError as error:
                yield Check(name=f"artifact {format_}", level="fail", found=str(error), next="hemabench export --force")
        if proved:
            yield Check(
                name=f"artifacts {format_}", level="ok", found=f"{', '.join(proved)}: proved when made, unchanged since"
            )
        else:
            yield Check(
                name=f"artifacts {format_}", level="warn", found="none", next=f"hemabench export --format {format_}"
            )


def _port(port: int) -> Check:
    try:
        with socket.create_server(("127.0.0.1", port)):
            return Check(name=f"port {port}", level="ok", found="free")
    except OSError as error:
        return Check(
            name=f"port {port}", level="warn", found=str(error.strerror), next="hemabench serve with another --port"
        )


def _disk() -> Check:
    free = shutil.disk_usage(Path()).free
    level: Level = "fail" if free < LEAST_FREE_BYTES else "warn" if free < ENOUGH_FREE_BYTES else "ok"
    advice = "" if level == "ok" else "images of 224 px take 2.5 GiB: free some space, or name a --cache elsewhere"
    return Check(name="disk", level=level, found=f"{free / GIB:.1f} GiB free here", next=advice)


def _programs() -> Iterator[Check]:
    for program, purpose in OPTIONAL_PROGRAMS.items():
        path = shutil.which(program)
        yield Check(
            name=program, level="ok" if path else "warn", found=path or "not found", next="" if path else purpose
        )


def _show_table(checks: list[Check]) -> None:
    from rich.markup import escape
    from rich.table import Table

    colours = {"ok": "green", "warn": "yellow", "fail": "bold red"}
    table = Table("check", "", "found", "next")
    for check in checks:
        table.add_row(check.name, f"[{colours[check.level]}]{check.level}[/]", escape(check.found), escape(check.next))
    show(table)
