"""A run's summary as Markdown, for documents that keep a result beside the command that made it."""

from __future__ import annotations

from collections.abc import Sequence

from analysis.answer import answer
from analysis.statistics import Figure
from analysis.summary import Contender, RunSummary
from analysis.wording import interval_of, runtime_name, scenario_name, value_of
from contract.blood_cells import NOTICE

HEADINGS = ("px", "runtime", "n", "response p50", "p99", "round trip p50", "inference p50", "tax", "right answers")


def markdown_table(headings: Sequence[str], rows: Sequence[Sequence[str]]) -> list[str]:
    """The lines of a Markdown table."""
    return ["| " + " | ".join(line) + " |" for line in (headings, ["---"] * len(headings), *rows)]


def summary_page(summary: RunSummary) -> str:
    """What the terminal shows of ``summary``, with the machine and how to repeat it."""
    plan, environment = summary.plan, summary.plan.environment
    libraries = ", ".join(f"{name} {version}" for name, version in sorted(environment.libraries.items()))
    lines = [f"# Run {plan.run}", "", f"Made by `{plan.command}` at {plan.created}. {NOTICE}", ""]
    lines += [f"> {sentence}\n>" for sentence in answer(summary)]
    lines += ["", f"Data: {plan.data_description}. Times in ms, each with its 95 % interval; n is answered requests."]
    for scenario in summary.scenarios:
        rows = [_row(contender) for contender in summary.of_scenario(scenario)]
        lines += ["", f"## {scenario_name(scenario)}", "", *markdown_table(HEADINGS, rows)]
    lines += ["", "## Parity", "", *_parity(summary), "", "## What to know of the cells", "", *_findings(summary)]
    lines += ["", "## Machine", ""]
    lines += [
        f"{environment.cpu_model}, {environment.cores} cores, {environment.memory_bytes / 2**30:.0f} GiB, "
        f"{environment.accelerator or 'no accelerator'}, {environment.system}, Python {environment.python}.",
        "",
        f"{libraries}.",
        "",
    ]
    return "\n".join(lines)


def _row(contender: Contender) -> list[str]:
    head = [str(contender.resolution_px), runtime_name(contender.runtime)]
    figures = contender.figures
    if figures is None:
        return [*head, contender.status, *[""] * (len(HEADINGS) - 3)]
    times = (figures.response_p50_ns, figures.response_p99_ns, figures.round_trip_p50_ns, figures.infer_p50_ns)
    shown = [*(_with_interval(figure, "bare_ms") for figure in times), _with_interval(figures.serving_tax, "times")]
    return [*head, f"{contender.requests:,}", *shown, _with_interval(figures.accuracy, "percent")]


def _with_interval(figure: Figure, form: str) -> str:
    interval = interval_of(figure, form)
    return f"{value_of(figure, form)} ({interval})" if interval else value_of(figure, form)


def _parity(summary: RunSummary) -> list[str]:
    rows = [
        [
            str(artifact.resolution_px),
            runtime_name(artifact.runtime),
            artifact.format,
            f"{artifact.parity_largest_difference:.1e}",
            str(artifact.parity_images),
            artifact.digest[:12],
        ]
        for artifact in sorted(summary.plan.artifacts, key=lambda one: (one.resolution_px, one.runtime))
    ]
    return markdown_table(("px", "runtime", "format", "largest logit difference", "golden images", "digest"), rows)


def _findings(summary: RunSummary) -> list[str]:
    found = [
        f"- `{cell.cell.name}`, {cell.verdict.status}: {text}"
        for cell in summary.cells
        for text in (*cell.verdict.reasons, *(f"warning: {warning}" for warning in cell.verdict.warnings))
    ]
    return found or ["Every cell is valid, without a warning."]
