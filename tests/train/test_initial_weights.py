from __future__ import annotations

import numpy as np
import pytest

from contract.architecture import HEMANET
from contract.weights import require_fit
from train.initial_weights import initial_weights


def test_they_fit_the_network_and_depend_on_the_seed_alone():
    weights = initial_weights(HEMANET, seed=3)
    require_fit(weights, HEMANET, "initial weights")
    again, other = initial_weights(HEMANET, seed=3), initial_weights(HEMANET, seed=4)
    assert all(np.array_equal(array, again[name]) for name, array in weights.items())
    assert not np.array_equal(weights["stem.kernel"], other["stem.kernel"])


def test_kernels_have_the_variance_that_keeps_a_relu_network_alive():
    kernel = initial_weights(HEMANET, seed=0)["stage3.conv1.kernel"]
    assert kernel.std() == pytest.approx(np.sqrt(2 / (3 * 3 * 128)), rel=0.02)
    assert abs(kernel.mean()) < 1e-3


def test_batch_norm_starts_as_the_identity():
    weights = initial_weights(HEMANET, seed=0)
    assert (weights["stem.scale"] == 1).all()
    assert (weights["stem.variance"] == 1).all()
    assert not weights["stem.shift"].any()
    assert not weights["stem.mean"].any()
