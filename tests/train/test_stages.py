"""What a network starts from and is taught by: never weights that may have learnt from its test images."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest

from contract.errors import InvalidSettings
from contract.progress import silent
from tests.train.conftest import trained
from train.campaign import CampaignSettings, train_campaign
from train.checkpoints import checkpoint_path, load_checkpoint
from train.dataset import DataSettings
from train.stages import TrainingPlan, require_start, require_teacher


def campaign(tmp_path: Path, resolution_px: int, **plan: object) -> CampaignSettings:
    return CampaignSettings(
        plan=TrainingPlan(epochs=1, checkpoints=tmp_path / "checkpoints", **plan),  # type: ignore[arg-type]
        data=DataSettings(source="synthetic", cache=tmp_path / "cache", synthetic_images=240),
        frameworks=("pytorch",),
        seeds=(0,),
        resolutions_px=(resolution_px,),
        folder=tmp_path / "campaign",
        command="hemabench train",
    )


def test_lower_weights_of_other_data_are_left_aside_and_the_record_says_so(tmp_path, save_trained):
    save_trained(resolution_px=28)  # of "rendered", which is not the data here
    heard: list[str] = []
    train_campaign(campaign(tmp_path, 64), lambda what, *_: heard.append(what))
    found = load_checkpoint(checkpoint_path(tmp_path / "checkpoints", "hemanet", 64)).record
    assert found.started_from.startswith("random weights, seed 0; not the 28 px weights, trained on rendered")
    assert any(found.started_from in what for what in heard)


def test_a_teacher_of_other_data_is_refused_before_anything_is_begun(tmp_path, save_trained):
    teacher = checkpoint_path(save_trained(resolution_px=64), "hemanet", 64)
    with pytest.raises(InvalidSettings, match="was trained on rendered and may know the test images of 240 rendered"):
        train_campaign(campaign(tmp_path, 28, teacher=teacher), silent)
    assert not (tmp_path / "cache").exists()
    assert not (tmp_path / "campaign").exists()


def test_a_teacher_must_be_larger_than_every_pupil(tmp_path, save_trained):
    plan = TrainingPlan(teacher=checkpoint_path(save_trained(resolution_px=64), "hemanet", 64))
    with pytest.raises(InvalidSettings, match="64 px and cannot teach a hemanet of 128 px"):
        require_teacher(plan, DataSettings(source="synthetic"), [28, 128])


def test_a_start_of_other_data_is_refused_before_anything_is_begun(tmp_path, save_trained):
    start = checkpoint_path(save_trained(resolution_px=28), "hemanet", 28)
    with pytest.raises(InvalidSettings, match="was trained on rendered and may know the test images of 240 rendered"):
        train_campaign(campaign(tmp_path, 28, start=start), silent)
    assert not (tmp_path / "campaign").exists()


def test_another_network_is_no_start(save_trained):
    start = checkpoint_path(save_trained(resolution_px=28), "hemanet", 28)
    with pytest.raises(InvalidSettings, match="is a hemanet, and no start for a resnet18"):
        require_start(TrainingPlan(model="resnet18", start=start), DataSettings(source="synthetic"))


def test_a_taught_network_has_no_other_start(save_trained):
    start = checkpoint_path(save_trained(resolution_px=28), "hemanet", 28)
    with pytest.raises(InvalidSettings, match="starts from its teacher"):
        require_start(TrainingPlan(start=start, teacher=start), DataSettings(source="synthetic"))


@pytest.mark.parametrize(
    ("of", "same"),
    [
        (("pbc", "own split", "a"), True),
        (("pbc", "own split", ""), True),  # a record or a cache from before splits were told
        (("pbc", "own split", "b"), False),
        (("pbc", "own split of seed 1", "a"), False),
        (("bloodmnist", "own split", "a"), False),
    ],
)
def test_data_are_the_same_where_source_description_and_splits_are(of, same):
    record = replace(trained().record, data_source="pbc", data_description="own split", splits_sha256="a")
    assert record.is_of(*of) is same
    if not of[2]:
        assert replace(record, splits_sha256="").is_of("pbc", "own split", "a")
