"""`hemabench serve --all` as a user meets it, and as it ends."""

from __future__ import annotations

import os
import shutil
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import httpx
import pytest

from serving.process.leash import leashed

ROOT = Path(__file__).parents[3]
PATIENCE_S = 120
ARTIFACTS = "artifacts"
GONE_S = 20  # a bound for a loaded machine, no promise


@pytest.fixture
def folder(onnx_artifacts: Path, tmp_path: Path) -> Path:
    """A working directory in which only ONNX was exported."""
    shutil.copytree(onnx_artifacts / "onnx", tmp_path / ARTIFACTS / "onnx")
    return tmp_path


@pytest.fixture
def serve_all(folder: Path, port: int) -> Iterator[Callable[..., subprocess.Popen[str]]]:
    started: list[subprocess.Popen[str]] = []

    def start(*words: str) -> subprocess.Popen[str]:
        command = [sys.executable, "-m", "cli", "serve", "--all", "--port", str(port)]
        command += ["--artifacts", str(folder / ARTIFACTS), *words]
        environment = {**os.environ, "PYTHONPATH": str(ROOT)}
        process = subprocess.Popen(
            leashed(command), cwd=folder, env=environment, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True
        )
        started.append(process)
        return process

    yield start
    for process in started:
        process.kill()
        process.communicate()


def family_of(pid: int) -> list[int]:
    """``pid`` and all its descendants."""
    found = [pid]
    for member in found:
        found += map(int, Path(f"/proc/{member}/task/{member}/children").read_text().split())
    return found


def is_running(pid: int) -> bool:
    try:
        status = Path(f"/proc/{pid}/stat").read_text()
    except OSError:
        return False
    return status.rsplit(")", 1)[1].split()[0] != "Z"


def when_it_answers(port: int, process: subprocess.Popen[str]) -> httpx.Response:
    until_s = time.monotonic() + PATIENCE_S
    while True:
        try:
            return httpx.get(f"http://127.0.0.1:{port}/readyz")
        except httpx.TransportError:
            assert process.poll() is None, process.communicate()[1]
            assert time.monotonic() < until_s
            time.sleep(0.1)


def wait_until_open(port: int, process: subprocess.Popen[str]) -> None:
    until_s = time.monotonic() + PATIENCE_S
    while not when_it_answers(port, process).is_success:
        assert time.monotonic() < until_s
        time.sleep(0.1)


def require_gone(family: list[int]) -> None:
    until_s = time.monotonic() + GONE_S
    while left := [pid for pid in family if is_running(pid)]:
        assert time.monotonic() < until_s, f"{left} are still running"
        time.sleep(0.05)


@pytest.mark.parametrize(("number", "status"), [(signal.SIGINT, 130), (signal.SIGTERM, 0)])
def test_it_says_one_url_and_leaves_no_process(serve_all, port, cell_png, number, status):
    process = serve_all()
    wait_until_open(port, process)
    family = family_of(process.pid)
    assert len(family) >= 3, "the command, the service's supervisor, its worker"
    answered = httpx.post(f"http://127.0.0.1:{port}/v1/classify", content=cell_png, timeout=30).json()
    assert answered["runtimes"]["onnx"]["answer"]["label"]
    process.send_signal(number)
    _, said = process.communicate(timeout=PATIENCE_S)
    assert process.returncode == status
    assert said.count("http://") == 1
    assert f"the page is at http://127.0.0.1:{port}" in said
    assert "jax is left out" in said
    assert "Traceback" not in said
    require_gone(family)


def test_a_gateway_that_is_killed_takes_its_services_with_it(serve_all, port):
    process = serve_all()
    wait_until_open(port, process)
    family = family_of(process.pid)
    process.kill()
    process.communicate()
    require_gone(family)


def test_stopped_while_it_waits_for_services_it_leaves_no_process(serve_all):
    process = serve_all()
    until_s = time.monotonic() + PATIENCE_S
    while len(family := family_of(process.pid)) < 2:
        assert time.monotonic() < until_s
        time.sleep(0.02)
    process.send_signal(signal.SIGINT)
    process.communicate(timeout=PATIENCE_S)
    assert process.returncode == 130
    require_gone(family)


def test_where_no_runtime_can_be_served_each_reason_is_told(serve_all, folder):
    shutil.rmtree(folder / ARTIFACTS)
    process = serve_all()
    _, said = process.communicate(timeout=PATIENCE_S)
    assert process.returncode == 1
    assert "no runtime can be served" in said
    assert "or hemabench export" in said
    assert "Traceback" not in said


@pytest.mark.parametrize(
    ("words", "reason"),
    [(["--runtime", "onnx"], "--all serves every runtime"), (["--host", "example.com"], "is no IP address")],
)
def test_wrong_usage_gets_one_line_and_exit_code_2(serve_all, words, reason):
    process = serve_all(*words)
    _, said = process.communicate(timeout=PATIENCE_S)
    assert process.returncode == 2
    assert reason in said
    assert "Traceback" not in said


def test_a_port_in_use_is_named(serve_all, port):
    with socket.create_server(("127.0.0.1", port)):
        process = serve_all()
        _, said = process.communicate(timeout=PATIENCE_S)
    assert process.returncode == 1
    assert f"cannot listen at 127.0.0.1:{port}" in said


def test_services_that_run_already_are_asked_and_left_running(serve_all, port, serving_null, cell_png):
    process = serve_all("--service", f"null={serving_null.url}", "--service", "onnx=http://127.0.0.1:9")
    wait_until_open(port, process)
    said = httpx.post(
        f"http://127.0.0.1:{port}/v1/classify", content=cell_png, headers={"content-type": "image/png"}, timeout=30
    ).json()["runtimes"]
    assert "label" in said["null"]["answer"]
    assert said["onnx"]["error"]["code"] == "service_starting", "who runs it may be about to start it"
    process.send_signal(signal.SIGTERM)
    assert process.wait(GONE_S) == 0
    assert httpx.get(f"{serving_null.url}/readyz").status_code == 200


def test_while_services_elsewhere_are_awaited_the_door_says_so_until_ctrl_c(serve_all, port):
    process = serve_all("--service", "onnx=http://127.0.0.1:9")
    ready = when_it_answers(port, process)
    assert (ready.status_code, ready.json()["runtimes"]["onnx"]["state"]) == (503, "starting")
    assert httpx.get(f"http://127.0.0.1:{port}/").status_code == 200
    process.send_signal(signal.SIGINT)
    _, said = process.communicate(timeout=GONE_S)
    assert process.returncode == 130
    assert "Traceback" not in said
