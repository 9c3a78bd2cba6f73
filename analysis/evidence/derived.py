"""What is derived from a run's records: its numbers as JSON, and the report that shows them."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any

import msgspec

from analysis.compute.report import render_compute_report
from analysis.compute.runs import load_compute_run
from analysis.compute.summary import summarise_compute
from analysis.compute.tables import compute_as_json
from analysis.judging.findings import Limits
from analysis.report import render_report
from analysis.runs import load_run
from analysis.summary import summarise
from analysis.tables import summary_as_json
from contract.records.compute import is_compute_folder


@dataclass(frozen=True, slots=True)
class Derived:
    """The numbers, as `hemabench report --json` prints them, and the report's HTML."""

    numbers: str
    report: str


def derive(folder: Path, kept: dict[str, Any]) -> Derived:
    """What the records of ``folder`` say, with the baseline and the limits of ``kept``, an earlier derivation."""
    if is_compute_folder(folder):
        computed = summarise_compute(load_compute_run(folder), baseline=kept.get("baseline"))
        return Derived(compute_as_json(computed), render_compute_report(computed))
    limits = msgspec.convert(kept.get("limits", {}), Limits)
    summary = summarise(load_run(folder), baseline=kept.get("baseline"), limits=limits)
    return Derived(summary_as_json(summary), render_report(summary))
