"""The peripheral blood cell images that BloodMNIST was made of: one zip per class, index.csv, duplicates.csv.

An image becomes a BloodMNIST one by its recipe: the central 200x200 window, whose
corner is in index.csv, resized with PIL's bilinear filter.
"""

from __future__ import annotations

import csv
import io
import zlib
from collections.abc import Callable, Collection, Iterator, Mapping, Sequence
from contextlib import ExitStack
from dataclasses import dataclass
from hashlib import md5, sha256
from pathlib import Path, PurePosixPath
from typing import TypeVar
from zipfile import BadZipFile, ZipFile

import numpy as np
from PIL import Image

from contract.arrays import LabelArray
from contract.blood_cells import LABELS
from contract.dataset import DatasetFacts
from contract.errors import DataCorrupt, DataUnavailable
from contract.preprocessing import resize_to_square
from contract.progress import Progress
from contract.storage import sha256_of_file, sha256_of_json
from train.cache import new_images, save_labels_and_splits
from train.dataset import DATA_ROOT_VARIABLE, DataSettings, SourceFacts, data_root
from train.splits import assign_splits, connected_groups

WINDOW_PX = 200
PUBLISHED_IMAGES = 17_092  # Acevedo et al., Data in Brief 30 (2020) 105474
T = TypeVar("T")


@dataclass(frozen=True, slots=True, kw_only=True)
class IndexedImage:
    """One row of index.csv: where an image is, what it shows, and where its central window begins."""

    file: str
    label: str
    width_px: int
    height_px: int
    crop_left_px: int
    crop_top_px: int
    md5: str

    def __post_init__(self) -> None:
        path = PurePosixPath(self.file)
        if path.is_absolute() or ".." in path.parts or "\\" in self.file or len(path.parts) != 2:
            raise ValueError(f"file {self.file!r} is not of the form class/name.jpg")
        if self.label not in LABELS:
            raise ValueError(f"label {self.label!r} is none of {', '.join(LABELS)}")
        left, top, right, bottom = self.window
        if left < 0 or top < 0 or right > self.width_px or bottom > self.height_px:
            raise ValueError(f"the window {self.window} reaches out of {self.width_px}x{self.height_px} pixels")

    @property
    def archive(self) -> str:
        """Name of the zip that holds the file."""
        return f"{PurePosixPath(self.file).parts[0]}.zip"

    @property
    def window(self) -> tuple[int, int, int, int]:
        """PIL's (left, upper, right, lower)."""
        left, top = self.crop_left_px, self.crop_top_px
        return left, top, left + WINDOW_PX, top + WINDOW_PX


def facts(settings: DataSettings) -> SourceFacts:
    """What is made of the PBC images with ``settings``."""
    split = "own 7:1:2 split" if settings.seed == 0 else f"own 7:1:2 split of seed {settings.seed}"
    return SourceFacts(
        description=f"PBC, BloodMNIST recipe, {split}", real=True, origin_sha256=_digest_of_tables(settings)
    )


def locate(settings: DataSettings, resolutions_px: Collection[int]) -> str:
    """Where the images are; raises `DataUnavailable` where they are not."""
    return f"the images in {_folder(settings)}"


def would_make(settings: DataSettings, built: DatasetFacts) -> bool:
    """Whether the tables under the data root, which list every image with its MD5, are those of ``built``."""
    if not (tables := _digest_of_tables(settings)):
        return True
    if built.origin_sha256:
        return built.origin_sha256 == tables
    # From before the digest was kept: the same classes in the same splits.
    _, labels, splits = _drawn(settings)
    return (built.labels_sha256, built.splits_sha256) == (_digest_of_array(labels), _digest_of_array(splits))


def build(settings: DataSettings, folders: Mapping[int, Path], progress: Progress) -> None:
    """Decode every image once and write it at each resolution of ``folders``."""
    source, (images, labels, splits) = _folder(settings), _drawn(settings)
    arrays = {
        resolution_px: new_images(folder, len(images), resolution_px) for resolution_px, folder in folders.items()
    }
    what = f"pbc at {', '.join(map(str, folders))} px"
    for position, window in enumerate(_windows(source, images)):
        for resolution_px, array in arrays.items():
            array[position] = np.asarray(resize_to_square(window, resolution_px))
        progress(what, position + 1, len(images))
    for folder in folders.values():
        save_labels_and_splits(folder, labels, splits)


def read_index(source: Path) -> tuple[list[IndexedImage], list[tuple[str, ...]]]:
    """The images to use, in the order of index.csv, and the groups of files that are copies of each other.

    Copies whose labels contradict each other are left out, all of them.
    """
    rows = listed_images(source)
    images = {image.file: image for image in rows}
    if len(images) != len(rows):
        raise DataCorrupt(f"{source / 'index.csv'} lists a file twice. {_AGAIN}")
    groups = connected_groups(_rows(source / "duplicates.csv", lambda row: (row["file_a"], row["file_b"])))
    unknown = sorted(file for group in groups for file in group if file not in images)
    if unknown:
        raise DataCorrupt(f"{source / 'duplicates.csv'}: {unknown[0]} is not in index.csv. {_AGAIN}")
    contradicting = {file for group in groups if len({images[file].label for file in group}) > 1 for file in group}
    kept = [image for image in images.values() if image.file not in contradicting]
    return kept, [group for group in groups if contradicting.isdisjoint(group)]


def listed_images(source: Path) -> list[IndexedImage]:
    """Every row of index.csv, those included that `read_index` leaves out."""
    return list(_rows(source / "index.csv", _indexed_image))


def _drawn(settings: DataSettings) -> tuple[list[IndexedImage], LabelArray, LabelArray]:
    """The images to use, their labels (n,) and their splits (n,)."""
    images, groups = read_index(_folder(settings))
    labels: LabelArray = np.array([LABELS.index(image.label) for image in images], dtype=np.uint8)
    splits = assign_splits([image.file for image in images], labels.tolist(), seed=settings.seed, groups=groups)
    return images, labels, splits


def _digest_of_tables(settings: DataSettings) -> str:
    """SHA-256 of index.csv and duplicates.csv; empty where they are out of reach."""
    root = data_root(settings)
    tables = [] if root is None else [root / "pbc" / name for name in ("index.csv", "duplicates.csv")]
    if not tables or not all(table.is_file() for table in tables):
        return ""
    return sha256_of_json([sha256_of_file(table) for table in tables])


def _digest_of_array(array: LabelArray) -> str:
    """SHA-256 of the file that NumPy would write."""
    content = io.BytesIO()
    np.save(content, array, allow_pickle=False)
    return sha256(content.getvalue()).hexdigest()


_AGAIN = "Next: put the PBC images there anew"


def _folder(settings: DataSettings) -> Path:
    root = data_root(settings)
    if root is None:
        raise DataUnavailable(
            f"no data root is set, and there is no folder data/, to take PBC images from. Next: set "
            f"{DATA_ROOT_VARIABLE} or --data-root to the folder that holds pbc/index.csv"
        )
    if not (root / "pbc" / "index.csv").is_file():
        raise DataUnavailable(
            f"the data root {root} has no PBC images: {root / 'pbc' / 'index.csv'} is not there. Next: set "
            f"{DATA_ROOT_VARIABLE} or --data-root to the folder that holds pbc/index.csv"
        )
    return root / "pbc"


def _rows(table: Path, parse: Callable[[dict[str, str]], T]) -> Iterator[T]:
    """Every row of a CSV file, parsed; an error names the line."""
    if not table.is_file():
        raise DataUnavailable(f"{table} is not there. {_AGAIN}")
    with table.open(newline="", encoding="utf-8") as file:
        reader = csv.DictReader(file)
        try:
            for row in reader:
                yield parse(row)
        except (csv.Error, KeyError, TypeError, ValueError) as error:
            raise DataCorrupt(f"{table}, line {reader.line_num}: {error!r}. {_AGAIN}") from error


def _indexed_image(row: dict[str, str]) -> IndexedImage:
    return IndexedImage(
        file=row["file"],
        label=row["label"],
        width_px=int(row["width"]),
        height_px=int(row["height"]),
        crop_left_px=int(row["crop_left"]),
        crop_top_px=int(row["crop_top"]),
        md5=row["md5"],
    )


def _windows(source: Path, images: Sequence[IndexedImage]) -> Iterator[Image.Image]:
    """The central window of each image, in order; every file is checked against its MD5 first."""
    with ExitStack() as open_archives:
        archives = {
            name: open_archives.enter_context(_opened(source / name))
            for name in sorted({image.archive for image in images})
        }
        for image in images:
            yield _window(image, _content(archives[image.archive], image))


def _opened(archive: Path) -> ZipFile:
    if not archive.is_file():
        raise DataUnavailable(f"{archive} is not there, and index.csv lists images in it. {_AGAIN}")
    try:
        return ZipFile(archive)
    except BadZipFile as error:
        raise DataCorrupt(f"{archive}: {error}. {_AGAIN}") from error


def _content(archive: ZipFile, image: IndexedImage) -> bytes:
    try:
        content = archive.read(image.file)
    except (KeyError, BadZipFile, zlib.error, OSError) as error:
        raise DataCorrupt(f"{archive.filename}: cannot read {image.file}: {error}. {_AGAIN}") from error
    if md5(content, usedforsecurity=False).hexdigest() != image.md5:
        raise DataCorrupt(f"{archive.filename}: {image.file} does not have the MD5 {image.md5} of index.csv. {_AGAIN}")
    return content


def _window(image: IndexedImage, content: bytes) -> Image.Image:
    try:
        with Image.open(io.BytesIO(content), formats=["JPEG"]) as opened:
            if opened.size != (image.width_px, image.height_px) or opened.mode != "RGB":
                raise DataCorrupt(f"{image.file}: {opened.mode} {opened.size}, index.csv says otherwise. {_AGAIN}")
            return opened.crop(image.window)
    except OSError as error:
        raise DataCorrupt(f"{image.file}: {error}. {_AGAIN}") from error
