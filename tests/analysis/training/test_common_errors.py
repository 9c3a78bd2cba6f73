"""What runs get wrong together, from drawn logits."""

from __future__ import annotations

import json
from dataclasses import replace

import numpy as np
import pytest

from analysis.statistics import Estimate
from analysis.training.common_errors import common_errors
from analysis.training.page import training_page
from analysis.training.report import render_training_report
from analysis.training.summary import summarise_training
from analysis.training.tables import training_as_json
from tests.analysis.training.conftest import IMAGES, predictions


def answering(wrong_at, confidence=5.0):
    """Every test image recognised but those, which are taken for the next class."""
    plain = predictions(0, first_position=IMAGES)
    answered = plain.labels.astype(int)
    answered[list(wrong_at)] = (answered[list(wrong_at)] + 1) % 8
    logits = np.zeros((IMAGES, 8), np.float32)
    logits[np.arange(IMAGES), answered] = confidence
    return replace(plain, logits=logits)


def three_runs(save_run):
    """Images 0 and 1 are wrong in all, image 2 in two of three, image 3 in one."""
    for seed, wrong in enumerate(({0, 1, 2}, {0, 1, 2}, {0, 1, 3})):
        folder = save_run(seed=seed, test=answering(wrong))
    return summarise_training(folder)


def test_images_are_counted_that_every_run_and_that_some_run_gets_wrong(save_run):
    (network,) = three_runs(save_run).networks
    found = common_errors(network)
    assert found is not None
    assert (found.runs, network.test_images, found.wrong_in_every_run, found.wrong_in_some_run) == (3, IMAGES, 2, 4)


def test_together_runs_answer_what_most_of_their_probability_says(save_run):
    found = common_errors(three_runs(save_run).networks[0])
    assert found is not None
    assert isinstance(found.together, Estimate)
    assert found.together.value == pytest.approx((IMAGES - 3) / IMAGES)  # images 0, 1 and 2


def test_a_temperature_takes_back_what_a_run_is_too_sure_of(save_run):
    save_run(seed=0, test=answering({0}, confidence=50.0), temperature=100.0)
    save_run(seed=1, test=answering(set(), confidence=5.0), temperature=1.0)
    (network,) = summarise_training(save_run(seed=2, test=answering(set(), confidence=5.0), temperature=1.0)).networks
    found = common_errors(network)
    assert found is not None
    assert isinstance(found.together, Estimate)
    assert found.together.value == 1


def test_a_single_run_has_nothing_in_common(save_run):
    summary = summarise_training(save_run())
    assert common_errors(summary.networks[0]) is None
    assert "Errors in common" not in training_page(summary)
    assert "Errors in common" not in render_training_report(summary, None)


def test_report_page_and_numbers_say_it(save_run):
    summary = three_runs(save_run)
    assert "| hemanet, 28 px | 3 | 160 | 2 | 4 |" in training_page(summary)
    assert "Errors in common" in render_training_report(summary, None)
    (network,) = json.loads(training_as_json(summary))["networks"]
    assert network["common_errors"]["wrong_in_every_run"] == 2
