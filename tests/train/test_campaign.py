"""Several runs: a process each, a record each, and going on where they were stopped."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from contract.children import run_child
from contract.dataset import dataset_folder
from contract.errors import DataCorrupt, DataUnavailable, InvalidSettings, RunInvalid
from contract.progress import silent
from contract.records.seal import SEAL_FILE
from contract.records.training import TRAINING_FILE, load_training_record, load_training_run, save_training_run
from contract.storage import write_json
from tests.train.conftest import trained
from train.campaign import CampaignSettings, Job, train_campaign, training_run
from train.dataset import DataSettings, facts_of, prepare_datasets
from train.replay import SAME
from train.stages import TrainingPlan


def campaign(folder: Path, **changes: object) -> CampaignSettings:
    settings = CampaignSettings(
        plan=TrainingPlan(epochs=1, checkpoints=folder / "checkpoints"),
        data=DataSettings(source="synthetic", cache=folder / "cache", synthetic_images=240),
        frameworks=("pytorch",),
        seeds=(0,),
        resolutions_px=(28,),
        folder=folder / "campaign",
        command="hemabench train",
    )
    return replace(settings, **changes)  # type: ignore[arg-type]


def test_what_can_be_compared_comes_first(tmp_path):
    settings = campaign(tmp_path, frameworks=("pytorch", "flax"), seeds=(1, 0), resolutions_px=(64, 28))
    found = [(job.resolution_px, job.plan.seed, job.plan.framework) for job in settings.jobs()]
    assert found[:4] == [(28, 0, "pytorch"), (28, 0, "flax"), (28, 1, "pytorch"), (28, 1, "flax")]
    assert {side for side, _, _ in found[4:]} == {64}


def test_several_runs_keep_their_weights_apart_and_a_lone_one_where_it_was_asked_for(tmp_path):
    lone = next(campaign(tmp_path).jobs())
    assert lone.plan.checkpoints == tmp_path / "checkpoints"
    several = campaign(tmp_path, seeds=(0, 1)).jobs()
    assert len({job.plan.checkpoints for job in several}) == 2


def test_a_job_survives_the_way_to_its_process(tmp_path):
    job = next(campaign(tmp_path).jobs())
    assert Job.from_json(job.to_json()) == job


def test_a_framework_that_does_not_exist_is_refused(tmp_path):
    with pytest.raises(InvalidSettings, match="keras"):
        campaign(tmp_path, frameworks=("caffe",))


def test_the_error_of_a_run_is_raised_here(tmp_path):
    job = next(campaign(tmp_path).jobs())
    few = replace(job, data=replace(job.data, synthetic_images=80))
    with pytest.raises(DataUnavailable, match="fewer than one batch"):
        run_child("train.campaign", [few.to_json()], str, silent)


def test_a_finished_run_is_recorded_with_its_answers_and_kept(tmp_path):
    (folder,) = train_campaign(campaign(tmp_path), silent)
    run, predictions = load_training_run(folder)
    assert (run.framework, run.seed, run.resolution_px, len(run.epochs)) == ("pytorch", 0, 28, 1)
    assert run.reproducible != SAME  # one step alone is not repeated
    test = predictions["test"]
    assert test.logits.shape == (len(test.positions), 8)
    assert not set(test.positions.tolist()) & set(predictions["validation"].positions.tolist())
    right = float(np.mean(predictions["validation"].logits.argmax(axis=1) == predictions["validation"].labels))
    assert run.epochs[-1].validation_accuracy == pytest.approx(right)

    with pytest.raises(RunInvalid, match="--resume"):
        train_campaign(campaign(tmp_path), silent)
    written = (folder / TRAINING_FILE).stat().st_mtime_ns
    plan = replace(campaign(tmp_path).plan, resume=True)
    assert train_campaign(campaign(tmp_path, plan=plan), silent) == [folder]
    assert (folder / TRAINING_FILE).stat().st_mtime_ns == written
    with pytest.raises(RunInvalid, match="other settings"):
        train_campaign(campaign(tmp_path, plan=replace(plan, epochs=2)), silent)

    again = campaign(tmp_path, plan=plan)
    with pytest.raises(RunInvalid, match=r"was trained on 240 rendered cells of seed 0.*, not on 250 rendered"):
        train_campaign(replace(again, data=replace(again.data, synthetic_images=250)), silent)
    rewrite_record(folder, data_digest="0" * 64)
    with pytest.raises(RunInvalid, match="was trained on other images of 240 rendered"):
        train_campaign(replace(again, seeds=(0, 1), plan=replace(plan, checkpoints=tmp_path / "others")), silent)
    assert not list((tmp_path / "campaign").glob("*-s1"))


def test_a_finished_run_of_a_set_with_other_classes_is_kept(tmp_path):
    """`medmnist.facts` tells the classes of a set without its file, so nothing is downloaded for this."""
    plan = TrainingPlan(model="hemanet-organamnist", epochs=1, checkpoints=tmp_path / "checkpoints", resume=True)
    data = DataSettings(source="organamnist", cache=tmp_path / "cache")
    settings = campaign(tmp_path, plan=plan, data=data)
    (job,) = settings.jobs()
    facts = facts_of(data)
    of_set = {"data_source": data.source, "data_description": facts.description, "labels": facts.labels}
    record = replace(trained().record, settings=plan.settings_at(28, len(facts.labels)), **of_set)
    run = training_run(replace(trained(), record=record), real=True, labels=facts.labels, command="")
    save_training_run(job.record, run, {})
    assert train_campaign(settings, silent) == [job.record]


def test_no_network_is_trained_on_an_image_that_was_damaged(tmp_path):
    settings = campaign(tmp_path)
    prepare_datasets(settings.data, [28])
    images = dataset_folder(tmp_path / "cache", "synthetic", 28) / "images.npy"
    content = bytearray(images.read_bytes())
    content[-1] ^= 1
    images.write_bytes(content)
    with pytest.raises(DataCorrupt, match=r"images\.npy changed.*Next: hemabench data --rebuild"):
        train_campaign(settings, silent)


def rewrite_record(folder: Path, **changes: str) -> None:
    """As if the campaign had been stopped, which leaves no seal, after a run with these facts."""
    (folder.parent / SEAL_FILE).unlink()
    write_json(folder / TRAINING_FILE, replace(load_training_record(folder), **changes))


def test_what_a_framework_cannot_do_is_refused_before_images_are_made(tmp_path):
    with pytest.raises(InvalidSettings, match="choices of pytorch, not of keras"):
        campaign(tmp_path, frameworks=("pytorch", "keras"), plan=TrainingPlan(precision="bfloat16", compiled=True))
