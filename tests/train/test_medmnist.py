"""The official files: found in MedMNIST's table, checked before they are believed, split as published."""

from __future__ import annotations

import io
import subprocess
import sys
from hashlib import md5

import numpy as np
import pytest

from contract.blood_cells import LABELS
from contract.dataset import SPLITS
from contract.errors import DataCorrupt, DataUnavailable, InvalidSettings
from contract.progress import silent
from train import dataset as train_dataset
from train.dataset import DataSettings, count_images, prepare_dataset
from train.sources import medmnist
from train.sources.medmnist import Archive, archive_of, facts, unpack

IMAGES = {"train": 130, "validation": 16, "test": 24}
OFFICIAL = {"train": "train", "validation": "val", "test": "test"}


def arrays(*, side: int = 28, channels: int = 3, images: dict[str, int] = IMAGES, **replaced) -> dict[str, np.ndarray]:
    """What an official file holds, with random images and the labels in turn."""
    generator = np.random.default_rng(0)
    shape = (side, side, 3) if channels == 3 else (side, side)
    content = {}
    for split, count in images.items():
        content[f"{OFFICIAL[split]}_images"] = generator.integers(0, 256, (count, *shape), dtype=np.uint8)
        content[f"{OFFICIAL[split]}_labels"] = (np.arange(count, dtype=np.uint8) % 8)[:, None]
    return content | replaced


def npz(content: dict[str, np.ndarray]) -> bytes:
    file = io.BytesIO()
    np.savez_compressed(file, **content)
    return file.getvalue()


def archive(**changes) -> Archive:
    defaults = {
        "name": "bloodmnist",
        "url": "http://127.0.0.1:9/none",
        "md5": "",
        "resolution_px": 28,
        "channels": 3,
        "classes": 8,
        "images": IMAGES,
    }
    return Archive(**defaults | changes)


def unpacked(tmp_path, content: dict[str, np.ndarray], **changes) -> np.ndarray:
    """The images that ``unpack`` writes."""
    (tmp_path / "set.npz").write_bytes(npz(content))
    unpack(archive(**changes), tmp_path / "set.npz", tmp_path, silent)
    return np.load(tmp_path / "images.npy")


def official_set(**changes) -> dict[str, object]:
    """An entry like one of ``medmnist.INFO``."""
    return {
        "python_class": "BloodMNIST",
        "task": "multi-class",
        "n_channels": 3,
        "label": {str(index): label for index, label in enumerate(LABELS)},
        "n_samples": {OFFICIAL[split]: count for split, count in IMAGES.items()},
    } | changes


@pytest.mark.parametrize("resolution_px", [28, 64, 128, 224])
def test_the_official_files_of_bloodmnist_are_known(resolution_px):
    official = archive_of("bloodmnist", resolution_px)
    assert official.file_name == {28: "bloodmnist.npz"}.get(resolution_px, f"bloodmnist_{resolution_px}.npz")
    assert official.url.startswith("https://zenodo.org/")
    assert official.file_name in official.url
    assert len(official.md5) == 32
    assert official.images == {"train": 11_959, "validation": 1_712, "test": 3_421}


def test_reading_medmnists_table_imports_no_framework():
    program = (
        "import sys; from train.sources.medmnist import archive_of; archive_of('bloodmnist', 28);"
        "print(sorted({'torch', 'medmnist', 'sklearn'} & set(sys.modules)))"
    )
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"


def test_bloodmnist_has_our_labels_and_another_set_its_own(monkeypatch):
    monkeypatch.setitem(train_dataset.SOURCES, "pathmnist", "train.sources.medmnist")
    assert facts(DataSettings(source="bloodmnist")).labels == LABELS
    assert facts(DataSettings(source="pathmnist")).labels[:2] == ("adipose", "background")
    assert facts(DataSettings(source="pathmnist")).description == "PathMNIST, official split"


@pytest.mark.parametrize(
    ("name", "reason"),
    [("chestmnist", "several labels"), ("organmnist3d", "volumes"), ("catmnist", "no set 'catmnist'.*bloodmnist")],
)
def test_a_set_that_cannot_be_classified_is_refused(name, reason):
    with pytest.raises(InvalidSettings, match=reason):
        archive_of(name, 28)


def test_a_resolution_that_is_not_published_is_refused():
    with pytest.raises(InvalidSettings, match="not published at 32 px"):
        archive_of("bloodmnist", 32)


def test_the_official_split_and_order_are_kept(tmp_path):
    content = arrays()
    images = unpacked(tmp_path, content)
    expected = [content[f"{name}_images"] for name in OFFICIAL.values()]
    assert (images == np.concatenate(expected)).all()
    assert np.bincount(np.load(tmp_path / "splits.npy")).tolist() == list(IMAGES.values())
    labels = np.concatenate([content[f"{name}_labels"][:, 0] for name in OFFICIAL.values()])
    assert (np.load(tmp_path / "labels.npy") == labels).all()


def test_a_grey_image_gets_three_equal_channels(tmp_path):
    content = arrays(channels=1)
    images = unpacked(tmp_path, content, channels=1)
    assert (images == np.concatenate([content[f"{name}_images"] for name in OFFICIAL.values()])[..., None]).all()


@pytest.mark.parametrize(
    ("replaced", "reason"),
    [
        ({"val_images": np.zeros((15, 28, 28, 3), np.uint8)}, r"validation images are uint8 \(15, 28, 28, 3\)"),
        ({"val_images": np.zeros((16, 28, 28, 3), np.float32)}, "validation images are float32"),
        ({"val_images": np.zeros((16, 28, 28, 3), np.uint8, order="F")}, "validation images"),
        ({"test_labels": np.full((24, 1), 8, np.uint8)}, "go up to 8, and there are 8 classes"),
        ({"test_labels": np.zeros((24, 2), np.uint8)}, "test labels"),
        ({"test_labels": np.array([[object()]] * 24)}, "test labels are object"),
    ],
    ids=["count", "type", "order", "class", "several labels", "pickle"],
)
def test_arrays_that_are_not_as_published_are_refused(tmp_path, replaced, reason):
    with pytest.raises(DataCorrupt, match=reason):
        unpacked(tmp_path, arrays(**replaced))


def test_a_missing_array_is_named(tmp_path):
    content = arrays()
    del content["val_labels"]
    with pytest.raises(DataCorrupt, match=r"val_labels\.npy"):
        unpacked(tmp_path, content)


def test_a_file_that_is_no_archive_is_named(tmp_path):
    (tmp_path / "set.npz").write_bytes(b"<html>busy</html>")
    with pytest.raises(DataCorrupt, match=r"set\.npz: File is not a zip file\. Next: "):
        unpack(archive(), tmp_path / "set.npz", tmp_path, silent)


def test_bloodmnist_is_downloaded_checked_and_built(serve, tmp_path, monkeypatch):
    content = npz(arrays())
    server = serve(content, sends=[5_000])
    table = {"bloodmnist": official_set(url=server.url, MD5=md5(content).hexdigest())}
    monkeypatch.setattr(medmnist, "official_sets", lambda: table)
    dataset = prepare_dataset(DataSettings(source="bloodmnist", cache=tmp_path), 28)
    assert (dataset.facts.source, dataset.facts.real) == ("bloodmnist", True)
    assert dataset.facts.description == "BloodMNIST, official split"
    assert {split: sum(counts.values()) for split, counts in count_images(dataset).items()} == IMAGES
    assert tuple(IMAGES) == SPLITS
    assert (tmp_path / "downloads" / "bloodmnist.npz").read_bytes() == content


def test_a_file_put_there_by_hand_is_used_without_a_network(tmp_path, monkeypatch):
    content = npz(arrays())
    table = {"bloodmnist": official_set(url="http://127.0.0.1:9/none", MD5=md5(content).hexdigest())}
    monkeypatch.setattr(medmnist, "official_sets", lambda: table)
    (tmp_path / "downloads").mkdir()
    (tmp_path / "downloads" / "bloodmnist.npz").write_bytes(content)
    assert prepare_dataset(DataSettings(source="bloodmnist", cache=tmp_path), 28).facts.images == sum(IMAGES.values())


def test_a_host_out_of_reach_says_where_the_file_may_be_put(tmp_path, monkeypatch):
    table = {"bloodmnist": official_set(url="http://127.0.0.1:9/none", MD5="")}
    monkeypatch.setattr(medmnist, "official_sets", lambda: table)
    with pytest.raises(DataUnavailable, match=r"put the file at .*downloads/bloodmnist\.npz"):
        prepare_dataset(DataSettings(source="bloodmnist", cache=tmp_path), 28)


def test_without_the_package_the_command_that_installs_it_is_said(monkeypatch):
    monkeypatch.setattr(medmnist, "find_spec", lambda _: None)
    medmnist.official_sets.cache_clear()
    with pytest.raises(DataUnavailable, match=r"Next: pip install .* '\.\[data\]'"):
        archive_of("bloodmnist", 28)
