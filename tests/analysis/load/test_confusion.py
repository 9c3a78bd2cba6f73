"""Which classes are taken for which, from the requests of a load run alone."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from analysis.load.pictures import MOST_PICTURES, kept_pictures, new_pictures, picture_name, shown_first
from analysis.load.report import render_report
from analysis.load.runs import load_run
from analysis.load.summary import RunSummary, summarise
from contract.blood_cells import LABELS
from contract.dataset import save_dataset_facts

IMAGES = 400


def summary_of(build, folder: Path, **options) -> RunSummary:
    return summarise(load_run(build.write(folder, **options)))


@pytest.fixture
def cache(tmp_path: Path) -> Path:
    """The images that the builder's requests name: a true class and a colour each."""
    folder = tmp_path / "cache" / "pbc" / "28px"
    folder.mkdir(parents=True)
    numbers = np.arange(IMAGES)
    colours = np.stack([numbers % 256, numbers // 256, numbers * 0], axis=1).astype(np.uint8)
    np.save(folder / "images.npy", np.broadcast_to(colours[:, None, None], (IMAGES, 28, 28, 3)).copy())
    np.save(folder / "labels.npy", (numbers * 7 % 8).astype(np.uint8))
    np.save(folder / "splits.npy", np.full(IMAGES, 2, np.uint8))
    save_dataset_facts(folder, source="pbc", description="test", real=True)
    return tmp_path / "cache"


def test_every_distinct_image_counts_once_in_its_row_and_column(build, tmp_path: Path) -> None:
    (confusion,) = summary_of(build, tmp_path).confusions
    assert confusion.images == IMAGES
    assert confusion.labels == LABELS
    assert np.array(confusion.counts).sum() == IMAGES
    # Every fiftieth image is answered with the class after its own.
    wrong = [image for image in range(IMAGES) if image % 50 == 0]
    assert [one.image for one in sorted(confusion.wrong, key=lambda one: one.image)] == wrong
    assert np.trace(np.array(confusion.counts)) == IMAGES - len(wrong)
    assert {one.runtimes for one in confusion.wrong} == {("onnx", "pytorch")}
    assert confusion.disagreed == 0


def test_an_image_with_two_answers_counts_for_each_and_is_said_to(build, tmp_path: Path) -> None:
    def disagree(cell, records, outcome):
        if cell.runtime == "onnx":
            records = [replace(one, answered=(one.expected + 2) % 8) if one.image == 1 else one for one in records]
        return records, outcome

    folder = build.write(tmp_path, edit=disagree)
    for predictions in (folder / "offline").iterdir():
        predictions.unlink()  # with these the cell would be invalid, and rightly so
    summary = summarise(load_run(folder))
    (confusion,) = summary.confusions
    assert confusion.disagreed == 1
    assert np.array(confusion.counts).sum() == IMAGES + 1
    (only,) = [one for one in confusion.wrong if one.image == 1]
    assert only.runtimes == ("onnx",)
    words = " ".join(render_report(summary).split())
    assert "Images that got more than one class, and count once for each: 1." in words


def test_recall_follows_from_the_row(build, tmp_path: Path) -> None:
    (confusion,) = summary_of(build, tmp_path).confusions
    for number, (row, recall) in enumerate(zip(confusion.counts, confusion.recalls, strict=True)):
        assert recall.value == pytest.approx(row[number] / sum(row))
        assert recall.n == sum(row)


def test_rendered_images_have_no_confusion(build, tmp_path: Path) -> None:
    assert summary_of(build, tmp_path, data_is_real=False, data_source="synthetic").confusions == ()


def test_images_of_another_task_have_numbers_for_names(build, tmp_path: Path) -> None:
    folder = build.write(tmp_path, data_source="pathmnist")
    for predictions in (folder / "offline").iterdir():
        predictions.unlink()
    (confusion,) = summarise(load_run(folder)).confusions
    assert confusion.labels[0] == "class 0"


def test_pictures_of_wrong_answers_come_from_the_cache_and_go_into_the_report(
    build, tmp_path: Path, cache: Path
) -> None:
    folder = build.write(tmp_path / "run")
    summary = summarise(load_run(folder))
    found = new_pictures(folder, summary.plan, summary.confusions, cache)
    assert set(found) == {(28, image) for image in range(0, IMAGES, 50)}
    for place, png in found.items():
        path = folder / picture_name(*place)
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(png)
    kept = kept_pictures(folder)
    assert len({*kept.values()}) == len(found)  # every image has a colour of its own
    assert all(uri in render_report(summary, kept) for uri in kept.values())
    assert new_pictures(folder, summary.plan, summary.confusions, cache) == {}


def test_images_in_another_order_give_no_pictures(build, tmp_path: Path, cache: Path) -> None:
    folder = cache / "pbc" / "28px"
    np.save(folder / "labels.npy", np.roll(np.load(folder / "labels.npy"), 1))
    save_dataset_facts(folder, source="pbc", description="test", real=True)
    summary = summary_of(build, tmp_path / "run")
    assert new_pictures(tmp_path / "run", summary.plan, summary.confusions, cache) == {}
    assert "No pictures were kept with this run" in " ".join(render_report(summary).split())


def test_a_gallery_has_a_limit_and_shows_every_confused_class(build, tmp_path: Path) -> None:
    def mostly_wrong(cell, records, outcome):
        return [replace(one, answered=(one.expected + 1) % 8) for one in records], outcome

    folder = build.write(tmp_path, runtimes=("onnx",), edit=mostly_wrong)
    for predictions in (folder / "offline").iterdir():
        predictions.unlink()
    (confusion,) = summarise(load_run(folder)).confusions
    assert len(confusion.wrong) == IMAGES
    shown = shown_first(confusion)
    assert len(shown) == MOST_PICTURES
    assert {one.true_class for one in shown} == set(LABELS)
