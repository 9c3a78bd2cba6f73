"""Pictures of images that were answered wrongly, kept in the run's folder: a report is made of its run alone."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path

import numpy as np

from analysis.load.confusion import Confusion, WrongAnswer
from analysis.thumbnails import data_uri, thumbnail
from contract.dataset import Dataset, dataset_folder, load_dataset
from contract.errors import DataCorrupt, DataUnavailable
from contract.records.load import RunPlan

PICTURES_FOLDER = "pictures"
MOST_PICTURES = 60  # of one resolution

Place = tuple[int, int]  # resolution, image


def shown_first(confusion: Confusion) -> Sequence[WrongAnswer]:
    """The wrong answers that a gallery shows: `MOST_PICTURES` of them, spread evenly over the confused classes."""
    steps = np.linspace(0, len(confusion.wrong) - 1, min(MOST_PICTURES, len(confusion.wrong)))
    return [confusion.wrong[int(step)] for step in steps]


def new_pictures(folder: Path, plan: RunPlan, confusions: Sequence[Confusion], cache: Path) -> dict[Place, bytes]:
    """What galleries show and ``folder`` does not have yet, as PNG from the data sets in ``cache``.

    Nothing for a resolution whose images are not there, or are other ones than were sent.
    """
    found: dict[Place, bytes] = {}
    for confusion in confusions:
        side = confusion.resolution_px
        images = {one.image for one in shown_first(confusion)}
        wanted = sorted(image for image in images if not (folder / picture_name(side, image)).is_file())
        dataset = _dataset(cache, plan, confusion) if wanted else None
        if dataset is not None:
            found |= {(side, image): thumbnail(dataset.images[image]) for image in wanted}
    return found


def kept_pictures(folder: Path) -> dict[Place, str]:
    """The pictures in ``folder`` as data URIs."""
    found: dict[Place, str] = {}
    for path in sorted((folder / PICTURES_FOLDER).glob("*px/*.png")):
        side, image = path.parent.name.removesuffix("px"), path.stem
        if side.isdecimal() and image.isdecimal():
            found[int(side), int(image)] = data_uri(path.read_bytes())
    return found


def picture_name(side: int, image: int) -> str:
    """Where in a run's folder the picture of ``image`` lies."""
    return f"{PICTURES_FOLDER}/{side}px/{image}.png"


def _dataset(cache: Path, plan: RunPlan, confusion: Confusion) -> Dataset | None:
    """The data set whose images were sent; None where it is gone, or was built anew in another order."""
    try:
        dataset = load_dataset(dataset_folder(cache, plan.data_source, confusion.resolution_px))
    except (DataUnavailable, DataCorrupt):
        return None
    numbers: Mapping[str, int] = {label: number for number, label in enumerate(confusion.labels)}
    same = (
        one.image < len(dataset.labels) and dataset.labels[one.image] == numbers[one.true_class]
        for one in confusion.wrong
    )
    return dataset if all(same) else None
