"""Tiny artifacts for ONNX Runtime, and processes that measure them."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager
from pathlib import Path

import pytest

from contract.storage import write_json
from loadtest.compute.link import Link, linked_process
from loadtest.compute.worker import Reply, WorkerSettings
from loadtest.service.processes import own_cores

EXPORT_TINY = Path(__file__).parents[2] / "serving" / "export_tiny.py"


def export_tiny(root: Path, format_: str = "onnx") -> Path:
    command = [sys.executable, str(EXPORT_TINY), format_, str(root), "28", "64"]
    subprocess.run(command, check=True, capture_output=True)
    return root


@pytest.fixture(scope="session")
def tiny_artifacts(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The tiny network as ONNX at 28 and 64 px."""
    pytest.importorskip("onnxruntime", reason="the extra 'onnx' is not installed")
    return export_tiny(tmp_path_factory.mktemp("artifacts"))


@pytest.fixture
def tiny_artifacts_of(tmp_path: Path) -> Callable[[str], Path]:
    """``tiny_artifacts_of(format)``: the tiny network in another format."""
    return lambda format_: export_tiny(tmp_path / "artifacts", format_)


@pytest.fixture
def worker(tmp_path: Path) -> Callable[..., AbstractContextManager[Link[Reply]]]:
    """``with worker(runtime="onnx", artifacts=folder) as link:`` with one thread on the first core."""

    @contextmanager
    def started(
        runtime: str = "null", artifacts: Path = Path(), resolutions_px: tuple[int, ...] = (28, 64), **changes: str
    ) -> Iterator[Link[Reply]]:
        settings = tmp_path / f"{runtime}.json"
        given = {"runtime": runtime, "threads": 1, "device": "cpu", "input": "float32"} | changes
        write_json(settings, WorkerSettings(artifacts=str(artifacts), resolutions_px=resolutions_px, **given))
        command = ["loadtest.compute.worker", str(settings)]
        log = tmp_path / "worker.log"
        with linked_process(runtime, command, Reply, threads=1, cores=own_cores()[:1], log=log) as link:
            yield link

    return started
