from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from contract.dataset import save_dataset_facts
from contract.errors import DataUnavailable
from loadtest.generator.images import find_dataset


def cached(cache: Path, source: str, *, real: bool) -> Path:
    folder = cache / source / "28px"
    folder.mkdir(parents=True)
    np.save(folder / "images.npy", np.zeros((3, 28, 28, 3), dtype=np.uint8))
    np.save(folder / "labels.npy", np.zeros(3, dtype=np.uint8))
    np.save(folder / "splits.npy", np.arange(3, dtype=np.uint8))
    save_dataset_facts(folder, source=source, description=source, real=real)
    return folder


def test_real_images_are_taken_before_rendered_ones(tmp_path: Path) -> None:
    cached(tmp_path, "a_rendered", real=False)
    real = cached(tmp_path, "b_real", real=True)
    assert find_dataset(28, tmp_path) == real


def test_rendered_images_do_where_there_are_no_others(tmp_path: Path) -> None:
    rendered = cached(tmp_path, "rendered", real=False)
    assert find_dataset(28, tmp_path) == rendered


def test_an_empty_cache_names_the_command_that_fills_it(tmp_path: Path) -> None:
    with pytest.raises(DataUnavailable, match="hemabench data"):
        find_dataset(64, tmp_path)
