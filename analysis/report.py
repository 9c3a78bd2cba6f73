"""The report: one HTML file that needs no network, no other file and, for its tables, no JavaScript."""

from __future__ import annotations

import re
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path

from jinja2 import Environment, FileSystemLoader, StrictUndefined
from markupsafe import Markup

from analysis import load_plots, plots, wording
from analysis.answer import answer
from analysis.judging.findings import Limits
from analysis.runs import load_run
from analysis.sentences import crossover_words, curve_words, difference_words, steadiness_words
from analysis.statistics import fewest_requests
from analysis.summary import RunSummary, summarise
from analysis.tax import crossovers, serving_taxes
from contract.blood_cells import NOTICE
from contract.records.load import REPORT_FILE, STEPPED_KINDS
from contract.storage import write_atomically
from contract.timing import PARTS

TEMPLATES = Path(__file__).parent / "templates"
LINES_WIDTH_PX = 480
BARS_WIDTH_PX = 480


@dataclass(frozen=True, slots=True, kw_only=True)
class Chart:
    """A chart with its words: what it shows, and the same for those who cannot see it."""

    name: str
    title: str
    described: str
    spec: plots.Spec
    svg: Markup


def write_report(
    run_folder: Path, *, baseline: str | None = None, limits: Limits | None = None, into: Path | None = None
) -> Path:
    """Write the report of ``run_folder`` and return where it is; ``into`` defaults to the run folder's own file.

    Raises `RunInvalid` where there is no readable run plan.
    """
    summary = summarise(load_run(run_folder), baseline=baseline, limits=limits)
    return save_report(summary, into or run_folder / REPORT_FILE)


def save_report(summary: RunSummary, path: Path) -> Path:
    """Write the report of ``summary`` to ``path``, atomically."""
    write_atomically(path, render_report(summary).encode())
    return path


def render_report(summary: RunSummary) -> str:
    """The report's HTML; the same summary gives the same text."""
    groups = {
        "line_charts": line_charts(summary),
        "part_charts": part_charts(summary),
        "distribution_charts": distribution_charts(summary),
        "curve_charts": curve_charts(summary),
        "tax_charts": tax_charts(summary),
    }
    taxes = serving_taxes(summary)
    page = html_environment().get_template("report.html")
    return page.render(
        summary=summary,
        plan=summary.plan,
        answer=answer(summary),
        **groups,
        charts=[chart for group in groups.values() for chart in group],
        curves=[contender.curve for contender in summary.contenders if contender.curve],
        taxes=taxes,
        crossover=crossover_words(crossovers(taxes)) if taxes else "",
        parts=PARTS,
        part_colours=plots.PART_COLOURS,
        runtime_colours=plots.runtime_colours(summary.runtimes),
        fewest_requests=fewest_requests,
        notice=NOTICE,
        javascript=Markup(inside_a_script(plots.javascript())),
    )


def line_charts(summary: RunSummary) -> list[Chart]:
    """Time against resolution: response and inference under the first scenario, response under the others."""
    charts = []
    for number, scenario in enumerate(summary.scenarios):
        quantities: tuple[plots.Quantity, ...] = ("response", "infer") if number == 0 else ("response",)
        for quantity in quantities:
            if spec := plots.time_chart(summary, scenario, quantity):
                what = "response time" if quantity == "response" else "inference time"
                title = f"{wording.scenario_name(scenario)}: median {what} against resolution"
                charts.append(drawn_chart(f"{quantity}-{scenario}", title, "The table below holds the numbers.", spec))
    return charts


def part_charts(summary: RunSummary) -> list[Chart]:
    """Where the time goes under the first scenario, one chart per resolution."""
    scenario = summary.scenarios[0] if summary.scenarios else ""
    specs = ((side, plots.parts_chart(summary, scenario, side)) for side in summary.resolutions_px)
    return [
        drawn_chart(f"parts-{side}", f"{side} px", f"Medians of the parts of a request at {side} px.", spec)
        for side, spec in specs
        if spec
    ]


def distribution_charts(summary: RunSummary) -> list[Chart]:
    """How response times are spread under the first scenario without steps, one chart per resolution."""
    scenario = next((name for name in summary.scenarios if name not in STEPPED_KINDS), "")
    specs = ((side, load_plots.distribution_chart(summary, scenario, side)) for side in summary.resolutions_px)
    return [
        drawn_chart(
            f"distribution-{side}",
            f"{wording.scenario_name(scenario)}, {side} px: share of requests answered within a time",
            "Dashed lines mark p50, p90 and p99; the tables hold the numbers.",
            spec,
        )
        for side, spec in specs
        if spec
    ]


def curve_charts(summary: RunSummary) -> list[Chart]:
    """Response time against throughput, one chart per ladder or search."""
    curves = [contender.curve for contender in summary.contenders if contender.curve]
    specs = ((curve, load_plots.curve_chart(curve)) for curve in curves)
    return [
        drawn_chart(
            f"curve-{curve.scenario.kind}-{curve.runtime}-{curve.resolution_px}",
            f"{wording.runtime_name(curve.runtime)}, {curve.resolution_px} px: response time against throughput",
            curve_words(curve),
            spec,
        )
        for curve, spec in specs
        if spec
    ]


def tax_charts(summary: RunSummary) -> list[Chart]:
    """Serving tax against resolution; none where one request at a time was not measured."""
    spec = load_plots.tax_chart(summary, serving_taxes(summary))
    return (
        [drawn_chart("serving-tax", "Serving tax against resolution", "The table holds the numbers.", spec)]
        if spec
        else []
    )


def drawn_chart(name: str, title: str, described: str, spec: plots.Spec) -> Chart:
    svg = plots.static_svg(spec, LINES_WIDTH_PX)
    return Chart(name=name, title=title, described=described, spec=spec, svg=Markup(svg))


def inside_a_script(code: str) -> str:
    """``code`` such that no string in it ends the script element early; all else stays, ``/</g`` for one."""
    return re.sub(r"</(?=script)", r"<\\/", code, flags=re.IGNORECASE)


def html_environment() -> Environment:
    environment = Environment(
        loader=FileSystemLoader(TEMPLATES),
        autoescape=True,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    environment.filters |= {
        "value": wording.value_of,
        "interval": wording.interval_of,
        "sample": wording.sample_of,
        "whole": wording.whole,
        "runtime": wording.runtime_name,
        "scenario": wording.scenario_name,
        "part": wording.part_name,
        "listed": _listed,
        "curve": curve_words,
        "difference": difference_words,
        "steadiness": steadiness_words,
        "gib": _gib,
    }
    return environment


def _listed(words: Iterable[object]) -> str:
    return wording.listed(list(words))


def _gib(size_bytes: int) -> str:
    return f"{size_bytes / 2**30:.1f} GiB"
