"""Training figures for the terminal and for programs."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import fields
from pathlib import Path

import msgspec
from rich.console import Group
from rich.table import Table

from analysis.training import wording
from analysis.training.common_errors import common_errors
from analysis.training.summary import FrameworkFigures, RunFigures, TrainingSummary, run_figures
from contract.records.training import load_training_run


def trained_table(folders: Sequence[Path]) -> Table:
    """A row per finished run in ``folders``."""
    return runs_table(run_figures(*load_training_run(folder)) for folder in folders)


def runs_table(runs: Iterable[RunFigures]) -> Table:
    """A row per run: accuracy with Wilson's interval, calibration, times, memory."""
    rows = [wording.run_row(figures) for figures in runs]
    return _table("Every run", wording.RUN_HEADINGS, rows)


def training_tables(summary: TrainingSummary) -> Group:
    """What the terminal shows of a campaign."""
    tables = [
        _table(
            "Means over seeds with Student's 95 % intervals",
            wording.FRAMEWORK_HEADINGS,
            list(map(wording.framework_row, summary.frameworks)),
        ),
        _table("Speed", wording.SPEED_HEADINGS, list(map(wording.speed_row, summary.frameworks))),
        runs_table(summary.runs),
    ]
    if rows := comparison_rows(summary):
        title = "Frameworks on the same test images: exact McNemar, Holm's correction over all"
        tables.append(_table(title, wording.COMPARISON_HEADINGS, rows))
    if rows := common_errors_rows(summary):
        tables.append(_table("Errors in common", wording.COMMON_ERRORS_HEADINGS, rows))
    return Group(*tables)


def comparison_rows(summary: TrainingSummary) -> list[tuple[str, ...]]:
    """The cells under `COMPARISON_HEADINGS`."""
    return list(map(wording.comparison_row, summary.comparisons))


def common_errors_rows(summary: TrainingSummary) -> list[tuple[str, ...]]:
    """The cells under `COMMON_ERRORS_HEADINGS`, a row per network of several runs."""
    found = [(network, common_errors(network)) for network in summary.networks]
    return [wording.common_errors_row(network, errors) for network, errors in found if errors is not None]


def training_as_json(summary: TrainingSummary) -> str:
    """All figures; an estimate is ``{value, low, high, n, of}``, an absent one ``{reason, n}``; without logits."""
    networks = [
        {
            "model": network.model,
            "resolution_px": network.resolution_px,
            "test_images": network.test_images,
            "frameworks": {one.framework: _figures(one) for one in network.frameworks},
            "runs": {one.run.name: _run(one) for one in network.runs},
            "common_errors": common_errors(network),
        }
        for network in summary.networks
    ]
    value = {"campaign": summary.name, "networks": networks, "comparisons": summary.comparisons}
    return msgspec.json.format(msgspec.json.encode(value), indent=2).decode()


def _figures(one: FrameworkFigures) -> dict[str, object]:
    return {field.name: getattr(one, field.name) for field in fields(one) if field.name not in {"framework", "runs"}}


def _run(one: RunFigures) -> dict[str, object]:
    return {
        "accuracy": one.accuracy,
        "validation_accuracy": one.validation_accuracy,
        "auc": one.auc,
        "calibration_error": one.calibration_error,
        "calibrated_error": one.calibrated_error,
        "confusion": one.confusion.tolist(),
        "recalls": dict(zip(one.run.labels, one.recalls, strict=True)),
        "first_step_s": one.first_step_s,
        "to_target_s": one.to_target_s,
        "loop_s": one.loop_s,
        "reproducible": one.run.reproducible,
    }


def _table(title: str, headings: Sequence[str], rows: Iterable[Sequence[str]]) -> Table:
    table = Table(title=title, title_justify="left")
    for heading in headings:
        table.add_column(heading)
    for row in rows:
        table.add_row(*row)
    return table
