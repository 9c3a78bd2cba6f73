"""Our service and its peers, side by side: the same artifact, image and cores, in random order, round after round.

Every contender runs all the time and only the one that is measured may use the core: the
others are stopped by signal, so that none polls in another's window. Each round
measures each contender once at each number of connections, in an order drawn anew.
"""

from __future__ import annotations

import base64
import sys
from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from datetime import UTC, datetime
from importlib.util import find_spec
from pathlib import Path
from urllib.parse import urlsplit

import msgspec
import numpy as np
import psutil

from contract.environment import describe_environment
from contract.errors import InvalidSettings, ServiceFailed
from contract.progress import Progress, silent
from contract.records.peers import BARE, EMPTY, LITSERVE, OURS, PEERS_FILE, TEXTBOOK, PeerComparison, PeerWindow
from contract.records.seal import seal_folder
from contract.storage import write_json
from contract.timing import NS_PER_S
from loadtest.generator.payloads import encode_png
from loadtest.peers.wire import closed_loop, request_bytes
from loadtest.service.processes import CoreSplit, split_cores
from loadtest.service.server import RunningService, running_service, serve_command
from loadtest.service.turns import all_stopped, family_of, on_cores, running_alone

PATH = "/v1/classify"
_BOUNDARY = "hemabench-peers"


@dataclass(frozen=True, slots=True, kw_only=True)
class PeerPlan:
    """What to measure. A round of five contenders and two numbers of connections takes 5 x 2 x (warm-up + window)."""

    artifacts: Path
    resolution_px: int = 28
    rounds: int = 10
    window_s: float = 1.6
    warmup_s: float = 0.3
    connections: tuple[int, ...] = (1, 16)
    contenders: tuple[str, ...] = (OURS, BARE, TEXTBOOK, LITSERVE, EMPTY)
    seed: int = 0

    def __post_init__(self) -> None:
        if self.rounds < 1 or self.window_s <= 0 or self.warmup_s < 0 or min(self.connections, default=0) < 1:
            raise InvalidSettings("peers need at least one round, one connection, and a window longer than 0 s")
        if unknown := set(self.contenders) - set(CONTENDERS):
            raise InvalidSettings(f"no contender is called {min(unknown)!r}; there are: {', '.join(CONTENDERS)}")


@dataclass(frozen=True, slots=True, kw_only=True)
class Contender:
    """A module that serves, how it wants an image sent, and the package and extra that it needs."""

    module: str
    encode: Callable[[bytes], tuple[str, bytes]]
    package: str
    extra: str


def as_bytes(image: bytes) -> tuple[str, bytes]:
    """The file itself."""
    return "image/png", image


def as_form(image: bytes) -> tuple[str, bytes]:
    """One field of multipart/form-data."""
    head = (
        f'--{_BOUNDARY}\r\nContent-Disposition: form-data; name="image"; filename="cell.png"\r\n'
        "Content-Type: image/png\r\n\r\n"
    )
    return f"multipart/form-data; boundary={_BOUNDARY}", head.encode() + image + f"\r\n--{_BOUNDARY}--\r\n".encode()


def as_json(image: bytes) -> tuple[str, bytes]:
    """Base64 inside JSON."""
    return "application/json", msgspec.json.encode({"image": base64.b64encode(image).decode()})


CONTENDERS = {
    OURS: Contender(module="cli", encode=as_bytes, package="bentoml", extra="serving"),
    BARE: Contender(module="serving.peers.bare", encode=as_bytes, package="uvicorn", extra="serving"),
    TEXTBOOK: Contender(module="serving.peers.textbook", encode=as_form, package="bentoml", extra="serving"),
    LITSERVE: Contender(module="serving.peers.litserve", encode=as_json, package="litserve", extra="peers"),
    EMPTY: Contender(module="serving.peers.empty", encode=as_bytes, package="uvicorn", extra="serving"),
}


def compare_peers(plan: PeerPlan, folder: Path, *, command: str, progress: Progress = silent) -> PeerComparison:
    """Measure every contender of ``plan`` that is installed; ``folder`` gets the records, and what the services print.

    This process is moved to the client's core for the time. ``command`` is how a reader
    repeats it. Raises `ServiceFailed` where a contender does not start, or refuses the image.
    """
    cores = split_cores(threads=1)
    image = encode_png(np.random.default_rng(plan.seed).integers(0, 256, (plan.resolution_px,) * 2 + (3,), np.uint8))
    missing = missing_contenders(plan.contenders)
    present = [name for name in plan.contenders if name not in missing]
    with ExitStack() as running:
        progress("start the services", 0, plan.rounds)
        services = {name: running.enter_context(_service(name, plan, folder, cores)) for name in present}
        running.enter_context(on_cores(cores.generator))
        windows = tuple(_measure(plan, services, image, progress))
    comparison = PeerComparison(
        environment=describe_environment(),
        measured_at=datetime.now(UTC).isoformat(timespec="seconds"),
        command=command,
        resolution_px=plan.resolution_px,
        image_bytes=len(image),
        service_cores=cores.service,
        client_cores=cores.generator,
        windows=windows,
        missing=missing,
    )
    write_json(folder / PEERS_FILE, comparison)
    seal_folder(folder)
    return comparison


def missing_contenders(names: Sequence[str]) -> dict[str, str]:
    """Those of ``names`` whose package is not installed, and the command that installs it."""
    return {
        name: f"needs {CONTENDERS[name].package}: pip install -c constraints.txt -e '.[{CONTENDERS[name].extra}]'"
        for name in names
        if find_spec(CONTENDERS[name].package) is None
    }


def _measure(
    plan: PeerPlan, services: dict[str, RunningService], image: bytes, progress: Progress
) -> Iterator[PeerWindow]:
    rng = np.random.default_rng(plan.seed)
    cells = [(name, connections) for name in services for connections in plan.connections]
    with all_stopped(services):
        for round_ in range(plan.rounds):
            for position in rng.permutation(len(cells)):
                name, connections = cells[position]
                progress(f"round {round_ + 1}: {name}, {connections} connections", round_, plan.rounds)
                yield _window(plan, name, services[name], round_, connections, image)
    progress("measured", plan.rounds, plan.rounds)


def _window(
    plan: PeerPlan, name: str, service: RunningService, round_: int, connections: int, image: bytes
) -> PeerWindow:
    address = urlsplit(service.url)
    host, port = str(address.hostname), int(address.port or 80)
    request = request_bytes(host, port, PATH, *CONTENDERS[name].encode(image))
    family = family_of(service)
    with running_alone(family):
        closed_loop(host, port, request, connections=connections, duration_s=plan.warmup_s)
        cpu_ns = _cpu_ns(family)
        loop = closed_loop(host, port, request, connections=connections, duration_s=plan.window_s)
        cpu_ns = _cpu_ns(family) - cpu_ns
    if loop.failures:
        raise ServiceFailed(f"{name} refused {loop.failures} of {len(loop.round_trips_ns)} images. See {service.log}")
    return PeerWindow(
        contender=name,
        round=round_,
        connections=connections,
        round_trips_ns=tuple(loop.round_trips_ns),
        elapsed_ns=loop.elapsed_ns,
        cpu_ns=cpu_ns,
        failures=loop.failures,
    )


@contextmanager
def _service(name: str, plan: PeerPlan, logs: Path, cores: CoreSplit) -> Iterator[RunningService]:
    if name == OURS:
        command = serve_command(runtime="onnx", resolution_px=plan.resolution_px, artifacts=plan.artifacts)
    else:
        words = [sys.executable, "-m", CONTENDERS[name].module, "--resolution", str(plan.resolution_px)]
        words += ["--artifacts", str(plan.artifacts.absolute())]
        command = lambda port: [*words, "--port", str(port)]  # noqa: E731
    with running_service(command, log=logs / f"{name}.log", cores=cores.service) as service:
        yield service


def _cpu_ns(family: list[psutil.Process]) -> int:
    times = [process.cpu_times() for process in family]
    used_s: float = sum(time.user + time.system for time in times)
    return round(used_s * NS_PER_S)
