"""Real artifacts of a tiny network, exported by each framework, and real services that run them."""

from __future__ import annotations

import asyncio
import io
import os
import re
import resource
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path

import httpx
import numpy as np
import pytest
from PIL import Image

from contract.arrays import FloatArray
from contract.blood_cells import LABELS
from serving.answers import Answer, LoadedModels, ModelName, decode_json
from serving.http.door import Door
from serving.http.endpoints import Endpoints
from serving.inference.classifier import Classifier, ServedModel
from serving.inference.devices import CPU
from serving.process.launch import Launch, prepare_launch
from serving.process.leash import leashed
from serving.runtimes import RUNTIMES
from serving.runtimes.null import NullRuntime
from serving.settings import ServiceSettings

HERE = Path(__file__).parent
ROOT = HERE.parents[1]
TINY_RESOLUTIONS = (28, 64)
START_UP_S = 180  # a bound for a loaded machine, no promise
# Decompression bombs are sent to these services; a decoder that fell for one fails here and not the machine.
MEMORY_LIMIT_BYTES = 24 << 30


@dataclass(frozen=True)
class RunningService:
    url: str
    supervisor: subprocess.Popen[bytes]
    log: Path

    @property
    def worker_pid(self) -> int:
        return int(httpx.get(f"{self.url}/v1/models").json()["service"]["pid"])

    def metric(self, name: str) -> float:
        lines = httpx.get(f"{self.url}/metrics").text.splitlines()
        return sum(float(line.split()[-1]) for line in lines if line.split("{")[0].split(" ")[0] == name)


def free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


def start(launch: Launch, log: Path) -> subprocess.Popen[bytes]:
    def limit_memory() -> None:
        resource.setrlimit(resource.RLIMIT_AS, (MEMORY_LIMIT_BYTES, MEMORY_LIMIT_BYTES))

    with log.open("wb") as output:
        return subprocess.Popen(
            leashed(launch.command),  # a test run that is killed leaves no service behind
            env=launch.environment,
            stdout=output,
            stderr=subprocess.STDOUT,
            start_new_session=True,
            preexec_fn=limit_memory,
        )


def wait_until_ready(service: RunningService) -> None:
    deadline_s = time.monotonic() + START_UP_S
    while time.monotonic() < deadline_s:
        if service.supervisor.poll() is not None:
            break
        with suppress(httpx.TransportError):  # not listening yet
            if httpx.get(f"{service.url}/readyz", timeout=5).status_code == 200:
                return
        time.sleep(0.05)
    raise AssertionError(f"the service did not get ready:\n{service.log.read_text()[-3000:]}")


def stop(process: subprocess.Popen[bytes]) -> int:
    if process.poll() is None:
        process.send_signal(signal.SIGTERM)
    try:
        return process.wait(timeout=30)
    except subprocess.TimeoutExpired:
        os.killpg(process.pid, signal.SIGKILL)
        raise


@contextmanager
def serving(settings: ServiceSettings, folder: Path) -> Iterator[RunningService]:
    launch = prepare_launch(settings, port=free_port(), cache=folder / "cache")
    service = RunningService(launch.url, start(launch, folder / "service.log"), folder / "service.log")
    try:
        wait_until_ready(service)
        yield service
    finally:
        stop(service.supervisor)


@pytest.fixture(scope="session")
def artifacts_of(tmp_path_factory: pytest.TempPathFactory) -> Callable[[str | None], Path]:
    """``artifacts_of(format)`` is a folder with the tiny network in that format, exported once per session."""
    root = tmp_path_factory.mktemp("artifacts")

    def export(format_: str | None) -> Path:
        if format_ is not None and not (root / format_).is_dir():
            command = [sys.executable, str(HERE / "export_tiny.py"), format_, str(root), *map(str, TINY_RESOLUTIONS)]
            subprocess.run(command, check=True, capture_output=True)
        return root

    return export


@pytest.fixture(scope="session")
def onnx_artifacts(artifacts_of: Callable[[str | None], Path]) -> Path:
    return artifacts_of("onnx")


@pytest.fixture(scope="session", params=[name for name, entry in RUNTIMES.items() if entry.division != "open"])
def runtime_settings(request: pytest.FixtureRequest, artifacts_of: Callable[[str | None], Path]) -> ServiceSettings:
    """Settings of a service of every runtime but the tuned ones (`predict` alone differs), at two resolutions."""
    entry = RUNTIMES[request.param]
    pytest.importorskip(entry.module, reason=f"the extra {entry.extra!r} is not installed")
    artifacts = artifacts_of(entry.format)
    return ServiceSettings(runtime=request.param, artifacts=artifacts, resolutions_px=TINY_RESOLUTIONS)


@pytest.fixture(scope="session")
def service(runtime_settings: ServiceSettings, tmp_path_factory: pytest.TempPathFactory) -> Iterator[RunningService]:
    with serving(runtime_settings, tmp_path_factory.mktemp(runtime_settings.runtime)) as running:
        yield running


@pytest.fixture(scope="session")
def corpus() -> Path:
    """The folder of broken and odd images."""
    root = Path(os.environ.get("HEMABENCH_DATA_ROOT", ROOT.parent / "shared" / "data"))
    folder = root / "images_malformed"
    if not folder.is_dir():
        pytest.skip("no images_malformed under the data root; set HEMABENCH_DATA_ROOT")
    return folder


def encoded(image: Image.Image, format_: str = "PNG", **options: object) -> bytes:
    buffer = io.BytesIO()
    image.save(buffer, format_, **options)
    return buffer.getvalue()


@pytest.fixture(scope="session")
def cell_png() -> bytes:
    """A small valid image."""
    pixels = np.random.default_rng(3).integers(0, 256, (28, 28, 3), dtype=np.uint8)
    return encoded(Image.fromarray(pixels))


@pytest.fixture(scope="session")
def serve() -> Callable[[ServiceSettings, Path], object]:
    """``with serve(settings, folder) as service:`` for tests that need one of their own."""
    return serving


@pytest.fixture(scope="session")
def launch_process() -> Callable[[Launch, Path], subprocess.Popen[bytes]]:
    """Starts a service without waiting for it."""
    return start


@pytest.fixture
def port() -> int:
    """A port that nobody listens at."""
    return free_port()


class ModelInHand:
    """A model that does what the test says."""

    def __init__(self, predict: Callable[[FloatArray], FloatArray]) -> None:
        self.predict = predict


def rising_logits(images: FloatArray) -> FloatArray:
    return np.tile(np.arange(len(LABELS), dtype=np.float32), (len(images), 1))


@pytest.fixture(scope="session")
def open_endpoints() -> Callable[..., Endpoints]:
    """``open_endpoints(predict, **settings)`` are the endpoints of a service in this process, open already."""

    def opened(predict: Callable[[FloatArray], FloatArray] = rising_logits, **settings: object) -> Endpoints:
        endpoints = Endpoints(ServiceSettings(runtime="null", **settings))
        models = {
            side: ServedModel(
                name=ModelName("test", "null", side, "0" * 64),
                model=ModelInHand(predict),
                labels=LABELS,
                temperature=1.0,
            )
            for side in TINY_RESOLUTIONS
        }
        endpoints.open(Classifier(NullRuntime(CPU, 1), models, {}))
        return endpoints

    return opened


@pytest.fixture(scope="session")
def serving_null(tmp_path_factory: pytest.TempPathFactory) -> Iterator[RunningService]:
    """A service whose model answers at once, for tests that are about the client."""
    settings = ServiceSettings(runtime="null", resolutions_px=TINY_RESOLUTIONS)
    with serving(settings, tmp_path_factory.mktemp("null")) as running:
        yield running


@pytest.fixture(scope="session")
def one_answer(open_endpoints: Callable[..., Endpoints], cell_png: bytes) -> Answer:
    """What a service says of a cell."""
    return decode_json(asyncio.run(_asked(open_endpoints(), "POST", "/v1/classify", cell_png)), type=Answer)


@pytest.fixture(scope="session")
def loaded_models(open_endpoints: Callable[..., Endpoints]) -> LoadedModels:
    """What a service says of its models."""
    return decode_json(asyncio.run(_asked(open_endpoints(), "GET", "/v1/models")), type=LoadedModels)


SCHEMATHESIS_EXAMPLES = 8
SCHEMATHESIS_LIMIT_S = 240  # a hung service fails its test, a busy machine does not


@pytest.fixture(scope="session")
def schemathesis_passes() -> Callable[[str, Path, str], None]:
    """``schemathesis_passes(url, folder, configuration)``: all its checks, run in ``folder``, or a failed assertion."""

    def passes(url: str, folder: Path, configuration: str) -> None:
        (folder / "schemathesis.toml").write_text(configuration)
        environment = {**os.environ, "SCHEMATHESIS_HOOKS": "schemathesis_images", "PYTHONPATH": str(HERE)}
        command = [
            *(sys.executable, "-m", "schemathesis.cli", "run", f"{url}/docs.json"),
            *("--mode", "all", "--max-examples", str(SCHEMATHESIS_EXAMPLES)),
            *("--generation-deterministic", "--continue-on-failure", "--no-color"),
        ]
        ran = subprocess.run(
            command,
            env=environment,
            cwd=folder,
            capture_output=True,
            text=True,
            timeout=SCHEMATHESIS_LIMIT_S,
            check=False,
        )
        assert ran.returncode == 0, ran.stdout[-6_000:] + ran.stderr[-2_000:]
        counted = re.search(r"(\d+) generated, (\d+) passed", ran.stdout)
        assert counted is not None, ran.stdout[-2_000:]
        assert counted[1] == counted[2]
        assert "Missing test data" not in ran.stdout, ran.stdout[-2_000:]

    return passes


async def _asked(endpoints: Endpoints, method: str, path: str, content: bytes = b"") -> bytes:
    transport = httpx.ASGITransport(app=Door(endpoints.routes()))
    async with httpx.AsyncClient(transport=transport, base_url="http://service") as client:
        return (await client.request(method, path, content=content)).content
