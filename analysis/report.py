"""The report: one HTML file that needs no network, no other file and, for its tables, no JavaScript."""

from __future__ import annotations

import re
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path

from jinja2 import Environment, FileSystemLoader, StrictUndefined
from markupsafe import Markup

from analysis import plots, wording
from analysis.answer import answer
from analysis.runs import load_run
from analysis.statistics import fewest_requests
from analysis.summary import RunSummary, summarise
from analysis.verdicts import Limits
from contract.blood_cells import NOTICE
from contract.records import REPORT_FILE
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
    return (
        _environment()
        .get_template("report.html")
        .render(
            summary=summary,
            plan=summary.plan,
            answer=answer(summary),
            line_charts=line_charts(summary),
            part_charts=part_charts(summary),
            parts=PARTS,
            part_colours=plots.PART_COLOURS,
            runtime_colours=plots.runtime_colours(summary.runtimes),
            fewest_requests=fewest_requests,
            notice=NOTICE,
            javascript=Markup(_inside_a_script(plots.javascript())),
        )
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
                charts.append(_chart(f"{quantity}-{scenario}", title, "The table below holds the numbers.", spec))
    return charts


def part_charts(summary: RunSummary) -> list[Chart]:
    """Where the time goes under the first scenario, one chart per resolution."""
    scenario = summary.scenarios[0] if summary.scenarios else ""
    specs = ((side, plots.parts_chart(summary, scenario, side)) for side in summary.resolutions_px)
    return [
        _chart(f"parts-{side}", f"{side} px", f"Medians of the parts of a request at {side} px.", spec)
        for side, spec in specs
        if spec
    ]


def _chart(name: str, title: str, described: str, spec: plots.Spec) -> Chart:
    svg = plots.static_svg(spec, LINES_WIDTH_PX)
    return Chart(name=name, title=title, described=described, spec=spec, svg=Markup(svg))


def _inside_a_script(code: str) -> str:
    """``code`` such that no string in it ends the script element early; all else stays, ``/</g`` for one."""
    return re.sub(r"</(?=script)", r"<\\/", code, flags=re.IGNORECASE)


def _environment() -> Environment:
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
        "gib": _gib,
    }
    return environment


def _listed(words: Iterable[object]) -> str:
    return wording.listed(list(words))


def _gib(size_bytes: int) -> str:
    return f"{size_bytes / 2**30:.1f} GiB"
