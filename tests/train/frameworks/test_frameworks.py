"""The three frameworks hold the same network: same start, same gradients, same course."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from numpy.typing import NDArray

from contract.architecture import is_trained
from contract.errors import InvalidSettings
from contract.reference import reference_logits
from train.export import ON_THE_PROCESSOR
from train.frameworks import FRAMEWORKS, load_framework
from train.initial_weights import initial_weights

ROOT = Path(__file__).parents[3]
PROBE = Path(__file__).with_name("probe.py")
sys.path.insert(0, str(PROBE.parent))
import probe  # noqa: E402 (the same file that runs in the frameworks' processes)

Found = dict[str, NDArray[np.float64]]
SPECS = ("hemanet", "small", "resnet18")


@pytest.fixture(scope="session")
def probed(tmp_path_factory: pytest.TempPathFactory) -> Callable[[str, str], Found]:
    """What a framework computes for a network, computed once."""
    cache: dict[tuple[str, str], Found] = {}

    def run(framework: str, spec: str) -> Found:
        if (framework, spec) not in cache:
            output = tmp_path_factory.mktemp("probe") / f"{framework}-{spec}.npz"
            environment = {**os.environ, **ON_THE_PROCESSOR, "PYTHONPATH": str(ROOT)}
            subprocess.run([sys.executable, PROBE, framework, spec, output], check=True, cwd=ROOT, env=environment)
            with np.load(output, allow_pickle=False) as arrays:
                cache[framework, spec] = {name: arrays[name].astype(np.float64) for name in arrays}
        return cache[framework, spec]

    return run


def relative_difference(found: NDArray[np.float64], reference: NDArray[np.float64]) -> float:
    """The norm of the difference as a share of the reference's norm."""
    return float(np.linalg.norm(found - reference) / np.linalg.norm(reference))


@pytest.mark.parametrize("spec_name", SPECS)
@pytest.mark.parametrize("framework", FRAMEWORKS)
class TestEachFramework:
    def test_computes_the_logits_of_the_numpy_reference(self, framework, spec_name, probed):
        spec = probe.spec_of(spec_name)
        reference = reference_logits(spec, initial_weights(spec, seed=5), probe.batch(spec_name).images)
        assert relative_difference(probed(framework, spec_name)["logits"], reference.astype(np.float64)) < 1e-4

    def test_returns_the_very_weights_it_was_given(self, framework, spec_name, probed):
        for name, array in initial_weights(probe.spec_of(spec_name), seed=5).items():
            np.testing.assert_array_equal(probed(framework, spec_name)[f"before/{name}"], array)

    def test_changes_every_array_in_a_few_steps(self, framework, spec_name, probed):
        found = probed(framework, spec_name)
        for name in probe.spec_of(spec_name).parameter_shapes():
            assert not np.array_equal(found[f"after/{name}"], found[f"before/{name}"]), name

    def test_learns_the_batch(self, framework, spec_name, probed):
        losses = probed(framework, spec_name)["losses"]
        assert losses[-1] < losses[0]

    def test_predicts_as_before_once_the_weights_are_put_back(self, framework, spec_name, probed):
        found = probed(framework, spec_name)
        assert relative_difference(found["logits_again"], found["logits"]) < 1e-6
        assert relative_difference(found["logits_after"], found["logits"]) > 0.1


@pytest.mark.parametrize("spec_name", SPECS)
@pytest.mark.parametrize("framework", [name for name in FRAMEWORKS if name != "pytorch"])
class TestAgainstPyTorch:
    def test_gradients_of_the_first_step_agree(self, framework, spec_name, probed):
        # The median of three batches: a value within rounding of zero may fall on either side of a
        # ReLU, and then that one batch has another gradient, by some 1e-3, for a reason that is no mistake.
        effort = probe.EFFORTS[spec_name]
        found, reference = probed(framework, spec_name), probed("pytorch", spec_name)
        names = [name.partition("/11/")[2] for name in reference if name.startswith("gradient/11/")]
        assert set(names) == {name for name in probe.spec_of(spec_name).parameter_shapes() if is_trained(name)}
        for name in names:
            keys = [f"gradient/{seed}/{name}" for seed in effort.gradient_seeds]
            assert (
                np.median([relative_difference(found[key], reference[key]) for key in keys]) < effort.gradient_tolerance
            ), name

    def test_losses_of_all_steps_agree_to_1e_3(self, framework, spec_name, probed):
        found, reference = probed(framework, spec_name)["losses"], probed("pytorch", spec_name)["losses"]
        np.testing.assert_allclose(found, reference, rtol=1e-3)

    def test_weights_after_the_last_step_agree_to_1e_3(self, framework, spec_name, probed):
        # Arrays are weighed together: Adam turns a gradient that is rounding noise into a full step,
        # so that single shifts, which start at zero, may differ by more than they are worth.
        found, reference = probed(framework, spec_name), probed("pytorch", spec_name)
        names = [name for name in reference if name.startswith("after/")]
        flat = [np.concatenate([weights[name].ravel() for name in names]) for weights in (found, reference)]
        assert relative_difference(*flat) < 1e-3

    def test_running_variances_after_the_last_step_agree_to_1e_3(self, framework, spec_name, probed):
        # PyTorch's own running variance, n / (n - 1) too large, fails this in the deepest layers.
        found, reference = probed(framework, spec_name), probed("pytorch", spec_name)
        for name in (n for n in reference if n.startswith("after/") and n.endswith(".variance")):
            assert relative_difference(found[name], reference[name]) < 1e-3, name


def test_resnet18s_gradients_differ_by_rounding_at_the_corner_of_its_relus_and_by_nothing_else():
    # The same network in the same framework: float32 against float64 differs as much as the frameworks do among
    # each other, because a handful of 3.5 million values fall on the other side of zero; without a corner it does not.
    corner_probe = PROBE.with_name("corner_probe.py")
    environment = {**os.environ, **ON_THE_PROCESSOR, "PYTHONPATH": str(ROOT)}
    run = subprocess.run(
        [sys.executable, corner_probe], check=True, cwd=ROOT, env=environment, stdout=subprocess.PIPE, text=True
    )
    found = json.loads(run.stdout)
    assert found["smooth"] < 1e-4
    assert found["signs"] < 1000
    assert found["relu"] < (probe.EFFORTS["resnet18"].gradient_tolerance if found["signs"] else 1e-4)


def test_a_framework_that_trains_on_a_card_is_kept_from_tensorfloat_32(monkeypatch):
    monkeypatch.setenv("NVIDIA_TF32_OVERRIDE", "1")
    monkeypatch.delenv("NVIDIA_TF32_OVERRIDE")
    monkeypatch.setitem(FRAMEWORKS, "pytorch", replace(FRAMEWORKS["pytorch"], module="json"))
    load_framework("pytorch")
    assert os.environ["NVIDIA_TF32_OVERRIDE"] == "0"


def test_an_unknown_framework_is_answered_with_the_known_ones():
    with pytest.raises(InvalidSettings, match="pytorch, keras, flax"):
        load_framework("caffe")
