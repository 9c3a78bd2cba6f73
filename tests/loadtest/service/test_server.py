from __future__ import annotations

import http.client
import os
import time
import urllib.request
from collections.abc import Callable
from pathlib import Path

import psutil
import pytest

from contract.errors import ServiceFailed
from loadtest.service.server import ask_service, is_ready, running_service, serve_command


def test_a_service_is_ready_when_it_says_so_and_gone_afterwards(fake_command: Callable, tmp_path: Path) -> None:
    with running_service(fake_command(ready_after_s=0.5), log=tmp_path / "log") as service:
        assert service.start_up_s >= 0.5
        assert is_ready(service.url)
        service.require_alive()
    assert not is_ready(service.url)
    assert "listening" in (tmp_path / "log").read_text()


def test_a_service_that_dies_at_start_is_noticed_at_once_with_its_last_words(
    fake_command: Callable, tmp_path: Path
) -> None:
    began = time.monotonic()
    with (
        pytest.raises(ServiceFailed, match=r"(?s)status 3.*no model to serve"),
        running_service(fake_command(die_at_start=True), log=tmp_path / "log", start_deadline_s=100),
    ):
        pass
    assert time.monotonic() - began < 100  # it did not wait for the deadline


def test_a_service_that_is_never_ready_is_given_up(fake_command: Callable, tmp_path: Path) -> None:
    with (
        pytest.raises(ServiceFailed, match="not ready after 1 s"),
        running_service(fake_command(never_ready=True), log=tmp_path / "log", start_deadline_s=1),
    ):
        pass


def test_a_service_that_dies_later_is_noticed_when_asked(fake_service: Callable) -> None:
    with fake_service(die_after=0) as service:
        with pytest.raises((OSError, http.client.HTTPException)):
            urllib.request.urlopen(f"{service.url}/v1/classify", data=b"\x89PNG", timeout=20)
        service.process.wait(20)
        with pytest.raises(ServiceFailed, match="while it was measured"):
            service.require_alive()


def test_a_service_runs_on_its_cores_alone(fake_command: Callable, tmp_path: Path) -> None:
    core = min(os.sched_getaffinity(0))
    with running_service(fake_command(), log=tmp_path / "log", cores=[core]) as service:
        (served,) = psutil.Process(service.process.pid).children()
        assert os.sched_getaffinity(served.pid) == {core}


def test_a_service_speaks_of_itself(fake_service: Callable) -> None:
    with fake_service(digest="abc") as service:
        report = ask_service(service.url, 28)
        assert (report.digest, report.answered, report.facts["name"]) == ("abc", 0, "fake")
        unserved = ask_service(service.url, 224)
        assert (unserved.digest, unserved.answered) == (None, None)


def test_a_service_that_is_not_ours_says_nothing() -> None:
    assert ask_service("http://127.0.0.1:9", 28).facts == {}


def test_our_own_service_is_started_by_the_command_that_people_use(tmp_path: Path) -> None:
    command = list(serve_command(runtime="onnx", resolution_px=64, artifacts=tmp_path, device="cpu", threads=2)(4321))
    assert command[1:4] == ["-m", "cli", "serve"]
    options = dict(zip(command[4::2], command[5::2], strict=True))
    assert options == {
        "--host": "127.0.0.1",
        "--port": "4321",
        "--runtime": "onnx",
        "--resolution": "64",
        "--artifacts": str(tmp_path),
        "--device": "cpu",
        "--threads": "2",
    }
