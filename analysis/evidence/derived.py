"""What is derived from a run's records: its numbers as JSON, and the report that shows them."""

from __future__ import annotations

from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import msgspec
import numpy as np

from analysis.compute.report import render_compute_report
from analysis.compute.runs import load_compute_run
from analysis.compute.summary import summarise_compute
from analysis.compute.tables import compute_as_json
from analysis.judging.findings import Limits
from analysis.mistakes.recorded import load_mistakes
from analysis.mistakes.report import render_mistakes_report
from analysis.mistakes.summary import summarise_mistakes
from analysis.mistakes.tables import mistakes_as_json
from analysis.report import render_report
from analysis.runs import load_run
from analysis.summary import summarise
from analysis.tables import summary_as_json
from analysis.training.summary import summarise_training
from analysis.training.tables import training_as_json
from contract.records.compute import is_compute_folder
from contract.records.mistakes import is_mistakes_folder
from contract.records.training import is_training_folder


@dataclass(frozen=True, slots=True)
class Derived:
    """The numbers, as `hemabench report --json` prints them, and the report's HTML.

    ``report`` is None for training, whose report shows images that are not part of the run.
    """

    numbers: str
    report: str | None


def derive(folder: Path, kept: dict[str, Any]) -> Derived:
    """What the records of ``folder`` say, with the baseline and the limits of ``kept``, an earlier derivation."""
    if is_compute_folder(folder):
        computed = summarise_compute(load_compute_run(folder), baseline=kept.get("baseline"))
        return Derived(compute_as_json(computed), render_compute_report(computed))
    if is_mistakes_folder(folder):
        run = load_mistakes(folder)
        mistaken = summarise_mistakes(run, np.random.default_rng(run.plan.seed))
        return Derived(mistakes_as_json(mistaken), render_mistakes_report(mistaken))
    if is_training_folder(folder):
        trained = summarise_training(folder)
        return Derived(training_as_json(replace(trained, name=kept.get("campaign", trained.name))), None)
    limits = msgspec.convert(kept.get("limits", {}), Limits)
    summary = summarise(load_run(folder), baseline=kept.get("baseline"), limits=limits)
    return Derived(summary_as_json(summary), render_report(summary))
