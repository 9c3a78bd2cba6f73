"""How a service starts, refuses to start, and ends."""

from __future__ import annotations

import os
import shutil
import signal
import socket
import subprocess
import sys
import time
from pathlib import Path

import httpx
import numpy as np
import pytest

from contract.errors import ArtifactUnavailable, DeviceUnavailable, DigestMismatch, InvalidSettings, ServiceFailed
from contract.manifest import GOLDEN_FILE, MANIFEST_FILE, Manifest, artifact_folder, digests_of_files, save_manifest
from contract.parity import GoldenBatch
from contract.storage import read_json
from serving.process.launch import ROOT, prepare_launch
from serving.settings import ServiceSettings

WAIT_S = 60


def copy_of(artifacts, folder):
    return Path(shutil.copytree(artifacts, folder / "artifacts"))


def flip_a_bit(artifacts):
    path = artifact_folder(artifacts, "onnx", 28) / "model.onnx"
    damaged = bytearray(path.read_bytes())
    damaged[len(damaged) // 2] ^= 1
    path.write_bytes(damaged)


def shift_the_reference(artifacts):
    """An artifact that is whole, and whose logits are off."""
    folder = artifact_folder(artifacts, "onnx", 28)
    golden = GoldenBatch.load(folder / GOLDEN_FILE)
    GoldenBatch(golden.images, golden.logits + np.float32(0.01)).save(folder / GOLDEN_FILE)
    manifest = read_json(folder / MANIFEST_FILE, Manifest)
    manifest.files.update(digests_of_files(folder))
    save_manifest(folder, manifest)


def bentoml_serve(settings, port, home):
    """Plain ``bentoml serve``, without any of our own checks before it."""
    environment = {**os.environ, **settings.to_environment(), "BENTOML_HOME": str(home), "BENTOML_DO_NOT_TRACK": "1"}
    command = [sys.executable, "-m", "bentoml", "serve", "serving.service:HemaBench", "--port", str(port)]
    return subprocess.run(
        command, env=environment, cwd=ROOT, capture_output=True, text=True, timeout=WAIT_S, check=False
    )


def is_alive(pid):
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] != "Z"
    except OSError:
        return False


def wait_until_gone(pid):
    deadline_s = time.monotonic() + WAIT_S
    while is_alive(pid) and time.monotonic() < deadline_s:
        time.sleep(0.05)
    return not is_alive(pid)


def null_settings():
    return ServiceSettings(runtime="null", resolutions_px=(28,))


@pytest.mark.acceptance("S5")
@pytest.mark.acceptance("F4")
def test_one_flipped_bit_and_the_service_does_not_start(onnx_artifacts, tmp_path, port):
    artifacts = copy_of(onnx_artifacts, tmp_path)
    flip_a_bit(artifacts)
    settings = ServiceSettings(artifacts=artifacts)
    with pytest.raises(DigestMismatch, match=r"model\.onnx changed"):
        prepare_launch(settings, port=port, cache=tmp_path)
    ended = bentoml_serve(settings, port, tmp_path / "home")
    assert ended.returncode != 0
    assert "changed since its manifest was written" in ended.stderr + ended.stdout
    assert "Traceback" not in ended.stderr + ended.stdout


@pytest.mark.acceptance("F4")
def test_logits_that_are_off_and_the_service_does_not_start(onnx_artifacts, tmp_path, port, launch_process):
    artifacts = copy_of(onnx_artifacts, tmp_path)
    shift_the_reference(artifacts)
    launch = prepare_launch(ServiceSettings(artifacts=artifacts), port=port, cache=tmp_path)
    log = tmp_path / "log"
    assert launch_process(launch, log).wait(timeout=WAIT_S) == 1
    assert "ParityError: tiny/onnx/28px" in log.read_text()
    assert "ready:" not in log.read_text()


def test_a_card_that_is_not_there_and_the_service_does_not_start(onnx_artifacts, tmp_path, port):
    settings = ServiceSettings(artifacts=onnx_artifacts, device="cuda:99")
    with pytest.raises(DeviceUnavailable, match="--device cpu"):
        prepare_launch(settings, port=port, cache=tmp_path)
    ended = bentoml_serve(settings, port, tmp_path / "home")
    assert ended.returncode != 0
    assert "cuda:99 was asked for" in ended.stderr + ended.stdout


@pytest.mark.acceptance("F4")
def test_no_artifact_and_the_service_does_not_start(tmp_path, port):
    with pytest.raises(ArtifactUnavailable, match="hemabench export"):
        prepare_launch(ServiceSettings(artifacts=tmp_path), port=port, cache=tmp_path)


def test_a_port_in_use_is_named(tmp_path):
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        taken.listen()
        with pytest.raises(ServiceFailed, match="--port"):
            prepare_launch(null_settings(), port=taken.getsockname()[1], cache=tmp_path)


def test_a_host_must_be_an_address(tmp_path, port):
    with pytest.raises(InvalidSettings, match="no IP address"):
        prepare_launch(null_settings(), host="my-machine", port=port, cache=tmp_path)
    assert prepare_launch(null_settings(), host="localhost", port=port, cache=tmp_path).url.startswith(
        "http://127.0.0.1"
    )


@pytest.mark.parametrize("signal_", [signal.SIGINT, signal.SIGTERM])
@pytest.mark.acceptance("F3")
def test_told_to_stop_a_service_leaves_no_process(signal_, serve, tmp_path):
    with serve(null_settings(), tmp_path) as service:
        worker = service.worker_pid
        os.killpg(service.supervisor.pid, signal_)  # as a terminal does with Ctrl-C: to all of the group
        assert service.supervisor.wait(timeout=WAIT_S) == 0
        assert wait_until_gone(worker)


@pytest.mark.skipif(sys.platform != "linux", reason="only Linux tells a process that its parent has died")
def test_a_worker_does_not_outlive_its_supervisor(serve, tmp_path):
    with serve(null_settings(), tmp_path) as service:
        worker = service.worker_pid
        service.supervisor.kill()
        assert wait_until_gone(worker)


@pytest.mark.acceptance("P7")
def test_two_services_do_not_disturb_each_other(serve, tmp_path, cell_png):
    folders = [tmp_path / "a", tmp_path / "b"]
    for folder in folders:
        folder.mkdir()
    with serve(null_settings(), folders[0]) as first:
        httpx.post(f"{first.url}/v1/classify", content=cell_png, headers={"Content-Type": "image/png"})
        with serve(null_settings(), folders[1]) as second:
            assert second.metric("hemabench_requests_started_total") == 0
        assert first.metric("hemabench_requests_started_total") == 1
        assert httpx.get(f"{first.url}/readyz").status_code == 200
