"""A flat MedMNIST set that is not BloodMNIST, from its file to a served answer: grey images, eleven classes."""

from __future__ import annotations

import hashlib
import json
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from contract.progress import silent
from train.dataset import DataSettings, prepare_datasets
from train.sources import medmnist

ROOT = Path(__file__).parents[1]
SET, CLASSES = "organamnist", 11
IMAGES = {"train": 130, "val": 33, "test": 33}


def write_official_file(path: Path) -> str:
    """A small file in the layout of the official one: grey squares whose brightness is their class; its MD5."""
    noise, content = np.random.default_rng(3), {}
    for split, count in IMAGES.items():
        labels = np.arange(count, dtype=np.uint8) % CLASSES
        images = labels[:, None, None] * 20 + noise.integers(0, 16, (count, 28, 28))
        content |= {f"{split}_images": images.astype(np.uint8), f"{split}_labels": labels[:, None]}
    path.parent.mkdir(parents=True)
    np.savez_compressed(path, **content)
    return hashlib.md5(path.read_bytes(), usedforsecurity=False).hexdigest()


def hemabench(*words: object) -> str:
    """What a command prints; it must not fail."""
    command = [sys.executable, "-m", "cli", *map(str, words)]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=False, timeout=300)
    assert done.returncode == 0, done.stderr
    return done.stdout


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Cache, weights and artifacts of the set after one epoch, all made by the commands."""
    made = tmp_path_factory.mktemp("organs")
    md5 = write_official_file(made / "cache" / "downloads" / f"{SET}.npz")
    known = medmnist.official_sets()
    small = known | {SET: known[SET] | {"MD5": md5, "n_samples": IMAGES}}
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(medmnist, "official_sets", lambda: small)
        prepare_datasets(DataSettings(source=SET, cache=made / "cache"), [28], silent)
    places = ["--cache", made / "cache", "--checkpoints", made / "weights"]
    hemabench("train", "--data", SET, "--epochs", 1, "--results", made / "results", *places)
    model = ["--model", f"hemanet-{SET}", "--resolution", 28, "--format", "onnx"]
    hemabench("export", *model, "--artifacts", made / "artifacts", *places)
    return made


def test_its_weights_have_a_name_of_their_own(folder):
    assert [path.name for path in (folder / "weights").glob("*px.safetensors")] == [f"hemanet-{SET}-28px.safetensors"]


def test_its_own_classes_reach_the_manifest_and_the_scores(folder):
    manifest = json.loads((folder / "artifacts/onnx/28px/manifest.json").read_text())
    assert manifest["model"] == f"hemanet-{SET}"
    assert len(manifest["labels"]) == CLASSES
    assert {f"recall of {label}" for label in manifest["labels"]} <= {one["name"] for one in manifest["metrics"]}


def test_an_answer_speaks_of_its_classes(folder):
    grey = folder / "grey.png"
    Image.fromarray(np.full((28, 28), 60, np.uint8)).save(grey)
    answer = json.loads(hemabench("classify", grey, "--artifacts", folder / "artifacts", "--json"))
    manifest = json.loads((folder / "artifacts/onnx/28px/manifest.json").read_text())
    assert list(answer["probabilities"]) == manifest["labels"]
    assert answer["model"]["name"] == f"hemanet-{SET}"
