"""Steps in processes of their own: verification and offline prediction; and classification of one file."""

from __future__ import annotations

import io
import os
import shutil
import subprocess
import sys
from pathlib import Path

import httpx
import numpy as np
import pytest
from PIL import Image

from contract.children import run_child
from contract.dataset import dataset_folder, save_dataset_facts
from contract.errors import (
    DigestMismatch,
    InvalidImage,
    ParityError,
    ProcessFailed,
    RequestRefused,
    RuntimeUnavailable,
    ServiceFailed,
)
from contract.manifest import GOLDEN_FILE, MANIFEST_FILE, Manifest, artifact_folder, digests_of_files, save_manifest
from contract.parity import GoldenBatch
from contract.records.load import OfflinePredictions
from contract.storage import read_json, write_json
from serving.answers import Answer, decode_json
from serving.client.classify import classify_at, classify_file
from serving.inference.verify import verify_all
from serving.runtimes import RUNTIMES
from serving.settings import ServiceSettings

ROOT = Path(__file__).parents[2]


class Heard:
    """A progress that remembers."""

    def __init__(self):
        self.steps = []

    def __call__(self, what, done, total):
        self.steps.append((what, done, total))


@pytest.fixture
def dataset(tmp_path):
    folder = dataset_folder(tmp_path, "test", 28)
    folder.mkdir(parents=True)
    rng = np.random.default_rng(5)
    np.save(folder / "images.npy", rng.integers(0, 256, (60, 28, 28, 3), dtype=np.uint8))
    np.save(folder / "labels.npy", rng.integers(0, 8, 60, dtype=np.uint8))
    np.save(folder / "splits.npy", np.full(60, 2, np.uint8))
    return save_dataset_facts(folder, source="test", description="noise", real=False), folder


def predict_offline(settings, dataset, positions, resolution_px=28):
    """What ``python -m serving.inference.offline`` writes; raises ``CalledProcessError``."""
    files = [dataset / "positions.json", dataset / "offline.json"]
    write_json(files[0], positions)
    options = {"--runtime": settings.runtime, "--resolution": resolution_px, "--artifacts": settings.artifacts}
    options |= {"--dataset": dataset, "--positions-file": files[0], "--output": files[1]}
    command = [
        sys.executable,
        "-m",
        "serving.inference.offline",
        *(str(word) for pair in options.items() for word in pair),
    ]
    subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=True)
    return read_json(files[1], OfflinePredictions)


@pytest.fixture
def png_file(tmp_path, cell_png):
    path = tmp_path / "cell.png"
    path.write_bytes(cell_png)
    return path


def test_every_artifact_is_verified_by_its_own_runtime(artifacts_of):
    names = [name for name, entry in RUNTIMES.items() if entry.division == "closed"]
    for name in names:
        artifacts = artifacts_of(RUNTIMES[name].format)
    heard = Heard()
    verified = verify_all(names, artifacts=artifacts, progress=heard)
    assert [(item.runtime, item.resolution_px) for item in verified] == [
        (name, side) for name in names for side in (28, 64)
    ]
    assert all(item.parity.largest_difference < 1e-4 for item in verified)
    done = [step[1] for step in heard.steps]
    assert done == sorted(done)
    assert heard.steps[-1] == ("verified", len(names), len(names))


def test_an_artifact_that_is_off_raises_in_the_parent(onnx_artifacts, tmp_path):
    artifacts = shutil.copytree(onnx_artifacts, tmp_path / "artifacts")
    folder = artifact_folder(artifacts, "onnx", 28)
    golden = GoldenBatch.load(folder / GOLDEN_FILE)
    GoldenBatch(golden.images, golden.logits * np.float32(1.01)).save(folder / GOLDEN_FILE)
    with pytest.raises(DigestMismatch):
        verify_all(["onnx"], [28], artifacts)
    manifest = read_json(folder / MANIFEST_FILE, Manifest)
    manifest.files.update(digests_of_files(folder))
    save_manifest(folder, manifest)
    with pytest.raises(ParityError, match="tiny/onnx/28px"):
        verify_all(["onnx"], [28], artifacts)


def test_a_child_that_dies_is_a_failure_with_its_last_words():
    with pytest.raises(ProcessFailed, match=r"No module named serving\.nothing"):
        run_child("serving.nothing", [], int, lambda *step: None)


def test_offline_predictions_are_the_services_answers_to_the_image(service, runtime_settings, dataset):
    data, folder = dataset
    positions = [0, 59, 7, 7, *range(20, 40)]
    offline = predict_offline(runtime_settings, folder, positions)
    assert offline.images == tuple(positions)
    assert offline.data_source == "test"
    answered = []
    for position in positions:
        buffer = io.BytesIO()
        Image.fromarray(data.images[position]).save(buffer, "PNG")
        files = {"image": ("x.png", buffer.getvalue(), "image/png")}
        answer = httpx.post(f"{service.url}/v1/classify?resolution=28", files=files).json()
        assert answer["model"]["digest"] == offline.artifact_digest
        answered.append(answer["class_index"])
    assert tuple(answered) == offline.classes


def test_offline_predictions_say_why_there_are_none(onnx_artifacts, dataset):
    with pytest.raises(subprocess.CalledProcessError) as failed:
        predict_offline(ServiceSettings(artifacts=onnx_artifacts), dataset[1], [0], resolution_px=64)
    assert failed.value.stderr.strip().endswith("holds images of 28 px, not 64")


# In a process of its own, because a process holds one framework.
CLASSIFY = """
import os, sys
from pathlib import Path
import msgspec
from serving.client.classify import classify_file
from serving.settings import ServiceSettings

answer = classify_file(Path(sys.argv[1]), ServiceSettings.from_environment(os.environ), 64)
print("RESULT" + msgspec.json.encode(answer).decode())
"""


def test_a_file_gets_the_same_answer_here_and_over_http(service, runtime_settings, png_file):
    environment = {**os.environ, **runtime_settings.to_environment()}
    command = [sys.executable, "-c", CLASSIFY, str(png_file)]
    ran = subprocess.run(command, env=environment, cwd=ROOT, capture_output=True, text=True, check=True)
    here = decode_json(ran.stdout.split("RESULT")[1], type=Answer)
    there = classify_at(png_file, service.url, 64)
    assert here.model == there.model
    assert here.probabilities == there.probabilities
    assert here.timing_ms["total"] == pytest.approx(sum(here.timing_ms.values()) / 2)


def test_a_refused_file_raises_with_the_reason(service, tmp_path):
    path = tmp_path / "cell.png"
    path.write_bytes(b"no image")
    with pytest.raises(RequestRefused, match="415, unsupported_image"):
        classify_at(path, service.url)
    with pytest.raises(RequestRefused, match="28, 64"):
        classify_at(path, service.url, 224)
    with pytest.raises(InvalidImage):
        classify_file(path, ServiceSettings(runtime="null"))


def test_where_no_service_answers_the_next_step_is_named(png_file, port):
    with pytest.raises(ServiceFailed, match="hemabench serve"):
        classify_at(png_file, f"http://127.0.0.1:{port}")


def test_a_runtime_that_is_not_installed_raises_in_the_parent(monkeypatch, onnx_artifacts, tmp_path):
    # The child finds no onnxruntime because a module of that name without a spec stands before it.
    monkeypatch.setenv("PYTHONPATH", str(tmp_path))
    (tmp_path / "sitecustomize.py").write_text(
        "import importlib.util as u\nfound = u.find_spec\n"
        "u.find_spec = lambda name, package=None: None if name == 'onnxruntime' else found(name, package)\n"
    )
    with pytest.raises(RuntimeUnavailable, match=r"'\.\[onnx\]'"):
        verify_all(["onnx"], [28], onnx_artifacts)
