"""A run's summary for the terminal (rich tables) and for programs (JSON)."""

from __future__ import annotations

import msgspec
from rich.console import Group, RenderableType
from rich.panel import Panel
from rich.table import Table
from rich.text import Text

from analysis.answer import answer
from analysis.statistics import Estimate, Figure
from analysis.summary import Contender, RunSummary
from analysis.wording import interval_of, runtime_name, scenario_name, value_of
from contract.blood_cells import NOTICE

STATUS_STYLES = {"valid": "green", "invalid": "red", "missing": "yellow", "warning": "yellow"}


def summary_tables(summary: RunSummary) -> RenderableType:
    """All that the terminal shows of a run: answer, a table per scenario, and what is not valid."""
    parts: list[RenderableType] = [answer_panel(summary)]
    parts += [scenario_table(summary, scenario) for scenario in summary.scenarios]
    if any(cell.verdict.reasons or cell.verdict.warnings for cell in summary.cells):
        parts.append(findings_table(summary))
    return Group(*parts)


def answer_panel(summary: RunSummary) -> Panel:
    """The three sentences, and the notices that belong beside them."""
    text = Text("\n".join(answer(summary)))
    if not summary.plan.data_is_real:
        text.append("\nSynthetic images: speed is measured, accuracy is not.", style="bold yellow")
    text.append(f"\n{NOTICE}", style="dim")
    return Panel(text, title=Text(summary.plan.run))


def scenario_table(summary: RunSummary, scenario: str) -> Table:
    """One row per contender: times with 95 % intervals, or the verdict in place of them."""
    title = f"{scenario_name(scenario)}: medians and percentiles with 95 % intervals, times in ms"
    table = Table(title=title, title_justify="left")
    table.add_column("px", justify="right")
    table.add_column("runtime")
    table.add_column("n", justify="right")
    for heading in ("response p50", "p90", "p99", "inference p50", f"÷ {runtime_name(summary.baseline)}"):
        table.add_column(heading, justify="right")
    table.add_column("per second", justify="right")
    table.add_column("right answers", justify="right")
    table.add_column("verdict")
    last = None
    for contender in summary.of_scenario(scenario):
        if last not in (None, contender.resolution_px):
            table.add_section()
        last = contender.resolution_px
        table.add_row(*_row(contender, contender.runtime == summary.baseline))
    return table


def findings_table(summary: RunSummary) -> Table:
    """Why cells are invalid or missing, and what to know of the others; one row per text, with its cells."""
    table = Table(title="Reasons and warnings", title_justify="left", show_lines=True)
    for heading in ("", "what, and what to do next", "cells"):
        table.add_column(heading, overflow="fold")
    for (status, text), cells in _findings(summary).items():
        table.add_row(_status(status), Text(text), Text("\n".join(cells)))
    return table


def summary_as_json(summary: RunSummary) -> str:
    """The whole summary; an estimate is ``{value, low, high, n, of}``, an absent one ``{reason, n}``."""
    return msgspec.json.format(msgspec.json.encode(summary), indent=2).decode()


def _row(contender: Contender, is_baseline: bool) -> list[RenderableType]:
    head: list[RenderableType] = [str(contender.resolution_px), Text(runtime_name(contender.runtime))]
    figures = contender.figures
    if figures is None:
        return [*head, *([""] * 8), _status(contender.status)]
    return [
        *head,
        f"{contender.requests:,}",
        _two_lines(figures.response_p50_ns, "bare_ms"),
        _two_lines(figures.response_p90_ns, "bare_ms"),
        _two_lines(figures.response_p99_ns, "bare_ms"),
        _two_lines(figures.infer_p50_ns, "bare_ms"),
        Text("baseline", style="dim") if is_baseline else _two_lines(contender.response_ratio, "times"),
        _two_lines(figures.throughput_per_s, "per_s"),
        _right(figures.accuracy),
        _status(contender.status),
    ]


def _findings(summary: RunSummary) -> dict[tuple[str, str], list[str]]:
    """Names of cells by (status, text): reasons first, then warnings."""
    found: dict[tuple[str, str], list[str]] = {}
    for cell in summary.cells:
        for reason in cell.verdict.reasons:
            found.setdefault((cell.verdict.status, reason), []).append(cell.cell.name)
    for cell in summary.cells:
        for warning in cell.verdict.warnings:
            found.setdefault(("warning", warning), []).append(cell.cell.name)
    return found


def _right(figure: Figure) -> Text:
    """Accuracy, its interval, and of how many distinct images."""
    text = _two_lines(figure, "percent")
    return text.append(f"\nof {figure.n:,}", style="dim") if isinstance(figure, Estimate) else text


def _two_lines(figure: Figure, form: str) -> Text:
    """The value, and its interval below it; a dash where there is no number."""
    value = value_of(figure, form).removesuffix(" /s")
    text = Text(value, justify="right")
    if interval := interval_of(figure, form):
        text.append(f"\n{interval.replace(' to ', '–')}", style="dim")
    return text


def _status(status: str) -> Text:
    return Text(status, style=STATUS_STYLES[status])
