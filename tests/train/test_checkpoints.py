from __future__ import annotations

import numpy as np
import pytest

from contract.errors import ArtifactUnavailable, WeightsMismatch
from contract.weights import save_weights
from train.checkpoints import checkpoint_path, load_checkpoint


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
