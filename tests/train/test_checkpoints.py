from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import msgspec
import numpy as np
import pytest

from contract.blood_cells import RESOLUTIONS_PX
from contract.calibration import STATISTICS, Calibration, Distribution
from contract.errors import ArtifactUnavailable, ManifestInvalid, WeightsMismatch
from contract.weights import save_weights
from tests.train.conftest import trained
from train.checkpoints import checkpoint_path, distribution_path, load_checkpoint, save_checkpoint

COMMITTED = Path(__file__).parents[2] / "exported_models" / "checkpoints"


def test_a_checkpoint_comes_back_with_its_weights_and_its_record(save_trained):
    path = checkpoint_path(save_trained(seed=7), "hemanet", 28)
    found = load_checkpoint(path)
    assert found.record.settings.seed == 7
    assert found.record.metrics[0].value == 0.5
    assert list(found.weights) == list(found.spec.parameter_shapes())


def test_a_missing_checkpoint_says_how_to_make_it(tmp_path):
    with pytest.raises(ArtifactUnavailable, match="hemabench train"):
        load_checkpoint(tmp_path / "hemanet-28px.safetensors")


def test_weights_without_a_training_record_are_refused(save_trained):
    path = checkpoint_path(save_trained(), "hemanet", 28)
    found = load_checkpoint(path)
    save_weights(path, found.weights, found.spec, {"settings": "lost"})
    with pytest.raises(WeightsMismatch, match="training record"):
        load_checkpoint(path)


def calibrated(folder: Path, resolution_px: int) -> Path:
    """A checkpoint with a distribution that no other resolution has; where it lies."""
    mean = np.full(STATISTICS, resolution_px, np.float32)
    distribution = Distribution(mean, np.eye(STATISTICS, dtype=np.float32))
    found = trained(resolution_px=resolution_px)
    calibration = Calibration(
        temperature=1.0, distance_threshold=9.0, images=100, distribution_sha256=distribution.sha256
    )
    path = checkpoint_path(folder, "hemanet", resolution_px)
    save_checkpoint(
        path, replace(found, record=replace(found.record, calibration=calibration), distribution=distribution)
    )
    return path


def test_a_distribution_that_belongs_to_other_weights_is_refused(tmp_path):
    small, large = (calibrated(tmp_path, side) for side in (28, 224))
    found = load_checkpoint(small)
    assert found.distribution is not None
    assert found.distribution.mean[0] == 28
    distribution_path(small).write_bytes(distribution_path(large).read_bytes())
    with pytest.raises(ManifestInvalid, match=r"is not the distribution that belongs to .*Next: hemabench calibrate"):
        load_checkpoint(small)
    assert load_checkpoint(small, calibrated=False).record.settings.resolution_px == 28

    unbound = replace(found.record, calibration=replace(found.record.calibration, distribution_sha256=""))
    save_weights(small, found.weights, found.spec, msgspec.to_builtins(unbound))
    assert load_checkpoint(small).distribution is not None, "records from before are still read"


@pytest.mark.parametrize("resolution_px", RESOLUTIONS_PX)
def test_the_committed_weights_name_their_distribution_and_their_splits(resolution_px):
    found = load_checkpoint(checkpoint_path(COMMITTED, "hemanet", resolution_px))
    assert found.distribution is not None
    assert found.record.calibration.distribution_sha256 == found.distribution.sha256
    assert len(found.record.splits_sha256) == 64


def test_a_flipped_byte_in_the_header_is_an_error_and_not_a_crash(save_trained):
    path = checkpoint_path(save_trained(), "hemanet", 28)
    content = bytearray(path.read_bytes())
    content[9] ^= 0xFF
    path.write_bytes(content)
    with pytest.raises(WeightsMismatch, match="safetensors"):
        load_checkpoint(path)


def test_nan_is_not_saved(save_trained):
    found = load_checkpoint(checkpoint_path(save_trained(), "hemanet", 28))
    broken = {**found.weights, "head.bias": np.full(8, np.nan, np.float32)}
    with pytest.raises(WeightsMismatch, match=r"head\.bias holds NaN"):
        save_weights(checkpoint_path(save_trained(), "hemanet", 28), broken, found.spec, {})
