"""A run's summary as Markdown, for documents that keep a result beside the command that made it."""

from __future__ import annotations

from collections.abc import Sequence

from analysis.load.answer import answer
from analysis.load.curve import Curve
from analysis.load.sentences import crossover_words, curve_words, offered_words
from analysis.load.summary import Contender, RunSummary
from analysis.load.tax import ServingTax, crossovers, serving_taxes
from analysis.markdown import libraries_line, machine_line, markdown_table
from analysis.statistics import Figure
from analysis.wording import interval_of, runtime_name, scenario_name, value_of
from contract.blood_cells import NOTICE

HEADINGS = ("px", "runtime", "n", "response p50", "p99", "round trip p50", "inference p50", "tax", "right answers")


def summary_page(summary: RunSummary) -> str:
    """What the terminal shows of ``summary``, with the machine and how to repeat it."""
    plan, environment = summary.plan, summary.plan.environment
    lines = [f"# Run {plan.run}", "", f"Made by `{plan.command}` at {plan.created}. {NOTICE}", ""]
    lines += [f"> {sentence}\n>" for sentence in answer(summary)]
    lines += ["", f"Data: {plan.data_description}. Times in ms, each with its 95 % interval."]
    lines += ["Of several repetitions whole ones are resampled; n is the answered requests of all of them."]
    for scenario in summary.scenarios:
        contenders = summary.of_scenario(scenario)
        curves = [contender.curve for contender in contenders if contender.curve]
        table = markdown_table(HEADINGS, [_row(contender) for contender in contenders])
        offered = [] if curves or not (words := offered_words(contenders)) else [words, ""]
        lines += ["", f"## {scenario_name(scenario)}", "", *offered, *(curve_lines(curves) or table)]
    lines += _tax(serving_taxes(summary))
    lines += ["", "## Parity", "", *_parity(summary), "", "## What to know of the cells", "", *_findings(summary)]
    lines += ["", "## Machine", "", machine_line(environment), "", libraries_line(environment), ""]
    return "\n".join(lines)


def curve_lines(curves: Sequence[Curve]) -> list[str]:
    """Every step of ladders and searches by rising rate; no line without any."""
    lines: list[str] = []
    for curve in curves:
        rows = [
            [
                *(f"{point.rate_per_s:,.4g}", f"{point.answers_per_s:,.4g}", f"{point.answered:,}"),
                _with_interval(point.response_p50_ns, "bare_ms"),
                _with_interval(point.response_p99_ns, "bare_ms"),
                "yes" if point.passed else "no",
            ]
            for point in curve.points
        ]
        lines += [f"{runtime_name(curve.runtime)} at {curve.resolution_px} px: {curve_words(curve)}.", ""]
        lines += [*markdown_table(("rate /s", "answers /s", "n", "response p50", "p99", "carried"), rows), ""]
    return lines


def _tax(taxes: Sequence[ServingTax]) -> list[str]:
    if not taxes:
        return []
    rows = [
        [
            *(str(tax.resolution_px), runtime_name(tax.runtime)),
            *(_with_interval(figure, "bare_ms") for figure in (tax.round_trip_ns, tax.infer_ns, tax.floor_ns)),
            _with_interval(tax.tax, "times"),
        ]
        for tax in taxes
    ]
    table = markdown_table(("px", "runtime", "round trip p50", "inference p50", "null service", "tax"), rows)
    return ["", "## Serving tax", "", *table, "", crossover_words(crossovers(taxes))]


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
