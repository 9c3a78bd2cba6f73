"""Which source is taken, and a cache that is whole or not there."""

from __future__ import annotations

import subprocess
import sys
from importlib import import_module
from pathlib import Path

import numpy as np
import pytest

from contract.dataset import SPLITS, dataset_folder, load_dataset, verify_images
from contract.errors import DataCorrupt, DataUnavailable, InvalidSettings
from train.cache import new_images
from train.dataset import (
    DATA_ROOT_VARIABLE,
    SOURCES,
    DataSettings,
    choose_source,
    count_images,
    prepare_dataset,
    prepare_datasets,
    verified_datasets,
)
from train.sources import medmnist


@pytest.fixture(autouse=True)
def nothing_around(tmp_path, monkeypatch):
    """No data root is set or found, and the host of the official files refuses."""
    monkeypatch.delenv(DATA_ROOT_VARIABLE, raising=False)
    (tmp_path / "empty").mkdir()
    monkeypatch.chdir(tmp_path / "empty")
    point_official_files_to("http://127.0.0.1:9/none", monkeypatch)


def point_official_files_to(url: str, monkeypatch: pytest.MonkeyPatch) -> None:
    known = dict(medmnist.official_sets()["bloodmnist"])
    moved = {"bloodmnist": {key: url if key.startswith("url") else value for key, value in known.items()}}
    monkeypatch.setattr(medmnist, "official_sets", lambda: moved)


def settings(cache: Path, **changes) -> DataSettings:
    return DataSettings(**{"cache": cache / "cache", "synthetic_images": 80} | changes)


def synthetic(cache: Path, **changes) -> DataSettings:
    return settings(cache, source="synthetic", **changes)


@pytest.mark.parametrize("module", sorted(set(SOURCES.values())))
def test_every_source_has_the_same_names_in_it(module):
    for name in ("facts", "locate", "would_make", "build"):
        assert callable(getattr(import_module(module), name))


@pytest.mark.parametrize(
    "changes", [{"source": "cats"}, {"seed": -1}, {"synthetic_images": 79}], ids=lambda changes: next(iter(changes))
)
def test_settings_that_make_no_sense_are_refused(changes):
    with pytest.raises(InvalidSettings, match=next(iter(changes))):
        DataSettings(**changes)


def test_auto_takes_the_root_of_the_settings_first(pbc_root):
    choice = choose_source(settings(pbc_root, root=pbc_root), [28])
    assert choice.settings.source == "pbc"
    assert choice.real
    assert choice.notice is None
    assert str(pbc_root) in choice.reason


def test_auto_takes_the_root_of_the_environment(pbc_root, monkeypatch):
    monkeypatch.setenv(DATA_ROOT_VARIABLE, str(pbc_root))
    assert prepare_dataset(settings(pbc_root), 28).facts.source == "pbc"


def test_auto_takes_the_folder_data_that_it_finds(pbc_root):
    Path("data").symlink_to(pbc_root)
    assert choose_source(settings(pbc_root), [28]).settings.source == "pbc"


def test_the_setting_is_asked_before_the_environment(pbc_root, monkeypatch):
    monkeypatch.setenv(DATA_ROOT_VARIABLE, "/nowhere")
    assert choose_source(settings(pbc_root, root=pbc_root), [28]).settings.source == "pbc"


def test_a_root_that_was_named_and_is_empty_is_an_error_even_for_auto(tmp_path, monkeypatch):
    monkeypatch.setenv(DATA_ROOT_VARIABLE, str(tmp_path))
    with pytest.raises(DataUnavailable, match=rf"the data root {tmp_path} has no PBC images.*Next: set"):
        choose_source(settings(tmp_path), [28])


def test_auto_takes_images_that_are_cached_though_their_root_is_gone(pbc_root):
    prepare_dataset(settings(pbc_root, root=pbc_root), 28)
    assert "cached" in choose_source(settings(pbc_root), [28]).reason
    assert choose_source(settings(pbc_root), [28]).settings.source == "pbc"
    assert choose_source(settings(pbc_root), [28, 64]).settings.source == "synthetic"  # one source for all resolutions


def test_auto_takes_the_official_download_when_its_host_answers(serve, tmp_path, monkeypatch):
    point_official_files_to(serve(b"").url, monkeypatch)
    choice = choose_source(settings(tmp_path), [28, 64])
    assert choice.settings.source == "bloodmnist"
    assert "2 of 2 files still to come" in choice.reason


def test_auto_takes_official_files_that_lie_in_the_cache_without_asking_the_host(tmp_path):
    (tmp_path / "cache" / "downloads").mkdir(parents=True)
    (tmp_path / "cache" / "downloads" / "bloodmnist.npz").touch()
    assert choose_source(settings(tmp_path), [28]).settings.source == "bloodmnist"


def test_auto_renders_cells_at_last_and_says_so_with_every_reason(tmp_path):
    choice = choose_source(settings(tmp_path), [28])
    assert choice.settings.source == "synthetic"
    assert not choice.real
    assert choice.notice is not None
    for part in ("not real cells", "no data root is set", DATA_ROOT_VARIABLE, "127.0.0.1:9 is out of reach"):
        assert part in choice.notice
    assert prepare_dataset(settings(tmp_path), 28).facts.real is False


def test_a_source_that_was_asked_for_is_not_replaced_by_another(tmp_path):
    with pytest.raises(DataUnavailable, match="no data root is set"):
        prepare_dataset(settings(tmp_path, source="pbc"), 28)


def test_a_data_set_is_built_once(tmp_path):
    calls = []
    for _ in range(2):
        prepare_dataset(synthetic(tmp_path), 28, lambda *call: calls.append(call))
    assert [done for _, done, _ in calls] == list(range(1, 81))


def test_only_the_missing_resolutions_are_built_and_in_one_pass(tmp_path):
    prepare_dataset(synthetic(tmp_path), 28)
    calls = []
    datasets = prepare_datasets(synthetic(tmp_path), [64, 28, 32], lambda *call: calls.append(call))
    assert sorted(datasets) == [28, 32, 64]
    assert {what for what, _, _ in calls} == {"synthetic at 32, 64 px"}
    assert len(calls) == 80


def test_other_settings_build_another_data_set(tmp_path):
    first = prepare_dataset(synthetic(tmp_path), 28)
    second = prepare_dataset(synthetic(tmp_path, seed=1), 28)
    assert first.facts.images_sha256 != second.facts.images_sha256
    assert prepare_dataset(synthetic(tmp_path, seed=1, synthetic_images=88), 28).facts.images == 88


def test_a_rebuild_leaves_those_who_read_the_old_files_alone(tmp_path):
    old = prepare_dataset(synthetic(tmp_path), 28)
    before = np.array(old.images)
    new = prepare_dataset(synthetic(tmp_path, seed=1), 28)
    assert (old.images == before).all()
    assert (new.images != before).any()


def test_a_build_that_fails_leaves_nothing_that_looks_like_a_data_set(tmp_path):
    def full_disk(what: str, done: float, total: float) -> None:
        if done == 40:
            raise OSError("no space left")

    with pytest.raises(OSError, match="no space left"):
        prepare_dataset(synthetic(tmp_path), 28, full_disk)
    assert [path.name for path in (tmp_path / "cache" / "synthetic").iterdir()] == [".lock"]


def test_a_build_that_was_killed_is_begun_anew(tmp_path):
    program = (
        "import os; from pathlib import Path; from train.dataset import *;"
        f"settings = DataSettings(source='synthetic', cache=Path({str(tmp_path / 'cache')!r}), synthetic_images=80);"
        "prepare_dataset(settings, 28, lambda what, done, total: os._exit(9) if done == 40 else None)"
    )
    assert in_a_process(program).wait() == 9
    folder = tmp_path / "cache" / "synthetic"
    assert (folder / ".28px.building" / "images.npy").exists()
    dataset = prepare_dataset(synthetic(tmp_path), 28)
    verify_images(dataset_folder(tmp_path / "cache", "synthetic", 28), dataset.facts)
    assert sorted(path.name for path in folder.iterdir()) == [".lock", "28px"]


@pytest.mark.parametrize("damage", ["removed", "broken"])
def test_a_folder_without_readable_facts_is_built_anew(tmp_path, damage):
    expected = prepare_dataset(synthetic(tmp_path), 28).facts
    facts = dataset_folder(tmp_path / "cache", "synthetic", 28) / "dataset.json"
    facts.write_text("{") if damage == "broken" else facts.unlink()
    assert prepare_dataset(synthetic(tmp_path), 28).facts == expected


def test_processes_that_build_at_once_do_not_disturb_each_other(tmp_path):
    program = (
        "from pathlib import Path; from train.dataset import *;"
        f"settings = DataSettings(source='synthetic', cache=Path({str(tmp_path / 'cache')!r}), synthetic_images=160);"
        "prepare_datasets(settings, [28, 64], rebuild=True)"
    )
    builders = [in_a_process(program) for _ in range(3)]
    assert [builder.wait() for builder in builders] == [0, 0, 0]
    for side in (28, 64):
        folder = dataset_folder(tmp_path / "cache", "synthetic", side)
        verify_images(folder, load_dataset(folder).facts)


def test_who_learns_from_images_has_them_checked_and_who_looks_at_them_has_not(tmp_path):
    prepare_dataset(synthetic(tmp_path), 28)
    damage_an_image(dataset_folder(tmp_path / "cache", "synthetic", 28))
    prepare_dataset(synthetic(tmp_path), 28)
    with pytest.raises(DataCorrupt, match=r"images\.npy changed.*Next: hemabench data --rebuild"):
        verified_datasets(synthetic(tmp_path), [28])


def damage_an_image(folder: Path) -> None:
    content = bytearray((folder / "images.npy").read_bytes())
    content[-1] ^= 1
    (folder / "images.npy").write_bytes(content)


def test_a_disk_that_is_too_small_is_said_before_anything_is_written(tmp_path):
    with pytest.raises(DataUnavailable, match=r"150,528,000 MB.*Next: make room.*--cache"):
        new_images(tmp_path, 10**9, 224)
    assert list(tmp_path.glob("*.npy")) == []


def test_images_are_counted_per_split_and_class(tmp_path):
    counts = count_images(prepare_dataset(synthetic(tmp_path), 28))
    assert tuple(counts) == SPLITS
    assert [counts[split]["monocyte"] for split in SPLITS] == [7, 1, 2]


def in_a_process(program: str) -> subprocess.Popen[bytes]:
    root = Path(__file__).parents[2]
    return subprocess.Popen([sys.executable, "-c", program], cwd=root)
