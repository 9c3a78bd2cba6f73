"""A model card says what the manifest says, and what it does not."""

from __future__ import annotations

import pytest

from contract.blood_cells import LABELS, NOTICE
from contract.manifest import Metric
from serving.answers import ModelName
from serving.inference.cards import model_card
from serving.inference.classifier import ServedModel
from serving.runtimes.null import NullModel


def card(temperature=1.0, metrics=(), trained_on="PBC"):
    return model_card(
        ServedModel(
            name=ModelName("hemanet", "onnx", 28, "d" * 64),
            model=NullModel(),
            labels=LABELS,
            temperature=temperature,
            trained_on=trained_on,
            metrics=metrics,
        )
    )


def test_every_score_stands_with_its_interval_its_images_and_where_they_are_from():
    scores = [
        Metric(name=name, value=0.9, low=0.8, high=0.95, images=232, data="PBC", split="test")
        for name in ("accuracy", "recall of ig")
    ]
    text = card(metrics=tuple(scores))
    assert "| accuracy | 0.9000 | 0.8000 to 0.9500 | 232 | test | PBC |" in text
    assert "| recall of ig |" in text


def test_where_nothing_was_measured_the_card_says_so():
    assert "None were measured." in card()
    assert "answers without looking" in card(trained_on=None)


@pytest.mark.parametrize(("temperature", "words"), [(1.0, "Not calibrated"), (1.7, "logits / 1.7")])
def test_the_card_says_whether_probabilities_may_be_read_as_such(temperature, words):
    assert words in card(temperature)


def test_the_card_says_what_the_model_is_not_for():
    assert NOTICE in card()
    assert "out of scope" in card()
