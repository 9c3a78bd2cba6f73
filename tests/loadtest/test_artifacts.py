from __future__ import annotations

from dataclasses import replace

import pytest

from contract.errors import InvalidSettings
from contract.records.load import ArtifactFacts
from loadtest.artifacts import same_weights

ONE = ArtifactFacts(
    runtime="onnx",
    resolution_px=28,
    model="hemanet",
    format="onnx",
    digest="a" * 64,
    weights_digest="w" * 64,
    parity_largest_difference=1e-6,
    parity_images=8,
)


def test_artifacts_of_the_same_weights_are_taken_as_they_come() -> None:
    others = (replace(ONE, runtime="jax"), replace(ONE, resolution_px=64, weights_digest="v" * 64))
    assert same_weights([ONE, *others]) == (ONE, *others)


def test_an_artifact_that_was_left_over_from_other_weights_is_refused_by_name() -> None:
    stale = replace(ONE, runtime="onnx-int8", weights_digest="v" * 64)
    with pytest.raises(InvalidSettings, match=r"onnx-int8 and onnx hold different weights at 28 px.*hemabench export"):
        same_weights([ONE, replace(ONE, resolution_px=64), stale])
