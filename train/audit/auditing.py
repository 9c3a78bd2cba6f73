"""The audit of a data set as one record."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from contract.dataset import Dataset
from contract.errors import InvalidSettings
from contract.progress import Progress
from contract.records.training import Predictions, load_training_run, training_run_folders
from train.audit.acquisition import AcquisitionGroup, audit_acquisition, how_taken
from train.audit.duplicates import Duplicates, find_duplicates
from train.dataset import DataSettings, data_root


@dataclass(frozen=True, slots=True, kw_only=True)
class Audit:
    """``groups`` and ``left_out``, the listed images that are not used, are None where the source does not say how its
    images were taken; ``runs`` gave the accuracies.
    """

    data_source: str
    data_description: str
    resolution_px: int
    images: int
    duplicates: Duplicates
    groups: tuple[AcquisitionGroup, ...] | None
    left_out: int | None
    runs: tuple[str, ...]


def audit(dataset: Dataset, settings: DataSettings, recorded: Path | None, progress: Progress) -> Audit:
    """Look for copies across splits and for traces of how images were taken; raises `InvalidSettings`.

    ``recorded`` is a training campaign, or a run, of this data set.
    """
    runs, predictions = _predictions(dataset, recorded)
    duplicates = find_duplicates(dataset, progress)
    root = data_root(settings)
    groups = left_out = None
    if dataset.facts.source == "pbc" and root is not None:
        progress("how images were taken", 1, 1)
        taken = how_taken(root / "pbc")
        groups, left_out = tuple(audit_acquisition(dataset, taken, predictions)), len(taken.left_out)
    facts = dataset.facts
    return Audit(
        data_source=facts.source,
        data_description=facts.description,
        resolution_px=facts.resolution_px,
        images=facts.images,
        duplicates=duplicates,
        groups=groups,
        left_out=left_out,
        runs=runs,
    )


def _predictions(dataset: Dataset, recorded: Path | None) -> tuple[tuple[str, ...], Sequence[Predictions]]:
    """The test predictions of the recorded runs at the data set's resolution."""
    if recorded is None:
        return (), ()
    loaded = [load_training_run(folder) for folder in training_run_folders(recorded)]
    own = [(run.name, found["test"]) for run, found in loaded if run.resolution_px == dataset.facts.resolution_px]
    test = dataset.indices("test")
    if not own or any(not np.array_equal(found.positions, test) for _, found in own):
        raise InvalidSettings(
            f"{recorded} has no runs at {dataset.facts.resolution_px} px on the test images of this data set. "
            "Next: name another --run or -r"
        )
    return tuple(name for name, _ in own), [found for _, found in own]
