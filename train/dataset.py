"""Images to train and measure with: which source they come from, and the cache they are built into."""

from __future__ import annotations

import os
from collections.abc import Collection, Mapping
from dataclasses import dataclass, replace
from importlib import import_module
from pathlib import Path
from typing import Protocol, cast

from contract.blood_cells import LABELS
from contract.dataset import (
    DATASET_FILE,
    SPLITS,
    Dataset,
    DatasetFacts,
    Split,
    dataset_folder,
    load_dataset,
    save_dataset_facts,
    verify_images,
)
from contract.errors import DataCorrupt, DataUnavailable, InvalidSettings
from contract.progress import Progress, silent
from contract.storage import read_json
from train.cache import building_folders, only_builder, put_in_place

# Where images of blood cells come from, in the order in which "auto" asks.
BLOOD_CELL_SOURCES = {
    "pbc": "train.sources.pbc",
    "bloodmnist": "train.sources.medmnist",
    "synthetic": "train.sources.synthetic",
}
# The other flat MedMNIST sets with one class to an image.
OTHER_SETS = (
    *("pathmnist", "dermamnist", "octmnist", "pneumoniamnist", "breastmnist", "tissuemnist"),
    *("organamnist", "organcmnist", "organsmnist"),
)
SOURCES = BLOOD_CELL_SOURCES | dict.fromkeys(OTHER_SETS, "train.sources.medmnist")
NOT_CLASSES = {"chestmnist": "several labels to an image", "retinamnist": "grades (ordinal regression) and no classes"}
AUTO = "auto"
DATA_ROOT_VARIABLE = "HEMABENCH_DATA_ROOT"
FOUND_ROOT = Path("data")


@dataclass(frozen=True, slots=True, kw_only=True)
class DataSettings:
    """Which images, and where they are kept. ``seed`` draws our own splits and the rendered cells."""

    source: str = AUTO
    root: Path | None = None  # of the PBC images; None: HEMABENCH_DATA_ROOT, then data/
    cache: Path = Path(".cache/datasets")
    seed: int = 0
    synthetic_images: int = 2_000

    def __post_init__(self) -> None:
        _require_source(self.source)
        if self.seed < 0:
            raise InvalidSettings(f"seed ({self.seed}) is below 0")
        if self.synthetic_images < 10 * len(LABELS):
            raise InvalidSettings(
                f"synthetic_images ({self.synthetic_images}) leaves a class without a validation image; "
                f"{10 * len(LABELS)} do not"
            )


@dataclass(frozen=True, slots=True, kw_only=True)
class SourceFacts:
    """What a source makes; ``description`` changes with every setting that changes an image or the split."""

    description: str
    real: bool
    labels: tuple[str, ...] = LABELS
    origin_sha256: str = ""  # of the tables that list the images, where there are any within reach


class Source(Protocol):
    """What every module in ``SOURCES`` offers."""

    def facts(self, settings: DataSettings) -> SourceFacts:
        """What ``build`` would make."""

    def locate(self, settings: DataSettings, resolutions_px: Collection[int]) -> str:
        """What ``build`` would read, in words; raises `DataUnavailable` where that is out of reach."""

    def would_make(self, settings: DataSettings, built: DatasetFacts) -> bool:
        """Whether ``build`` would make ``built`` again, whose description fits; true where that is out of reach."""

    def build(self, settings: DataSettings, folders: Mapping[int, Path], progress: Progress) -> None:
        """Write images.npy, labels.npy and splits.npy into ``folders[resolution_px]``, for all in one pass."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Choice:
    """The source that was taken, never ``auto``, and why: one line for the terminal and the report."""

    settings: DataSettings
    reason: str
    real: bool

    @property
    def notice(self) -> str | None:
        """What must stand beside every number; None for real images."""
        if self.real:
            return None
        return f"Rendered images, not real cells: speed is measured on them, accuracy is not. {self.reason}"


def choose_source(settings: DataSettings, resolutions_px: Collection[int]) -> Choice:
    """Settle on one source for all of ``resolutions_px``.

    ``auto`` takes the first that is cached already or within reach. A data root that was
    named and holds no images is an error, not a reason to go on to the next source.
    """
    if settings.source != AUTO:
        return _choice(settings, f"{settings.source}: asked for")
    refusals: list[str] = []
    for name in BLOOD_CELL_SOURCES:
        candidate = replace(settings, source=name)
        try:
            found = _within_reach(candidate, resolutions_px)
        except DataUnavailable as refusal:
            if name == "pbc" and _named_root(settings):
                raise
            refusals.append(f"{name}: {refusal}")
        else:
            return _choice(candidate, f"{name}: {found}" + "".join(f". Not {refusal}" for refusal in refusals))
    raise DataUnavailable(". ".join(refusals))


def prepare_datasets(
    settings: DataSettings, resolutions_px: Collection[int], progress: Progress = silent, *, rebuild: bool = False
) -> dict[int, Dataset]:
    """The data sets of one source at each of ``resolutions_px``, built where they are missing or outdated.

    Raises `DataUnavailable` or `DataCorrupt`; what was in the cache is then as before.
    """
    settings = choose_source(settings, resolutions_px).settings
    places = {side: dataset_folder(settings.cache, settings.source, side) for side in sorted(set(resolutions_px))}
    source = _source(settings)
    with only_builder(settings.cache / settings.source, progress):
        missing = {side: place for side, place in places.items() if rebuild or not _is_current(place, settings)}
        if missing:
            _build(source, settings, missing, progress)
    return {side: load_dataset(place) for side, place in places.items()}


def prepare_dataset(
    settings: DataSettings, resolution_px: int, progress: Progress = silent, *, rebuild: bool = False
) -> Dataset:
    """The data set at one resolution; see ``prepare_datasets``, which decodes once for several."""
    return prepare_datasets(settings, [resolution_px], progress, rebuild=rebuild)[resolution_px]


def verified_datasets(
    settings: DataSettings, resolutions_px: Collection[int], progress: Progress = silent
) -> dict[int, Dataset]:
    """``prepare_datasets`` for whoever learns from the images: every byte of them is read and checked first.

    Elsewhere a cache is mapped and trusted. Weights outlive it, though, and nothing in them tells that an image was
    damaged; the check takes seconds, of 2.5 GB about three.
    """
    datasets = prepare_datasets(settings, resolutions_px, progress)
    for side, dataset in datasets.items():
        progress(f"check the images of {side} px", 0, 1)
        verify_images(dataset_folder(settings.cache, dataset.facts.source, side), dataset.facts)
    return datasets


def prepare_folders(
    settings: DataSettings, resolutions_px: Collection[int], progress: Progress = silent
) -> dict[int, Path]:
    """Where ``prepare_datasets`` keeps what it prepared, for stages that meet data through files."""
    datasets = prepare_datasets(settings, resolutions_px, progress)
    return {side: dataset_folder(settings.cache, dataset.facts.source, side) for side, dataset in datasets.items()}


def facts_of(settings: DataSettings) -> SourceFacts:
    """What ``settings``, of a source that was chosen, describe; nothing is built for it."""
    return _source(settings).facts(settings)


def count_images(dataset: Dataset) -> dict[Split, dict[str, int]]:
    """Images per split and class."""
    return {
        split: {
            label: int((dataset.labels[dataset.indices(split)] == index).sum())
            for index, label in enumerate(dataset.facts.labels)
        }
        for split in SPLITS
    }


def model_for(network: str, source: str) -> str:
    """What ``network`` is called once trained on ``source``; it bears the name of a set that is not of blood cells."""
    plain, _, data_set = network.partition("-")
    if data_set not in ("", source):
        raise InvalidSettings(f"{network} is a network for {data_set}, not for {source}. Next: --model {plain}")
    return plain if source in BLOOD_CELL_SOURCES else f"{plain}-{source}"


def require_blood_cells(source: str) -> None:
    """Raise `InvalidSettings` where what is to be done compares runtimes on the weights of blood cells."""
    if source not in BLOOD_CELL_SOURCES:
        raise InvalidSettings(
            f"{source} holds no blood cells, and this runs their weights. Next: hemabench train --data {source}"
        )


def data_root(settings: DataSettings) -> Path | None:
    """The folder that holds ``pbc/``: the setting, else the environment, else ``data/`` if there is one."""
    return _named_root(settings) or (FOUND_ROOT if FOUND_ROOT.is_dir() else None)


def _require_source(name: str) -> None:
    if name.endswith("mnist3d"):
        raise InvalidSettings(f"{name} holds volumes; only flat images can be classified here")
    if name in NOT_CLASSES:
        raise InvalidSettings(f"{name} has {NOT_CLASSES[name]}; only sets with one class to an image fit here")
    if name not in {AUTO, *SOURCES}:
        raise InvalidSettings(f"source {name!r} is none of {', '.join((AUTO, *SOURCES))}")


def _named_root(settings: DataSettings) -> Path | None:
    from_environment = os.environ.get(DATA_ROOT_VARIABLE)
    return settings.root or (Path(from_environment) if from_environment else None)


def _choice(settings: DataSettings, reason: str) -> Choice:
    return Choice(settings=settings, reason=reason, real=facts_of(settings).real)


def _source(settings: DataSettings) -> Source:
    return cast(Source, import_module(SOURCES[settings.source]))


def _within_reach(settings: DataSettings, resolutions_px: Collection[int]) -> str:
    places = [dataset_folder(settings.cache, settings.source, side) for side in resolutions_px]
    if all(_is_current(place, settings) for place in places):
        return f"cached in {settings.cache / settings.source}"
    return _source(settings).locate(settings, resolutions_px)


def _is_current(place: Path, settings: DataSettings) -> bool:
    """Whether ``place`` holds what ``settings`` describe; what cannot be read is built anew."""
    source = _source(settings)
    try:
        built = read_json(place / DATASET_FILE, DatasetFacts)
        return built.description == facts_of(settings).description and source.would_make(settings, built)
    except (FileNotFoundError, DataCorrupt):
        return False


def _build(source: Source, settings: DataSettings, places: dict[int, Path], progress: Progress) -> None:
    facts = source.facts(settings)
    with building_folders(places) as folders:
        source.build(settings, folders, progress)
        for side, folder in folders.items():
            save_dataset_facts(
                folder,
                source=settings.source,
                description=facts.description,
                real=facts.real,
                labels=facts.labels,
                origin_sha256=facts.origin_sha256,
            )
            put_in_place(folder, places[side])
