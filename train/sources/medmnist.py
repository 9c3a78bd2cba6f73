"""A flat, single-label MedMNIST set, BloodMNIST first of all: the official file and its official split."""

from __future__ import annotations

import zlib
from collections.abc import Collection, Iterator, Mapping
from dataclasses import dataclass
from functools import cache
from importlib.util import find_spec, module_from_spec, spec_from_file_location
from pathlib import Path
from typing import IO, Any
from zipfile import BadZipFile, ZipFile

import numpy as np

from contract.arrays import ImageArray, LabelArray
from contract.blood_cells import LABELS
from contract.dataset import SPLITS, DatasetFacts, Split
from contract.errors import DataCorrupt, DataUnavailable, InvalidSettings
from contract.progress import Progress
from train.cache import new_images, save_labels_and_splits
from train.dataset import DataSettings, SourceFacts
from train.download import fetch, require_reachable

OFFICIAL_NAMES: dict[Split, str] = {"train": "train", "validation": "val", "test": "test"}
OWN_LABELS = {"bloodmnist": LABELS}  # official ones are long: "immature granulocytes(myelocytes, ...)"
ROWS_AT_ONCE = 64


@dataclass(frozen=True, slots=True, kw_only=True)
class Archive:
    """One official file: a set at a resolution."""

    name: str
    url: str
    md5: str
    resolution_px: int
    channels: int
    classes: int
    images: dict[Split, int]

    @property
    def file_name(self) -> str:
        """As MedMNIST calls it."""
        return f"{self.name}.npz" if self.resolution_px == 28 else f"{self.name}_{self.resolution_px}.npz"


def facts(settings: DataSettings) -> SourceFacts:
    """What the set called ``settings.source`` is."""
    known = _known(settings.source)
    labels = OWN_LABELS.get(settings.source) or tuple(known["label"][key] for key in sorted(known["label"], key=int))
    return SourceFacts(description=f"{known['python_class']}, official split", real=True, labels=labels)


def locate(settings: DataSettings, resolutions_px: Collection[int]) -> str:
    """Which files are here or within reach; raises `DataUnavailable` where their host does not answer in 10 s."""
    archives = [archive_of(settings.source, resolution_px) for resolution_px in resolutions_px]
    missing = [archive for archive in archives if not _place(settings, archive).is_file()]
    if missing:
        require_reachable(missing[0].url)
        return f"the official download, {len(missing)} of {len(archives)} files still to come"
    return f"the official files in {downloads(settings)}"


def would_make(settings: DataSettings, built: DatasetFacts) -> bool:
    """The description names a file whose MD5 is known."""
    return True


def build(settings: DataSettings, folders: Mapping[int, Path], progress: Progress) -> None:
    """Download what is missing, check it, and write the arrays of each resolution."""
    for resolution_px, folder in folders.items():
        archive = archive_of(settings.source, resolution_px)
        place = _place(settings, archive)
        fetch(archive.url, place, archive.md5, progress)
        unpack(archive, place, folder, progress)


def downloads(settings: DataSettings) -> Path:
    """Where the official files are kept, and where one may be put by hand."""
    return settings.cache / "downloads"


def archive_of(name: str, resolution_px: int) -> Archive:
    """The official file of the set ``name``; raises `InvalidSettings` where we cannot take it."""
    known = _known(name)
    suffix = "" if resolution_px == 28 else f"_{resolution_px}"
    if f"url{suffix}" not in known:
        raise InvalidSettings(f"{name} is not published at {resolution_px} px. Next: use 28, 64, 128 or 224")
    return Archive(
        name=name,
        url=known[f"url{suffix}"],
        md5=known[f"MD5{suffix}"],
        resolution_px=resolution_px,
        channels=known["n_channels"],
        classes=len(known["label"]),
        images={split: known["n_samples"][official] for split, official in OFFICIAL_NAMES.items()},
    )


def unpack(archive: Archive, npz: Path, folder: Path, progress: Progress) -> None:
    """Write the arrays of an official file into ``folder``, a few images at a time.

    Names, types and shapes are checked before anything is allocated; nothing is
    unpickled. Raises `DataCorrupt`.
    """
    total = sum(archive.images.values())
    images, labels = new_images(folder, total, archive.resolution_px), np.empty(total, dtype=np.uint8)
    splits = np.repeat(np.arange(len(SPLITS), dtype=np.uint8), [archive.images[split] for split in SPLITS])
    try:
        with ZipFile(npz) as members:
            for split in SPLITS:
                where = splits == SPLITS.index(split)
                labels[where] = _read_labels(archive, members, split)
                start = int(where.argmax())
                for row, block in _read_images(archive, members, split):
                    images[start + row : start + row + len(block)] = block
                    progress(f"{archive.name} at {archive.resolution_px} px", start + row + len(block), total)
    except (BadZipFile, zlib.error, KeyError, EOFError, ValueError) as error:
        raise DataCorrupt(f"{npz}: {error}. Next: delete it, it is then downloaded again") from error
    save_labels_and_splits(folder, labels, splits)


def _place(settings: DataSettings, archive: Archive) -> Path:
    return downloads(settings) / archive.file_name


def _known(name: str) -> dict[str, Any]:
    """MedMNIST's own entry for a set that is flat and has one label per image."""
    table = official_sets()
    if name not in table:
        raise InvalidSettings(f"MedMNIST has no set {name!r}. Next: use one of {', '.join(table)}")
    known = table[name]
    if name.endswith("3d"):
        raise InvalidSettings(f"{name} holds volumes; only flat images can be classified here")
    if known["task"].startswith("multi-label"):
        raise InvalidSettings(f"{name} has several labels per image; only sets with one can be classified here")
    if known["task"] == "ordinal-regression":
        raise InvalidSettings(f"{name} has grades and no classes; only sets with classes can be classified here")
    return known


@cache
def official_sets() -> dict[str, dict[str, Any]]:
    """``medmnist.INFO``, without importing the package: that imports PyTorch, and a process has one framework."""
    package = find_spec("medmnist")
    if package is None or not package.submodule_search_locations:
        raise DataUnavailable(
            "the official files need the package medmnist. Next: pip install -c constraints.txt -e '.[data]'"
        )
    spec = spec_from_file_location("medmnist_info", Path(package.submodule_search_locations[0]) / "info.py")
    if spec is None or spec.loader is None:
        raise DataUnavailable("the package medmnist has no info.py. Next: pip install 'medmnist==3.0.2'")
    module = module_from_spec(spec)
    spec.loader.exec_module(module)
    table: dict[str, dict[str, Any]] = module.INFO
    return table


def _read_labels(archive: Archive, members: ZipFile, split: Split) -> LabelArray:
    count = archive.images[split]
    with members.open(f"{OFFICIAL_NAMES[split]}_labels.npy") as member:
        _require_header(member, f"{split} labels", (count, 1))
        labels = np.frombuffer(_exactly(member, count), dtype=np.uint8)
    if labels.max(initial=0) >= archive.classes:
        raise ValueError(f"{split} labels go up to {labels.max()}, and there are {archive.classes} classes")
    return labels


def _read_images(archive: Archive, members: ZipFile, split: Split) -> Iterator[tuple[int, ImageArray]]:
    """Position within the split and (rows, side, side, 3) images; grey ones get three equal channels."""
    count, side = archive.images[split], archive.resolution_px
    shape = (side, side, 3) if archive.channels == 3 else (side, side)
    with members.open(f"{OFFICIAL_NAMES[split]}_images.npy") as member:
        _require_header(member, f"{split} images", (count, *shape))
        for row in range(0, count, ROWS_AT_ONCE):
            rows = min(ROWS_AT_ONCE, count - row)
            block = np.frombuffer(_exactly(member, rows * side * side * archive.channels), dtype=np.uint8)
            block = block.reshape(rows, side, side, archive.channels)
            yield row, np.broadcast_to(block, (rows, side, side, 3))


def _require_header(member: IO[bytes], what: str, shape: tuple[int, ...]) -> None:
    version = np.lib.format.read_magic(member)
    if version != (1, 0):
        raise ValueError(f"{what} are of NPY version {version}, not (1, 0)")
    found, in_fortran_order, dtype = np.lib.format.read_array_header_1_0(member)
    if (found, dtype, in_fortran_order) != (shape, np.dtype(np.uint8), False):
        raise ValueError(f"{what} are {dtype} {found}, not uint8 {shape}")


def _exactly(member: IO[bytes], length_bytes: int) -> bytes:
    content = member.read(length_bytes)
    if len(content) != length_bytes:
        raise EOFError(f"{member.name} ends too early")
    return content
