"""Real training runs on rendered cells: short, one process per framework."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import pytest

from contract.weights import digest_of_weights
from train.checkpoints import Checkpoint, checkpoint_path, load_checkpoint
from train.frameworks import FRAMEWORKS
from train.training import WeightAverage

ROOT = Path(__file__).parents[2]


@pytest.fixture(scope="session")
def dataset_cache(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("cache")


def run_training(
    folder: Path, cache: Path, framework: str = "pytorch", resolution_px: int = 28, more: Sequence[str] = ()
) -> Checkpoint:
    """One epoch by the command that users run; the checkpoint it leaves."""
    command = [sys.executable, "-m", "cli", "train", "--framework", framework, "--epochs", "1", "--seed", "3"]
    command += ["--resolution", str(resolution_px), "--data", "synthetic", "--cache", str(cache)]
    command += ["--checkpoints", str(folder), "--results", str(folder / "results" / str(resolution_px)), *more]
    finished = subprocess.run(command, cwd=ROOT, capture_output=True, text=True)
    assert finished.returncode == 0, finished.stderr[-2000:]
    assert "accuracy is not" in finished.stderr  # rendered cells are announced
    return load_checkpoint(checkpoint_path(folder, "hemanet", resolution_px))


@pytest.mark.parametrize("framework", FRAMEWORKS)
def test_a_framework_trains_and_records_how(framework, tmp_path, dataset_cache):
    found = run_training(tmp_path, dataset_cache, framework)
    record = found.record
    assert (record.settings.framework, record.settings.seed, record.data_source) == (framework, 3, "synthetic")
    (epoch,) = record.epochs
    assert epoch.mean_loss < np.log(8)  # better than guessing
    assert 0 < epoch.step_ns <= epoch.loop_ns
    assert epoch.images == 10 * record.settings.batch_images
    assert [score.split for score in record.metrics[:2]] == ["validation", "test"]
    assert record.metrics[0].value == epoch.validation_accuracy


def test_pytorch_gives_the_same_weights_bit_for_bit_and_goes_on_to_a_higher_resolution(tmp_path, dataset_cache):
    first, second = (run_training(tmp_path / name, dataset_cache) for name in ("first", "second"))
    assert digest_of_weights(first.weights) == digest_of_weights(second.weights)
    above = run_training(tmp_path / "first", dataset_cache, resolution_px=64)
    assert above.record.started_from == f"the 28 px weights {digest_of_weights(first.weights)[:12]}"


def test_a_network_goes_on_from_weights_of_its_own_resolution(tmp_path, dataset_cache):
    first = run_training(tmp_path / "first", dataset_cache)
    start = checkpoint_path(tmp_path / "first", "hemanet", 28)
    longer = run_training(tmp_path / "longer", dataset_cache, more=["--from-checkpoint", str(start)])
    assert longer.record.started_from == f"the 28 px weights {digest_of_weights(first.weights)[:12]}"
    assert longer.record.epochs[0].mean_loss < first.record.epochs[0].mean_loss


def test_a_network_learns_from_the_weights_of_a_larger_resolution(tmp_path, dataset_cache):
    above = run_training(tmp_path, dataset_cache, resolution_px=64)
    teacher = checkpoint_path(tmp_path, "hemanet", 64)
    found = run_training(tmp_path, dataset_cache, more=["--teacher", str(teacher)])
    digest = digest_of_weights(above.weights)[:12]
    assert found.record.started_from == f"the 64 px weights {digest}, and taught by them"
    assert found.record.settings.teacher_share > 0


def test_the_average_is_a_plain_mean_at_first_and_forgets_later():
    average = WeightAverage(decay=0.5)
    for value in (1.0, 3.0):
        average.take({"w": np.full(1, value, np.float32)})
    assert average.weights["w"] == 2
    for _ in range(30):
        average.take({"w": np.full(1, 10, np.float32)})
    assert average.weights["w"] == pytest.approx(10)
    assert average.weights["w"].dtype == np.float32
