"""A run's summary for the terminal (rich tables) and for programs (JSON)."""

from __future__ import annotations

from collections.abc import Sequence

import msgspec
from rich.console import Group, RenderableType
from rich.panel import Panel
from rich.table import Table
from rich.text import Text

from analysis.load.answer import answer
from analysis.load.curve import Curve
from analysis.load.sentences import crossover_words, curve_words, difference_words, steadiness_words
from analysis.load.summary import Contender, RunSummary
from analysis.load.tax import ServingTax, crossovers, serving_taxes
from analysis.statistics import Estimate, Figure
from analysis.wording import interval_of, runtime_name, scenario_name, value_of
from contract.blood_cells import NOTICE

STATUS_STYLES = {"valid": "green", "invalid": "red", "missing": "yellow", "warning": "yellow"}


def summary_tables(summary: RunSummary) -> RenderableType:
    """All that the terminal shows of a run: answer, a table per scenario, and what is not valid."""
    parts: list[RenderableType] = [answer_panel(summary)]
    for scenario in summary.scenarios:
        curves = [contender.curve for contender in summary.of_scenario(scenario) if contender.curve]
        parts += [curve_table(curve) for curve in curves] or [scenario_table(summary, scenario)]
    if taxes := serving_taxes(summary):
        parts.append(tax_table(taxes))
    if steadiness := steadiness_words(summary.cells):
        parts.append(Text(steadiness, style="dim"))
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


def curve_table(curve: Curve) -> Table:
    """The steps of a ladder or a search by rising rate, with what follows from them as the title."""
    where = f"{runtime_name(curve.runtime)} at {curve.resolution_px} px"
    table = Table(title=f"{scenario_name(curve.scenario.kind)}, {where}: {curve_words(curve)}", title_justify="left")
    for heading in ("rate /s", "answers /s", "n", "response p50, ms", "p99, ms", "failed", "dropped"):
        table.add_column(heading, justify="right")
    table.add_column("")
    for point in curve.points:
        table.add_row(
            f"{point.rate_per_s:,.4g}",
            f"{point.answers_per_s:,.4g}",
            f"{point.answered:,}",
            _two_lines(point.response_p50_ns, "bare_ms"),
            _two_lines(point.response_p99_ns, "bare_ms"),
            str(point.failed),
            str(point.dropped),
            Text("knee" if point == curve.knee else "", style="bold")
            if point.passed
            else Text("missed", style="yellow"),
        )
    return table


def tax_table(taxes: Sequence[ServingTax]) -> Table:
    """Round trip against inference, the null service's round trip beside it; below, where the model outweighs."""
    table = Table(title="Serving tax: round trip ÷ inference, one request at a time, times in ms", title_justify="left")
    table.add_column("px", justify="right")
    table.add_column("runtime")
    for heading in ("round trip p50", "inference p50", "null service", "tax"):
        table.add_column(heading, justify="right")
    for tax in taxes:
        figures = (tax.round_trip_ns, tax.infer_ns, tax.floor_ns)
        shown = [_two_lines(figure, "bare_ms") for figure in figures]
        table.add_row(str(tax.resolution_px), Text(runtime_name(tax.runtime)), *shown, _two_lines(tax.tax, "times"))
    table.caption, table.caption_justify = crossover_words(crossovers(taxes)), "left"
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
        Text("baseline", style="dim") if is_baseline else _compared(contender),
        _two_lines(figures.throughput_per_s, "per_s"),
        _right(figures.accuracy),
        _status(contender.status),
    ]


def _compared(contender: Contender) -> Text:
    """The ratio to the baseline; below its interval, what enough runs say of it."""
    text = _two_lines(contender.response_ratio, "times")
    says = difference_words(contender.difference)
    return text.append(f"\n{says}", style="dim") if says else text


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
