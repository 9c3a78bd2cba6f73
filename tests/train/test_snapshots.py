from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from contract.errors import RunInvalid
from train.settings import TrainSettings
from train.snapshots import Course, Snapshot, load_snapshot, require_same_course, save_snapshot, snapshot_path


def snapshot() -> Snapshot:
    course = Course(
        settings=TrainSettings(seed=4),
        started_from="random weights",
        data_digest="d" * 64,
        first_step_ns=5,
        steps=7,
        averaged=2,
        epochs=(),
    )
    arrays = {"stem.kernel": np.arange(4, dtype=np.float32)}
    state = {"step": np.array(7, np.int64), "some/path.moment": np.ones((2, 2), np.float32)}
    return Snapshot(course=course, weights=arrays, average=arrays, optimizer=state)


def test_a_snapshot_comes_back_whole(tmp_path):
    path = snapshot_path(tmp_path / "hemanet-28px.safetensors")
    save_snapshot(path, snapshot())
    found = load_snapshot(path)
    assert found.course == snapshot().course
    for part in ("weights", "average", "optimizer"):
        expected = getattr(snapshot(), part)
        assert getattr(found, part).keys() == expected.keys()
        for name, array in expected.items():
            np.testing.assert_array_equal(getattr(found, part)[name], array, strict=True)


def test_without_a_snapshot_there_is_nothing_to_resume(tmp_path):
    with pytest.raises(RunInvalid, match="train without --resume"):
        load_snapshot(tmp_path / "none.unfinished")


@pytest.mark.parametrize("content", [b"", b"\x08\0\0\0\0\0\0\0{}      ", b"not a snapshot at all"])
def test_a_damaged_snapshot_is_an_error_and_not_a_crash(tmp_path, content):
    path = tmp_path / "run.unfinished"
    path.write_bytes(content)
    with pytest.raises(RunInvalid, match="not a readable snapshot"):
        load_snapshot(path)


def test_other_settings_or_images_are_not_resumed(tmp_path):
    found, path = snapshot(), tmp_path / "run.unfinished"
    require_same_course(found, found.course.settings, "d" * 64, path)
    with pytest.raises(RunInvalid, match="other settings"):
        require_same_course(found, replace(found.course.settings, epochs=9), "d" * 64, path)
    with pytest.raises(RunInvalid, match="other images"):
        require_same_course(found, found.course.settings, "e" * 64, path)
