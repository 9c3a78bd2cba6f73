"""The mistakes made for real, small: each must move what is reported the way its description says."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from analysis.mistakes.recorded import MistakesRun, load_mistakes
from analysis.mistakes.summary import MistakesSummary, summarise_mistakes
from contract.dataset import save_dataset_facts
from contract.errors import InvalidSettings
from contract.progress import silent
from contract.records.mistakes import FRAMEWORKS
from loadtest.mistakes.measure import MistakesSettings, choose_images, measure_mistakes, profile_named
from loadtest.mistakes.table import MISTAKES

ROOT = Path(__file__).parents[3]
WEIGHTS = ROOT / "exported_models" / "checkpoints" / "hemanet-28px.safetensors"
# Mistakes whose effect is far above what a busy machine adds.
CLEAR = (
    "no_synchronisation",
    "first_call_in_the_mean",
    "predict_in_a_loop",
    "nnx_jit_per_call",
    "keras_eager",
    "jax_eager",
    "divided_twice",
    "default_network",
)

pytestmark = pytest.mark.timeout(1_800)  # five compilers on a busy machine


@pytest.fixture(scope="module")
def photographs(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Forty images of noise at 64 px, all of them the test split."""
    folder = tmp_path_factory.mktemp("noise")
    rng = np.random.default_rng(0)
    np.save(folder / "images.npy", rng.integers(0, 256, (40, 64, 64, 3), np.uint8))
    np.save(folder / "labels.npy", rng.integers(0, 8, 40).astype(np.uint8))
    np.save(folder / "splits.npy", np.full(40, 2, np.uint8))
    save_dataset_facts(folder, source="noise", description="noise", real=False)
    return folder


def settings(photographs: Path, results: Path, **changes: object) -> MistakesSettings:
    given = {
        "profile": profile_named("smoke"),
        "resolution_px": 28,
        "photographs": photographs,
        "weights": WEIGHTS,
        "results": results,
        "names": CLEAR,
    }
    return MistakesSettings(**(given | changes))


@pytest.fixture(scope="module")
def run(photographs: Path, tmp_path_factory: pytest.TempPathFactory) -> MistakesRun:
    """One run of all frameworks, each in a process of its own."""
    return load_mistakes(measure_mistakes(settings(photographs, tmp_path_factory.mktemp("results")), silent))


@pytest.fixture(scope="module")
def summary(run: MistakesRun) -> MistakesSummary:
    return summarise_mistakes(run, np.random.default_rng(0))


def effect_of(summary: MistakesSummary, name: str):
    (found,) = (effect for effect in summary.effects if effect.mistake.name == name)
    return found


@pytest.mark.parametrize(
    ("name", "framework", "at_least"),
    [
        ("first_call_in_the_mean", "pytorch", 2.0),
        ("first_call_in_the_mean", "jax", 1.5),
        ("predict_in_a_loop", "tensorflow", 5.0),
        ("nnx_jit_per_call", "jax", 1.5),
        ("keras_eager", "tensorflow", 3.0),
        ("jax_eager", "jax", 3.0),
    ],
)
def test_a_mistake_that_looks_slower_does(summary, name, framework, at_least):
    effect = effect_of(summary, name)
    assert effect.mistake.expected == "slower"
    assert effect.factors[framework].value > at_least


def test_without_synchronisation_ten_calls_look_faster_than_they_are(summary):
    effect = effect_of(summary, "no_synchronisation")
    assert effect.mistake.expected == "faster"
    assert effect.factors["jax"].value < 0.7


def test_who_does_not_make_a_mistake_is_reported_as_before(summary):
    effect = effect_of(summary, "predict_in_a_loop")
    assert effect.with_["jax"] == effect.without["jax"]
    assert effect.factors["pytorch"].value == 1


def test_every_framework_computes_the_reference_when_it_is_called_carefully(run):
    assert not run.unfinished
    assert [one.framework for one in run.processes] == list(FRAMEWORKS)
    assert all(one.largest_difference["careful"] < 1e-3 for one in run.processes)


def test_pixels_divided_twice_change_logits_in_every_framework_alike(summary):
    changes = effect_of(summary, "divided_twice").answers
    assert [change.framework for change in changes] == list(FRAMEWORKS)
    assert len({change.changed.value for change in changes}) == 1
    assert changes[0].difference > 5
    assert [change.difference for change in changes] == pytest.approx([changes[0].difference] * 3, rel=1e-3)


def test_a_network_of_defaults_answers_other_logits(summary):
    changes = effect_of(summary, "default_network").answers
    assert [change.framework for change in changes] == ["tensorflow", "jax"]
    assert all(change.difference > 1e-2 for change in changes)


def test_photographs_smaller_than_the_input_are_refused(photographs, tmp_path):
    with pytest.raises(InvalidSettings, match="smaller"):
        measure_mistakes(settings(photographs, tmp_path, resolution_px=128, weights=WEIGHTS), silent)


def test_images_are_drawn_from_the_test_split_once_each(photographs):
    from contract.dataset import load_dataset

    chosen = choose_images(load_dataset(photographs), 1_000, seed=0)
    assert sorted(chosen) == list(range(40))
    assert chosen != tuple(range(40))


def test_an_unknown_profile_is_refused_with_those_there_are():
    with pytest.raises(InvalidSettings, match="full, quick, smoke"):
        profile_named("huge")


def test_what_is_clear_is_in_the_table():
    assert set(CLEAR) <= {mistake.name for mistake in MISTAKES}
