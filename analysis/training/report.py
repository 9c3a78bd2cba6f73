"""The report of a training campaign: one HTML file that needs no network and no other file."""

from __future__ import annotations

from pathlib import Path

from markupsafe import Markup

from analysis import plots
from analysis.report import Chart, drawn_chart, html_environment, inside_a_script
from analysis.training import wording
from analysis.training.curves import TITLES, Quantity, curve
from analysis.training.gallery import gallery
from analysis.training.summary import TrainingSummary
from analysis.training.tables import comparison_rows
from contract.blood_cells import NOTICE
from contract.records.load import REPORT_FILE
from contract.storage import write_atomically

QUANTITIES: tuple[Quantity, ...] = ("mean_loss", "validation_accuracy")


def save_training_report(summary: TrainingSummary, folder: Path, cache: Path | None) -> Path:
    """Write the report into ``folder``; pictures of mistakes come from ``cache``."""
    path = folder / REPORT_FILE
    write_atomically(path, render_training_report(summary, cache).encode())
    return path


def render_training_report(summary: TrainingSummary, cache: Path | None) -> str:
    """The report's HTML; the same campaign and cache give the same text."""
    environment = html_environment()
    environment.filters["share"] = wording.share
    return environment.get_template("training.html").render(
        summary=summary,
        words=wording,
        comparisons=comparison_rows(summary),
        charts=curves(summary),
        galleries=[gallery(network, cache) for network in summary.networks],
        environment=summary.runs[0].run.environment,
        commands=sorted({figures.run.command for figures in summary.runs}),
        data=sorted({figures.run.data_description for figures in summary.runs}),
        reproducibility=wording.reproducibility(summary.runs),
        notice=NOTICE,
        javascript=Markup(inside_a_script(plots.javascript())),
    )


def curves(summary: TrainingSummary) -> list[Chart]:
    """Loss and validation accuracy of every network."""
    specs = [(network, quantity, curve(network, quantity)) for network in summary.networks for quantity in QUANTITIES]
    return [
        drawn_chart(
            f"{quantity}-{network.model}-{network.resolution_px}",
            f"{network.model} at {network.resolution_px} px: {TITLES[quantity]}",
            "The tables hold the final numbers.",
            spec,
        )
        for network, quantity, spec in specs
        if spec
    ]
