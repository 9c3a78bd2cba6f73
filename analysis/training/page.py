"""A training campaign as Markdown, for documents that keep a result beside the command that made it."""

from __future__ import annotations

from collections.abc import Sequence

from analysis.markdown import markdown_table
from analysis.training import wording
from analysis.training.summary import NetworkFigures, TrainingSummary
from analysis.training.tables import common_errors_rows, comparison_rows
from analysis.wording import FEW_PROMISE
from contract.blood_cells import NOTICE

GIB = 2**30


def training_page(summary: TrainingSummary) -> str:
    """What the terminal shows of ``summary``, with classes, the machine and how to repeat it."""
    lines = [
        f"# Training campaign {summary.name}",
        "",
        *_origin(summary),
        *_section(
            "Frameworks, over seeds",
            "Means over seeds with Student's 95 % interval; calibrated: after temperature scaling.",
            wording.FRAMEWORK_HEADINGS,
            [wording.framework_row(one) for one in summary.frameworks],
        ),
        *_section(
            "Frameworks on the same images",
            "McNemar's exact test, two-sided, test images; Holm's correction over all rows.",
            wording.COMPARISON_HEADINGS,
            comparison_rows(summary),
        ),
        *_section(
            "Errors in common",
            wording.COMMON_ERRORS_NOTE,
            wording.COMMON_ERRORS_HEADINGS,
            common_errors_rows(summary),
        ),
        *_section(
            "Speed and memory",
            f"{wording.steps_as_run(summary.runs)} Images per second: the median over runs of each run's median epoch, "
            f"first step left out, whole runs resampled (the epochs of a single one). {FEW_PROMISE} The others are "
            "means over seeds. One process per run. Time to 97 %: until the end of the first epoch that validated at "
            "97 %.",
            wording.SPEED_HEADINGS,
            [wording.speed_row(one) for one in summary.frameworks],
        ),
        *_section(
            "Every run",
            "Accuracies with Wilson's 95 % interval; each run scored the test images once.",
            wording.RUN_HEADINGS,
            [wording.run_row(figures) for figures in summary.runs],
        ),
        *(line for network in summary.networks for line in _recalls(network)),
        *(f"Reproducible: {said} ({len(n)} runs)." for said, n in wording.reproducibility(summary.runs).items()),
    ]
    return "\n".join(lines) + "\n"


def _origin(summary: TrainingSummary) -> list[str]:
    """Data, machine and commands."""
    first, environment = summary.runs[0].run, summary.runs[0].run.environment
    data = sorted({figures.run.data_description for figures in summary.runs})
    commands = sorted({figures.run.command for figures in summary.runs})
    loud = [] if summary.is_real else ["**Rendered images: speed is measured, accuracy is not.**", ""]
    return [
        *loud,
        f"Data: {'; '.join(data)}. Machine: {environment.cpu_model}, {environment.cores} cores, "
        f"{environment.memory_bytes / GIB:.1f} GiB, {environment.accelerator or 'no accelerator'}. "
        f"{first.created[:10]}. {NOTICE}",
        "",
        *(f"    {command}" for command in commands),
        f"    hemabench report results/training/{summary.name} --page PAGE",
        "",
    ]


def _section(title: str, note: str, headings: Sequence[str], rows: Sequence[Sequence[str]]) -> list[str]:
    return [f"## {title}", "", note, "", *markdown_table(headings, rows), ""] if rows else []


def _recalls(network: NetworkFigures) -> list[str]:
    labels = network.runs[0].run.labels
    rows = [
        (wording.framework_name(figures.run.framework), f"{figures.run.seed}", *map(wording.share, figures.recalls))
        for figures in network.runs
    ]
    title = f"Recall at {network.resolution_px} px, {network.model}"
    note = f"{network.test_images:,} test images, Wilson's 95 % intervals."
    return _section(title, note, ("framework", "seed", *labels), rows)
