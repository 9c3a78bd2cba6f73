"""A campaign's figures, its report and its page, from recorded runs."""

from __future__ import annotations

import json
import re
from dataclasses import replace

import numpy as np
import pytest

from analysis.statistics import Absent, Estimate
from analysis.training.curves import curve
from analysis.training.gallery import gallery
from analysis.training.page import training_page
from analysis.training.report import render_training_report, training_report
from analysis.training.summary import summarise_training
from analysis.training.tables import training_as_json
from contract.dataset import dataset_folder, save_dataset_facts
from contract.errors import RunInvalid
from contract.records.training import PREDICTIONS_FILE, TRAINING_FILE, is_training_folder

IMAGES = 160  # of a split in conftest.py


def test_speed_leaves_the_first_step_out_and_time_to_target_counts_the_start(save_run):
    (network,) = summarise_training(save_run()).networks
    (framework,) = network.frameworks
    assert isinstance(framework.steps_images_per_s, Estimate)
    assert framework.steps_images_per_s.value == pytest.approx(500)
    assert framework.steps_images_per_s.low == pytest.approx(450)  # the first epoch: 900 images in 2 s
    (run,) = framework.runs
    assert run.first_step_s == 2
    assert run.to_target_s == 1 + 5 + 4 + 4  # the third epoch validated at 98 %
    assert isinstance(framework.accuracy, Absent)  # one seed


def test_the_interval_of_a_speed_holds_the_speed_of_every_run_and_not_those_of_its_epochs(save_run):
    (network,) = summarise_training(save_run()).networks
    first = network.runs[0].run
    for seed, slower in ((1, 2), (2, 4)):
        epochs = tuple(replace(one, step_ns=slower * one.step_ns) for one in first.epochs)
        folder = save_run(seed=seed, epochs=epochs, first_step_ns=slower * first.first_step_ns)
    (network,) = summarise_training(folder).networks
    speed = network.frameworks[0].steps_images_per_s
    assert isinstance(speed, Estimate)
    assert (speed.value, speed.low, speed.high) == pytest.approx((250, 125, 500))
    assert (speed.n, speed.of) == (3, "runs")


def test_every_pair_of_frameworks_is_compared_seed_by_seed(save_run):
    for framework in ("pytorch", "keras", "flax"):
        for seed in (0, 1):
            folder = save_run(framework, seed)
    summary = summarise_training(folder)
    assert {(pair.seed, pair.first, pair.second) for pair in summary.comparisons} == {
        (seed, *pair) for seed in (0, 1) for pair in (("flax", "keras"), ("flax", "pytorch"), ("keras", "pytorch"))
    }
    assert all(pair.corrected_chance >= pair.chance for pair in summary.comparisons)
    (network,) = summary.networks
    assert all(int(one.confusion.sum()) == 2 * IMAGES for one in network.frameworks)


def test_runs_on_other_images_are_not_compared(save_run):
    save_run("pytorch")
    with pytest.raises(RunInvalid, match="other images"):
        summarise_training(save_run("flax", data_digest="1" * 64))


def test_a_run_whose_answers_changed_is_refused(save_run):
    folder = save_run()
    (path,) = folder.glob(f"*/{PREDICTIONS_FILE}")
    path.write_bytes(path.read_bytes()[:-1] + b"\1")
    with pytest.raises(RunInvalid, match="changed since"):
        summarise_training(folder)


def test_a_folder_without_a_finished_run_is_refused(tmp_path, save_run):
    assert not is_training_folder(tmp_path)
    with pytest.raises(RunInvalid, match="hemabench train"):
        summarise_training(tmp_path)
    folder = save_run()
    (path,) = folder.glob(f"*/{TRAINING_FILE}")
    path.write_text("{}")
    with pytest.raises(RunInvalid, match="not a readable training record"):
        summarise_training(folder)


def test_a_temperature_gives_a_second_calibration_error(save_run):
    (network,) = summarise_training(save_run(temperature=1.7)).networks
    (run,) = network.runs
    assert isinstance(run.calibrated_error, Estimate)
    assert isinstance(run.calibration_error, Estimate)
    assert run.calibrated_error.value != run.calibration_error.value
    (network,) = summarise_training(save_run(temperature=None)).networks
    assert network.runs[0].calibrated_error == Absent("not calibrated")


def test_the_gallery_shows_each_mistake_with_its_picture(save_run, tmp_path):
    place = dataset_folder(tmp_path / "cache", "test", 28)
    place.mkdir(parents=True)
    pixels = np.random.default_rng(0).integers(0, 256, (2 * IMAGES, 28, 28, 3), dtype=np.uint8)
    np.save(place / "images.npy", pixels)
    np.save(place / "labels.npy", np.zeros(2 * IMAGES, np.uint8))
    np.save(place / "splits.npy", np.zeros(2 * IMAGES, np.uint8))
    facts = save_dataset_facts(place, source="test", description="noise", real=False).facts
    (network,) = summarise_training(save_run(data_digest=facts.images_sha256)).networks
    shown = gallery(network, tmp_path / "cache")
    (run,) = network.runs
    wrong = run.test.positions[run.test.logits.argmax(axis=1) != run.test.labels]
    assert sorted(one.position for one in shown.mistakes) == wrong.tolist()
    assert all(one.picture and one.picture.startswith("data:image/png;base64,") for one in shown.mistakes)
    assert all(one.true_class != one.answered_class for one in shown.mistakes)
    assert all(one.true_probability <= one.answered_probability for one in shown.mistakes)


def test_without_the_very_images_the_gallery_says_why(save_run, tmp_path):
    (network,) = summarise_training(save_run()).networks
    shown = gallery(network, tmp_path)
    assert "hemabench data" in (shown.without_pictures or "")
    assert all(one.picture is None for one in shown.mistakes)


def test_the_report_stands_alone_and_names_every_run(save_run):
    save_run("flax")
    text = render_training_report(summarise_training(save_run()), None)
    assert "JAX/Flax" in text
    assert "PyTorch" in text
    assert "McNemar" in text
    markup = text.partition("<script>")[0]
    assert not re.search(r"(src|href)=\"(?!data:|#)", markup)
    assert "Research use only" in markup
    assert text == render_training_report(summarise_training(save_run()), None)


@pytest.mark.parametrize(
    ("chance", "said"),
    [
        (0.2, "no pair of networks can be told apart"),
        (0.01, "1 of 1 pairs of networks (PyTorch and JAX/Flax at 28 px, seed 0) can be told apart"),
    ],
)
def test_the_answer_says_whether_networks_can_be_told_apart(save_run, chance, said):
    save_run("flax")
    summary = summarise_training(save_run())
    (pair,) = summary.comparisons
    pair = replace(pair, first="pytorch", second="flax", corrected_chance=chance)
    answer = training_report(replace(summary, comparisons=(pair,)), None).answer
    assert said in answer[-1]
    assert "another seed is another network" in answer[-1]


def test_one_framework_alone_is_compared_with_none(save_run):
    assert len(training_report(summarise_training(save_run()), None).answer) == 1


def test_rendered_images_are_announced(save_run):
    summary = summarise_training(save_run(data_is_real=False))
    assert "accuracy is not" in render_training_report(summary, None)
    assert "accuracy is not" in training_page(summary)


def test_the_page_and_the_json_hold_the_figures_of_the_summary(save_run):
    save_run("flax")
    summary = summarise_training(save_run())
    page, value = training_page(summary), json.loads(training_as_json(summary))
    first = summary.runs[0]
    assert isinstance(first.accuracy, Estimate)
    assert f"{100 * first.accuracy.value:.2f} %" in page
    assert value["networks"][0]["runs"][first.run.name]["accuracy"]["value"] == first.accuracy.value


def test_a_curve_needs_two_epochs(save_run):
    (network,) = summarise_training(save_run()).networks
    assert curve(network, "mean_loss") is not None
    one_epoch = network.runs[0].run.epochs[:1]
    (network,) = summarise_training(save_run(epochs=one_epoch)).networks
    assert curve(network, "mean_loss") is None
