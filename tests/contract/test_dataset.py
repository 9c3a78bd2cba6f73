from __future__ import annotations

import os
from pathlib import Path

import numpy as np
import pytest

from contract.blood_cells import LABELS
from contract.dataset import SPLITS, Dataset, dataset_folder, load_dataset, save_dataset_facts, verify_images
from contract.errors import DataCorrupt, DataUnavailable

COUNT, SIDE = 12, 6


def write_dataset(folder: Path, **changes: np.ndarray) -> Dataset:
    rng = np.random.default_rng(0)
    arrays = {
        "images": rng.integers(0, 256, (COUNT, SIDE, SIDE, 3), dtype=np.uint8),
        "labels": (np.arange(COUNT) % len(LABELS)).astype(np.uint8),
        "splits": (np.arange(COUNT) % len(SPLITS)).astype(np.uint8),
    }
    folder.mkdir(parents=True, exist_ok=True)
    for name, array in (arrays | changes).items():
        np.save(folder / f"{name}.npy", array)
    return save_dataset_facts(folder, source="example", description="made for a test", real=False)


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    folder = dataset_folder(tmp_path, "example", SIDE)
    write_dataset(folder)
    return folder


def test_a_data_set_is_loaded_as_it_was_written(folder: Path) -> None:
    dataset = load_dataset(folder)
    assert dataset.images.shape == (COUNT, SIDE, SIDE, 3)
    assert (dataset.facts.source, dataset.facts.resolution_px, dataset.facts.images) == ("example", SIDE, COUNT)
    assert dataset.facts.labels == LABELS
    assert not dataset.facts.real
    verify_images(folder, dataset.facts)


def test_arrays_are_on_the_disk_before_what_vouches_for_them(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    synced: list[str] = []
    monkeypatch.setattr(os, "fsync", lambda handle: synced.append(Path(f"/proc/self/fd/{handle}").readlink().name))
    write_dataset(tmp_path)
    assert synced[:3] == ["images.npy", "labels.npy", "splits.npy"]
    assert "dataset.json" in synced[3]


def test_images_are_mapped_and_cannot_be_changed_by_accident(folder: Path) -> None:
    with pytest.raises(ValueError, match="read-only"):
        load_dataset(folder).images[0] = 0


def test_every_image_is_in_exactly_one_split(folder: Path) -> None:
    dataset = load_dataset(folder)
    indices = np.concatenate([dataset.indices(split) for split in SPLITS])
    assert sorted(indices.tolist()) == list(range(COUNT))
    assert all((dataset.splits[dataset.indices(split)] == SPLITS.index(split)).all() for split in SPLITS)


def test_a_folder_without_its_facts_is_no_data_set(folder: Path) -> None:
    (folder / "dataset.json").unlink()
    with pytest.raises(DataUnavailable, match="Next: hemabench data"):
        load_dataset(folder)


@pytest.mark.parametrize("name", ["labels", "splits"])
def test_changed_labels_or_splits_are_refused(folder: Path, name: str) -> None:
    array = np.load(folder / f"{name}.npy")
    np.save(folder / f"{name}.npy", array[::-1])
    with pytest.raises(DataCorrupt, match=f"{name}.npy changed"):
        load_dataset(folder)


def test_changed_images_are_found_by_reading_them_all(folder: Path) -> None:
    dataset = load_dataset(folder)
    images = np.array(dataset.images)
    images[3, 2, 1, 0] ^= 1
    np.save(folder / "images.npy", images)
    load_dataset(folder)
    with pytest.raises(DataCorrupt, match=r"images\.npy changed"):
        verify_images(folder, dataset.facts)


@pytest.mark.parametrize("name", ["images", "labels", "splits"])
@pytest.mark.parametrize("content", [None, b"", b"rubbish", b"\x93NUMPY\x01\x00"], ids=["gone", "empty", "text", "cut"])
def test_an_unreadable_array_is_refused(folder: Path, name: str, content: bytes | None) -> None:
    path = folder / f"{name}.npy"
    path.unlink()
    if content is not None:
        path.write_bytes(content)
    with pytest.raises(DataCorrupt, match=rf"{name}\.npy.*Next: hemabench data --rebuild"):
        load_dataset(folder)


@pytest.mark.acceptance("S4")
def test_an_array_of_objects_is_not_unpickled(folder: Path) -> None:
    np.save(folder / "labels.npy", np.array([{"a": 1}] * COUNT, dtype=object), allow_pickle=True)
    with pytest.raises(DataCorrupt, match=r"labels\.npy"):
        load_dataset(folder)


def test_an_array_of_another_type_is_refused(folder: Path) -> None:
    np.save(folder / "labels.npy", np.zeros(COUNT, np.int64))
    with pytest.raises(DataCorrupt, match="int64, not uint8"):
        load_dataset(folder)


@pytest.mark.parametrize(
    "changes",
    [
        {"images": np.zeros((COUNT - 1, SIDE, SIDE, 3), np.uint8)},
        {"images": np.zeros((COUNT, SIDE, SIDE + 1, 3), np.uint8)},
        {"images": np.zeros((COUNT, SIDE, SIDE), np.uint8)},
        {"labels": np.zeros(COUNT + 1, np.uint8)},
        {"splits": np.zeros(COUNT - 1, np.uint8)},
    ],
    ids=["count", "not-square", "no-colour", "labels", "splits"],
)
def test_arrays_that_do_not_fit_together_are_refused(tmp_path: Path, changes: dict[str, np.ndarray]) -> None:
    with pytest.raises(DataCorrupt):
        write_dataset(tmp_path / "wrong", **changes)


def test_facts_that_do_not_fit_are_refused(folder: Path) -> None:
    (folder / "dataset.json").write_text('{"source": "example"}')
    with pytest.raises(DataCorrupt, match=r"dataset\.json"):
        load_dataset(folder)
