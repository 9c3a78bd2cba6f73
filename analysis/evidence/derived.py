"""What is derived from a run's records: its numbers as JSON, and the report that shows them."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any

import msgspec

from analysis.chapters import tell, whole_page
from analysis.load.judging.findings import Limits
from analysis.telling import Asked
from contract.progress import Progress, part_of, silent
from contract.records.training import is_training_folder


@dataclass(frozen=True, slots=True)
class Derived:
    """The numbers, as `hemabench report --json` prints them, and the report's HTML, chapters included.

    ``report`` is None for training, whose report shows images that are not part of the run.
    """

    numbers: str
    report: str | None


def derive(folder: Path, kept: dict[str, Any], progress: Progress = silent) -> Derived:
    """What the records of ``folder`` say, with the baseline and the limits of ``kept``, an earlier derivation."""
    limits = msgspec.convert(kept["limits"], Limits) if "limits" in kept else None
    telling = part_of(progress, 0, 1, 2)
    told = tell(
        folder, Asked(baseline=kept.get("baseline"), limits=limits, name=kept.get("campaign"), progress=telling)
    )
    if is_training_folder(folder):
        return Derived(told.numbers, None)
    return Derived(told.numbers, whole_page(folder, told, part_of(progress, 1, 1, 2)))
