"""PBC images become BloodMNIST ones by its recipe, and a damaged source is named."""

from __future__ import annotations

import csv
import io
import os
import shutil
from dataclasses import replace
from pathlib import Path
from zipfile import ZipFile

import numpy as np
import pytest
from PIL import Image

from contract.blood_cells import LABELS
from contract.dataset import DATASET_FILE, SPLITS, dataset_folder
from contract.errors import DataCorrupt, DataUnavailable
from contract.storage import write_json
from train.dataset import DATA_ROOT_VARIABLE, DataSettings, count_images, prepare_dataset, prepare_datasets
from train.sources.pbc import read_index
from train.splits import assign_splits

needs_real_images = pytest.mark.skipif(
    not os.environ.get(DATA_ROOT_VARIABLE), reason=f"needs the PBC images: set {DATA_ROOT_VARIABLE}"
)


def settings(root: Path, **changes) -> DataSettings:
    return DataSettings(**{"source": "pbc", "root": root, "cache": root / "cache"} | changes)


def change_row(table: Path, line: int, **changes: str) -> None:
    """Overwrite fields of one row, counted from 0 below the header."""
    with table.open(newline="") as file:
        rows = list(csv.DictReader(file))
    rows[line] |= changes
    with table.open("w", newline="") as file:
        writer = csv.DictWriter(file, rows[0].keys())
        writer.writeheader()
        writer.writerows(rows)


def kept_files(root: Path) -> list[str]:
    return [image.file for image in read_index(root / "pbc")[0]]


@pytest.mark.parametrize("resolution_px", [28, 64, 224])
def test_an_image_is_the_central_window_resized_with_pils_bilinear_filter(pbc_root, resolution_px):
    dataset = prepare_dataset(settings(pbc_root), resolution_px)
    position = kept_files(pbc_root).index("lymphocyte/3.jpg")
    with ZipFile(pbc_root / "pbc" / "lymphocyte.zip") as archive:
        original = Image.open(io.BytesIO(archive.read("lymphocyte/3.jpg")))
    expected = original.crop((0, 2, 200, 202))
    expected = expected.resize((resolution_px, resolution_px), Image.Resampling.BILINEAR)
    assert (dataset.images[position] == np.asarray(expected)).all()


def test_labels_come_from_the_index(pbc_root):
    dataset = prepare_dataset(settings(pbc_root), 28)
    assert [LABELS[index] for index in dataset.labels] == [file.split("/")[0] for file in kept_files(pbc_root)]


def test_the_pair_whose_labels_contradict_each_other_is_left_out(pbc_root):
    files = kept_files(pbc_root)
    assert len(files) == 10 * len(LABELS) - 2
    assert not {"eosinophil/9.jpg", "neutrophil/9.jpg"} & set(files)
    assert prepare_dataset(settings(pbc_root), 28).facts.images == len(files)


@pytest.mark.parametrize("seed", range(5))
def test_copies_of_one_image_are_in_one_split(pbc_root, seed):
    dataset = prepare_dataset(settings(pbc_root, seed=seed), 28)
    split_of = dict(zip(kept_files(pbc_root), dataset.splits.tolist(), strict=True))
    assert split_of["basophil/2.jpg"] == split_of["basophil/7.jpg"]
    assert split_of["monocyte/0.jpg"] == split_of["monocyte/1.jpg"] == split_of["monocyte/2.jpg"]


def test_a_class_without_copies_is_split_seven_one_two(pbc_root):
    counts = count_images(prepare_dataset(settings(pbc_root), 28))
    assert [counts[split]["platelet"] for split in SPLITS] == [7, 1, 2]


def test_the_split_is_the_same_at_every_resolution_and_whether_built_together_or_not(pbc_root):
    together = prepare_datasets(settings(pbc_root), [28, 64])
    alone = prepare_dataset(settings(pbc_root, cache=pbc_root / "other"), 64)
    assert (together[28].splits == together[64].splits).all()
    assert (together[64].splits == alone.splits).all()
    assert together[64].facts == alone.facts


def test_facts_name_the_recipe_the_split_and_a_seed_that_is_not_the_usual_one(pbc_root):
    facts = prepare_dataset(settings(pbc_root), 28).facts
    assert (facts.source, facts.real) == ("pbc", True)
    assert facts.description == "PBC, BloodMNIST recipe, own 7:1:2 split"
    assert prepare_dataset(settings(pbc_root, seed=4), 28).facts.description.endswith("seed 4")


def test_a_file_that_is_not_the_one_in_the_index_is_named(pbc_root):
    change_row(pbc_root / "pbc" / "index.csv", 17, md5="0" * 32)
    with pytest.raises(DataCorrupt, match=r"eosinophil\.zip: eosinophil/7\.jpg does not have the MD5"):
        prepare_dataset(settings(pbc_root), 28)


def test_a_missing_zip_is_named(pbc_root):
    (pbc_root / "pbc" / "ig.zip").unlink()
    with pytest.raises(DataUnavailable, match=r"ig\.zip is not there.*Next: "):
        prepare_dataset(settings(pbc_root), 28)


@pytest.mark.parametrize("table", ["index.csv", "duplicates.csv"])
def test_a_missing_table_is_named_with_what_to_do(pbc_root, table):
    (pbc_root / "pbc" / table).unlink()
    with pytest.raises(DataUnavailable, match=rf"{table} is not there\. Next: "):
        prepare_dataset(settings(pbc_root), 28)


def test_a_zip_that_is_none_is_named(pbc_root):
    (pbc_root / "pbc" / "ig.zip").write_bytes(b"no zip")
    with pytest.raises(DataCorrupt, match=r"ig\.zip: File is not a zip file"):
        prepare_dataset(settings(pbc_root), 28)


@pytest.mark.parametrize(
    "changes",
    [
        {"file": "../../etc/passwd"},
        {"file": "/etc/passwd"},
        {"file": "basophil/../../x.jpg"},
        {"file": "basophil\\..\\x.jpg"},
        {"label": "blast"},
        {"width": "wide"},
        {"crop_left": "1"},
        {"crop_top": "-1"},
        {"file": "basophil/1.jpg"},
    ],
    ids=lambda changes: "=".join(*changes.items()),
)
def test_a_row_that_makes_no_sense_is_refused(pbc_root, changes):
    change_row(pbc_root / "pbc" / "index.csv", 0, **changes)
    with pytest.raises(DataCorrupt, match=r"index\.csv"):
        read_index(pbc_root / "pbc")


def test_a_size_that_is_not_the_one_in_the_index_is_refused(pbc_root):
    change_row(pbc_root / "pbc" / "index.csv", 0, height="240")
    with pytest.raises(DataCorrupt, match=r"basophil/0\.jpg: RGB \(200, 208\)"):
        prepare_dataset(settings(pbc_root), 28)


def test_a_copy_that_is_not_in_the_index_is_named(pbc_root):
    change_row(pbc_root / "pbc" / "duplicates.csv", 0, file_b="basophil/lost.jpg")
    with pytest.raises(DataCorrupt, match=r"basophil/lost\.jpg is not in index\.csv"):
        read_index(pbc_root / "pbc")


def test_a_rebuild_that_fails_leaves_the_cache_as_it_was(pbc_root):
    before = prepare_dataset(settings(pbc_root), 28)
    (pbc_root / "pbc" / "ig.zip").unlink()
    with pytest.raises(DataUnavailable):
        prepare_dataset(settings(pbc_root), 28, rebuild=True)
    assert prepare_dataset(settings(pbc_root), 28).facts == before.facts


def another_root(pbc_root: Path, *, without: int = 0) -> Path:
    """A copy of the data root whose index leaves out the last images."""
    other = pbc_root.parent / "another root"
    shutil.copytree(pbc_root, other)
    if without:
        index = other / "pbc" / "index.csv"
        index.write_text("".join(index.read_text().splitlines(keepends=True)[:-without]))
    return other


def test_the_images_of_another_root_are_not_those_in_the_cache(pbc_root):
    before = prepare_dataset(settings(pbc_root), 28)
    other = another_root(pbc_root, without=2)
    assert prepare_dataset(settings(other, cache=pbc_root / "cache"), 28).facts.images == before.facts.images - 2
    assert prepare_dataset(settings(pbc_root), 28).facts == before.facts


def test_a_copy_of_the_root_is_served_from_the_cache(pbc_root):
    before = prepare_dataset(settings(pbc_root), 28)
    other = another_root(pbc_root)
    shutil.rmtree(pbc_root / "pbc")
    (other / "pbc" / "ig.zip").unlink()  # which a build would read
    assert prepare_dataset(settings(other, cache=pbc_root / "cache"), 28).facts == before.facts


def test_a_cache_from_before_its_tables_were_told_is_taken_where_classes_and_splits_are_theirs(pbc_root):
    facts = prepare_dataset(settings(pbc_root), 28).facts
    path = dataset_folder(settings(pbc_root).cache, "pbc", 28) / DATASET_FILE
    untold = replace(facts, origin_sha256="")
    write_json(path, untold)
    assert prepare_dataset(settings(pbc_root), 28).facts == untold
    other = prepare_dataset(settings(another_root(pbc_root, without=2), cache=pbc_root / "cache"), 28)
    assert other.facts.images == facts.images - 2
    assert other.facts.origin_sha256


def test_a_cache_serves_without_the_images_it_was_made_of(pbc_root):
    before = prepare_dataset(settings(pbc_root), 28)
    shutil.rmtree(pbc_root / "pbc")
    assert prepare_dataset(settings(pbc_root), 28).facts == before.facts


@pytest.mark.real_data
@needs_real_images
def test_the_real_images_are_all_used_but_the_contradicting_pair():
    images, groups = read_index(Path(os.environ[DATA_ROOT_VARIABLE]) / "pbc")
    assert len(images) == 16_612 - 2
    assert not {"neutrophil/BNE_191112.jpg", "eosinophil/EO_225902.jpg"} & {image.file for image in images}
    assert len(groups) == 16


@pytest.mark.real_data
@needs_real_images
def test_real_copies_are_in_one_split_and_every_class_is_split_seven_one_two():
    images, groups = read_index(Path(os.environ[DATA_ROOT_VARIABLE]) / "pbc")
    labels = [LABELS.index(image.label) for image in images]
    splits = assign_splits([image.file for image in images], labels, seed=0, groups=groups)
    split_of = {image.file: split for image, split in zip(images, splits.tolist(), strict=True)}
    assert all(len({split_of[file] for file in group}) == 1 for group in groups)
    by_content: dict[str, set[int]] = {}
    for image in images:
        by_content.setdefault(image.md5, set()).add(split_of[image.file])
    assert all(len(found) == 1 for found in by_content.values())
    for label in range(len(LABELS)):
        shares = np.bincount(splits[np.array(labels) == label], minlength=3) / labels.count(label)
        assert shares == pytest.approx([0.7, 0.1, 0.2], abs=0.002)


@pytest.mark.real_data
@needs_real_images
def test_the_real_images_build_and_every_file_has_its_md5(tmp_path):
    root = Path(os.environ[DATA_ROOT_VARIABLE])
    dataset = prepare_dataset(settings(root, cache=tmp_path), 28)
    assert dataset.facts.images == 16_610
    assert dataset.images[::500].std(axis=(1, 2, 3)).min() > 5
