"""A real gateway over real services, and a real browser."""

from __future__ import annotations

import os
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import AbstractAsyncContextManager, asynccontextmanager
from dataclasses import dataclass, replace
from pathlib import Path

import httpx
import numpy as np
import pytest

from contract.calibration import Distribution, statistics_of
from contract.manifest import DISTRIBUTION_FILE, artifact_folder, digests_of_files, load_artifact, save_manifest
from serving.gateway.endpoints import GatewayEndpoints
from serving.gateway.services import Service
from serving.gateway.settings import GatewaySettings
from serving.http.door import Door
from serving.http.images import decode_image, model_input
from serving.process.leash import leashed
from serving.settings import ServiceSettings

HERE = Path(__file__).parent
ROOT = HERE.parents[2]
STOP_S = 30
SAME_IMAGE = 1e-3  # a distance that two images never have


@dataclass(frozen=True)
class RunningGateway:
    url: str
    process: subprocess.Popen[str]

    def state_of(self, runtime: str) -> dict[str, object]:
        return dict(httpx.get(f"{self.url}/ready").json()["runtimes"][runtime])

    def supervisor_of(self, runtime: str) -> int:
        """The process of a service that the gateway started: its worker's parent."""
        loaded = httpx.get(f"{self.url}/v1/models").json()["runtimes"][runtime]["loaded"]
        status = Path(f"/proc/{loaded['service']['pid']}/status").read_text()
        return int(next(line.split()[1] for line in status.splitlines() if line.startswith("PPid:")))

    def kill(self, runtime: str) -> None:
        os.kill(self.supervisor_of(runtime), signal.SIGKILL)

    def wait_until(self, runtime: str, state: str) -> None:
        until_s = time.monotonic() + 120
        while self.state_of(runtime)["state"] != state:
            assert time.monotonic() < until_s, f"{runtime} did not become {state}: {self.state_of(runtime)}"
            time.sleep(0.1)


@pytest.fixture(scope="session")
def discerning_artifacts(onnx_artifacts: Path, cell_png: bytes, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The tiny network, which at 28 px takes the image of these tests for a cell, and nothing else."""
    artifacts = tmp_path_factory.mktemp("discerning") / "artifacts"
    shutil.copytree(onnx_artifacts, artifacts)
    folder = artifact_folder(artifacts, "onnx", 28)
    manifest = replace(load_artifact(folder).manifest, distance_threshold=SAME_IMAGE)
    mean = statistics_of(model_input(decode_image(cell_png), 28))[0]
    Distribution(mean, np.eye(len(mean), dtype=np.float32)).save(folder / DISTRIBUTION_FILE)
    save_manifest(folder, replace(manifest, files=digests_of_files(folder)))
    return artifacts


@pytest.fixture(scope="session")
def gateway(discerning_artifacts: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[RunningGateway]:
    """onnx with the tiny network, and null; both at 28 and 64 px."""
    folder = tmp_path_factory.mktemp("gateway")
    command = [sys.executable, str(HERE / "gateway_tiny.py"), "0", str(discerning_artifacts), str(folder)]
    environment = {**os.environ, "PYTHONPATH": str(ROOT)}
    with subprocess.Popen(leashed(command), env=environment, cwd=ROOT, stdout=subprocess.PIPE, text=True) as process:
        assert process.stdout is not None
        url = process.stdout.readline().strip()
        assert url.startswith("http"), "\n".join(log.read_text()[-2000:] for log in folder.glob("*.log"))
        yield RunningGateway(url, process)
        process.terminate()
        assert process.wait(STOP_S) == 0


@pytest.fixture(scope="session")
def chromedriver() -> str:
    """The driver of the browser on this machine; CONTRIBUTING.md says how to get one."""
    found = shutil.which("chromedriver")
    if found is None or not (shutil.which("chromium") or shutil.which("google-chrome")):
        pytest.skip("no Chromium with its driver is on this machine (Debian: apt install chromium chromium-driver)")
    return found


@pytest.fixture(scope="session")
def open_gateway() -> Callable[..., AbstractAsyncContextManager[httpx.AsyncClient]]:
    """``async with open_gateway(service, **settings) as client:`` a gateway in this process, asked without a socket."""

    @asynccontextmanager
    async def opened(
        service: Service, max_body_bytes: int = 1_000_000, **options: object
    ) -> AsyncIterator[httpx.AsyncClient]:
        services = (ServiceSettings(runtime="null", max_body_bytes=max_body_bytes),)
        settings = GatewaySettings(services=services, answer_deadline_s=0.5, **options)
        async with httpx.AsyncClient(trust_env=False) as asking:
            app = Door(GatewayEndpoints(settings, {service.runtime: service}, asking).routes())
            transport = httpx.ASGITransport(app=app)
            async with httpx.AsyncClient(transport=transport, base_url="http://gateway") as client:
                yield client

    return opened
