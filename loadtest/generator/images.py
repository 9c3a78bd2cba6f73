"""Finding the images that `hemabench data` has made, for who names none."""

from __future__ import annotations

from pathlib import Path

from contract.dataset import DATASET_FILE, DatasetFacts
from contract.errors import DataUnavailable
from contract.storage import read_json

DEFAULT_CACHE = Path(".cache/datasets")


def find_dataset(resolution_px: int, cache: Path = DEFAULT_CACHE) -> Path:
    """The folder of a cached data set at ``resolution_px``; real images before rendered ones."""
    folders = sorted(file.parent for file in cache.glob(f"*/{resolution_px}px/{DATASET_FILE}"))
    if not folders:
        raise DataUnavailable(f"no images of {resolution_px} px in {cache.absolute()}. Next: hemabench data")
    return min(folders, key=lambda folder: not read_json(folder / DATASET_FILE, DatasetFacts).real).absolute()
