from __future__ import annotations

from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from contract.errors import InvalidSettings
from train.settings import RECIPES, TrainSettings, learning_rate_at, recipe_for


@pytest.mark.parametrize(
    "change",
    [
        {"epochs": 0},
        {"batch_images": 1},
        {"epochs": 2, "warmup_epochs": 2.0},
        {"label_smoothing": 1.0},
        {"jpeg_share": -0.1},
        {"framework": "keras", "precision": "bfloat16"},
        {"framework": "flax", "compiled": True},
    ],
)
def test_settings_that_make_no_sense_are_refused(change):
    with pytest.raises(InvalidSettings):
        TrainSettings(**change)


def test_every_recipe_is_for_its_own_resolution():
    assert all(recipe.resolution_px == resolution_px for resolution_px, recipe in RECIPES.items())


def test_a_resolution_between_recipes_takes_the_nearest():
    assert recipe_for(96) == replace(RECIPES[64], resolution_px=96)


def test_resnet18_takes_smaller_steps_and_nothing_else_of_its_own():
    for resolution_px, recipe in RECIPES.items():
        found = recipe_for(resolution_px, "resnet18")
        assert found.peak_learning_rate <= 1e-3
        assert replace(found, model="hemanet", peak_learning_rate=recipe.peak_learning_rate) == recipe


def test_resnet18_of_another_set_takes_the_same_steps():
    assert recipe_for(28, "resnet18-pathmnist") == replace(recipe_for(28, "resnet18"), model="resnet18-pathmnist")


@given(epochs=st.integers(3, 60), steps=st.integers(1, 200))
def test_the_learning_rate_rises_to_its_peak_and_falls_to_zero(epochs, steps):
    settings = TrainSettings(epochs=epochs, warmup_epochs=1)
    rates = [learning_rate_at(step, steps, settings) for step in range(epochs * steps)]
    peak = rates.index(max(rates))
    assert peak == steps
    assert max(rates) == pytest.approx(settings.peak_learning_rate)
    assert rates[: peak + 1] == sorted(rates[: peak + 1])
    assert rates[peak:] == sorted(rates[peak:], reverse=True)
    assert 0 < rates[-1] < settings.peak_learning_rate
