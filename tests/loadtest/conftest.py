"""The test bench: a service whose answers are known, images of noise, and a look at what processes are left."""

from __future__ import annotations

import http.client
import json
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager
from dataclasses import fields
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import numpy as np
import psutil
import pytest
from hypothesis import HealthCheck, settings

from contract.blood_cells import LABELS
from contract.dataset import SPLITS, save_dataset_facts
from contract.records.load import Scenario, ScenarioKind
from loadtest.generator.plan import LoadPlan
from loadtest.service.server import CommandForPort, RunningService, running_service

# No test is about how long this machine takes.
settings.register_profile("loadtest", deadline=None, suppress_health_check=[HealthCheck.too_slow])
settings.load_profile("loadtest")

FAKE_SERVICE = Path(__file__).with_name("fake_service.py")

FakeService = Callable[..., AbstractContextManager[RunningService]]
MakePlan = Callable[..., LoadPlan]


@pytest.fixture(scope="session")
def noise_folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A data set of 120 images of noise at 28 px, a third of them the test split."""
    folder = tmp_path_factory.mktemp("datasets") / "noise" / "28px"
    folder.mkdir(parents=True)
    random = np.random.default_rng(0)
    np.save(folder / "images.npy", random.integers(0, 256, (120, 28, 28, 3), dtype=np.uint8))
    np.save(folder / "labels.npy", np.arange(120, dtype=np.uint8) % len(LABELS))
    np.save(folder / "splits.npy", np.arange(120, dtype=np.uint8) % len(SPLITS))
    save_dataset_facts(folder, source="noise", description="noise", real=False)
    return folder


@pytest.fixture(scope="session")
def fake_command() -> Callable[..., CommandForPort]:
    """The command of a fake service that behaves as told, for any port."""

    def command(**behaviour: Any) -> CommandForPort:
        return lambda port: [
            sys.executable,
            str(FAKE_SERVICE),
            "--port",
            str(port),
            "--behaviour",
            json.dumps(behaviour),
        ]

    return command


@pytest.fixture
def fake_service(fake_command: Callable[..., CommandForPort], tmp_path: Path) -> FakeService:
    """Starts a fake service that behaves as told."""

    @contextmanager
    def start(**behaviour: Any) -> Iterator[RunningService]:
        with running_service(fake_command(**behaviour), log=tmp_path / "service.log", grace_s=2.0) as service:
            yield service

    return start


@pytest.fixture
def make_plan(noise_folder: Path, tmp_path: Path) -> MakePlan:
    """A load plan of half a second that records to a folder of its own."""

    def make(
        *, kind: ScenarioKind | None = None, users: int = 1, rate_per_s: float | None = None, **changes: Any
    ) -> LoadPlan:
        of_scenario = {field.name for field in fields(Scenario)}
        times = {name: changes.pop(name) for name in of_scenario & changes.keys()}
        scenario = Scenario(
            kind=kind or ("closed_loop" if rate_per_s is None else "open_loop"),
            seed=1,
            users=users,
            arrival_rate_per_s=rate_per_s,
            **({"warmup_s": 0.0, "duration_s": 0.5} | times),
        )
        defaults = {
            "resolution_px": 28,
            "dataset": str(noise_folder),
            "record_to": str(tmp_path / "cell"),
            "images": 10,
        }
        return LoadPlan(scenario=scenario, **(defaults | changes))

    return make


@pytest.fixture
def truth_at() -> Callable[[str], dict[str, Any]]:
    """What a fake service says that really happened."""

    def ask(url: str) -> dict[str, Any]:
        connection = http.client.HTTPConnection(urlsplit(url).netloc, timeout=10)
        try:
            connection.request("GET", "/truth")
            said: dict[str, Any] = json.loads(connection.getresponse().read())
            return said
        finally:
            connection.close()

    return ask


@pytest.fixture(autouse=True)
def no_process_is_left() -> Iterator[None]:
    """Every test of the load test is also a test that it leaves no process behind."""
    before = {child.pid for child in psutil.Process().children(recursive=True)}
    yield
    for _ in range(100):
        left = [child for child in psutil.Process().children(recursive=True) if child.pid not in before]
        if not left:
            return
        time.sleep(0.05)
    pytest.fail(f"still running: {[child.cmdline() for child in left]}")
