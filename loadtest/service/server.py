"""A service in a process of its own: started, awaited, asked about itself, and stopped."""

from __future__ import annotations

import http.client
import re
import socket
import subprocess
import sys
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import msgspec

from contract.errors import ServiceFailed
from contract.records.load import TRAINED_ON
from loadtest.service.processes import guarded_process, last_lines

_POLL_S = 0.05
_ASK_TIMEOUT_S = 5.0
_COMPILATIONS = re.compile(
    rb"^hemabench_compilations_after_ready_total(?:\{[^}]*\})? (\d+(?:\.\d+)?)\s*$", re.MULTILINE
)
HOST = "127.0.0.1"

CommandForPort = Callable[[int], Sequence[str]]


@dataclass(frozen=True, slots=True, kw_only=True)
class RunningService:
    """A service that answered ``/readyz``. ``start_up_s`` runs from the start of its process to that answer."""

    url: str
    start_up_s: float
    log: Path
    process: subprocess.Popen[bytes]

    def require_alive(self) -> None:
        """Raise `ServiceFailed` with the end of its log when the service has ended by itself."""
        if self.process.poll() is not None:
            raise _death(self.process, self.log, "while it was measured")


@dataclass(frozen=True, slots=True, kw_only=True)
class ServiceReport:
    """What a service says of itself: facts in words, the artifact's digest, and its positive answers so far.

    ``compilations`` are programs that it compiled since it was ready. All empty for a
    service that is not ours, or too old to say.
    """

    facts: dict[str, str]
    digest: str | None = None
    answered: int | None = None
    compilations: int | None = None


class _SaidModel(msgspec.Struct):
    resolution: int
    digest: str
    answered: int
    name: str = ""
    trained_on: str | None = None


class _Said(msgspec.Struct):
    """The part of ``/v1/models`` that a load test reads."""

    runtime: dict[str, Any]
    models: list[_SaidModel]


def serve_command(
    *, runtime: str, resolution_px: int, artifacts: Path, device: str = "cpu", threads: int = 1
) -> CommandForPort:
    """The command that serves ``runtime`` at one resolution, once the port is known."""
    options = {
        "--runtime": runtime,
        "--resolution": str(resolution_px),
        "--artifacts": str(artifacts.absolute()),
        "--device": device,
        "--threads": str(threads),
    }
    words = [word for option in options.items() for word in option]
    return lambda port: [sys.executable, "-m", "cli", "serve", "--host", HOST, "--port", str(port), *words]


@contextmanager
def running_service(
    command: CommandForPort,
    *,
    log: Path,
    cores: Sequence[int] = (),
    start_deadline_s: float = 90.0,
    grace_s: float = 10.0,
) -> Iterator[RunningService]:
    """A service on a free port, ready; stopped with all its processes when the block is left.

    Raises `ServiceFailed` with the last lines of its log when it dies or is not ready in time.
    """
    port = free_port()
    began = time.monotonic()
    with guarded_process(command(port), log=log, cores=cores, grace_s=grace_s) as process:
        _wait_until_ready(port, process, log, start_deadline_s)
        yield RunningService(url=f"http://{HOST}:{port}", start_up_s=time.monotonic() - began, log=log, process=process)


def ask_service(url: str, resolution_px: int) -> ServiceReport:
    """What the service at ``url`` says at ``/v1/models`` about itself and its model of that resolution."""
    try:
        status, body = _get(url, "/v1/models", timeout_s=_ASK_TIMEOUT_S)
        said = msgspec.json.decode(body, type=_Said) if status == http.client.OK else None
    except (OSError, http.client.HTTPException, msgspec.DecodeError):
        said = None
    if said is None:
        return ServiceReport(facts={})
    facts = {name: _in_words(value) for name, value in said.runtime.items()}
    compilations = _compilations(url)
    for model in said.models:
        if model.resolution == resolution_px:
            return ServiceReport(
                facts=facts | {"model": model.name} | ({TRAINED_ON: model.trained_on} if model.trained_on else {}),
                digest=model.digest,
                answered=model.answered,
                compilations=compilations,
            )
    return ServiceReport(facts=facts, compilations=compilations)


def _compilations(url: str) -> int | None:
    """The service's own metric, as Prometheus reads it; None where there is none."""
    try:
        status, body = _get(url, "/metrics", timeout_s=_ASK_TIMEOUT_S)
    except (OSError, http.client.HTTPException):
        return None
    found = _COMPILATIONS.search(body) if status == http.client.OK else None
    return int(float(found[1])) if found else None


def is_ready(url: str) -> bool:
    """Whether the service at ``url`` says that it would answer now."""
    try:
        status, _ = _get(url, "/readyz", timeout_s=1.0)
    except (OSError, http.client.HTTPException):
        return False
    return status == http.client.OK


def _wait_until_ready(port: int, process: subprocess.Popen[bytes], log: Path, deadline_s: float) -> None:
    url = f"http://{HOST}:{port}"
    end = time.monotonic() + deadline_s
    while not is_ready(url):
        if process.poll() is not None:
            raise _death(process, log, "before it was ready")
        if time.monotonic() > end:
            raise ServiceFailed(
                f"the service was not ready after {deadline_s:.0f} s. Its last lines:\n{last_lines(log)}\n"
                f"Next: read {log}"
            )
        time.sleep(_POLL_S)


def _death(process: subprocess.Popen[bytes], log: Path, when: str) -> ServiceFailed:
    return ServiceFailed(
        f"the service ended {when}, with status {process.returncode}. Its last lines:\n{last_lines(log)}\n"
        f"Next: read {log}"
    )


def free_port() -> int:
    """A port that nobody listens on now."""
    with socket.socket() as probe:
        probe.bind((HOST, 0))
        return int(probe.getsockname()[1])


def _in_words(value: object) -> str:
    return value if isinstance(value, str) else msgspec.json.encode(value).decode()


def _get(url: str, path: str, timeout_s: float) -> tuple[int, bytes]:
    """Straight to the host: http.client heeds no proxy of the environment."""
    address = urlsplit(url)
    kind = http.client.HTTPSConnection if address.scheme == "https" else http.client.HTTPConnection
    connection = kind(address.hostname or HOST, address.port, timeout=timeout_s)
    try:
        connection.request("GET", address.path.rstrip("/") + path)
        response = connection.getresponse()
        return response.status, response.read()
    finally:
        connection.close()
