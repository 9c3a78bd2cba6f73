"""The report of a load run: its answer, and a section for everything that its records tell."""

from __future__ import annotations

import re
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from analysis import wording
from analysis.html import Chart, Report, Section, drawn_chart, environment_section, render
from analysis.load import plots
from analysis.load.answer import answer
from analysis.load.judging.findings import Limits
from analysis.load.page import summary_page
from analysis.load.pictures import (
    MOST_PICTURES,
    Place,
    kept_pictures,
    new_pictures,
    picture_name,
    shown_first,
)
from analysis.load.runs import load_run
from analysis.load.sentences import crossover_words, curve_words
from analysis.load.starting import start_ups
from analysis.load.summary import RunSummary, summarise
from analysis.load.tables import summary_as_json, summary_tables
from analysis.load.tax import crossovers, serving_taxes
from analysis.plots import runtime_colours
from analysis.statistics import fewest_requests
from analysis.telling import Asked, Told
from analysis.thumbnails import data_uri
from contract.progress import part_of
from contract.records.load import NULL_RUNTIME, REPORT_FILE, STEPPED_KINDS
from contract.storage import write_atomically
from contract.timing import PARTS

SCATTER_NOTE = f"""Percentiles lie between order statistics, which needs no distribution but takes requests as
independent. Ratios come from resampling: blocks of neighbouring requests where a contender ran once, whole runs where
it ran several times. {wording.FEW_PROMISE} "Faster" and "slower" are an exact permutation test
on the medians of the runs with Holm's correction over the contenders of one resolution and scenario, at 5 %; nothing is
tested where even runs that are all apart could not pass it: it takes four runs of each for one contender, five for up
to six. One run on one machine says nothing about other machines, and another start of the same service may differ by
more than these intervals. Differences under 3 % are not called differences."""


def write_report(
    run_folder: Path, *, baseline: str | None = None, limits: Limits | None = None, into: Path | None = None
) -> Path:
    """Write the report of ``run_folder`` alone and return where it is; ``into`` defaults to the run folder's own file.

    Raises `RunInvalid` where there is no readable run plan.
    """
    summary = summarise(load_run(run_folder), baseline=baseline, limits=limits)
    path = into or run_folder / REPORT_FILE
    write_atomically(path, render_report(summary, kept_pictures(run_folder)).encode())
    return path


def tell_load(folder: Path, asked: Asked) -> Told:
    """The load run in ``folder``; pictures of wrong answers that it does not have yet come from the cache."""
    run = load_run(folder, part_of(asked.progress, 0, 1, 3))
    judging = part_of(asked.progress, 1, 1, 3)
    summary = summarise(run, baseline=asked.baseline, limits=asked.limits, progress=judging)
    asked.progress("draw the charts", 2, 3)
    new = {} if asked.cache is None else new_pictures(folder, summary.plan, summary.confusions, asked.cache)
    verdicts = [cell.verdict for cell in summary.cells]
    return Told(
        report=load_report(summary, kept_pictures(folder) | {place: data_uri(png) for place, png in new.items()}),
        numbers=summary_as_json(summary),
        tables=summary_tables(summary),
        page=lambda _: summary_page(summary),
        sound=all(verdict.status == "valid" or verdict.disturbed for verdict in verdicts),
        files={picture_name(*place): png for place, png in new.items()},
    )


def render_report(summary: RunSummary, pictures: Mapping[Place, str] | None = None) -> str:
    """The report's HTML; the same summary and pictures give the same text."""
    return render(load_report(summary, pictures or {}))


def load_report(summary: RunSummary, pictures: Mapping[Place, str]) -> Report:
    """What a load run has to say; ``pictures`` are data URIs by resolution and image."""
    plan, runtimes = summary.plan, len([name for name in summary.runtimes if name != NULL_RUNTIME])
    synthetic = (
        "Synthetic images. Speed is measured, accuracy is not: the images of this run were rendered "
        f"({plan.data_source}: {plan.data_description})."
    )
    return Report(
        kind="report",
        headline=f"The same network, {runtimes} runtime{'s' if runtimes != 1 else ''}: where the milliseconds go",
        about=(plan.run, plan.created, f"profile {plan.profile}"),
        commands=(plan.command,),
        environment=plan.environment,
        answer=answer(summary),
        notices=() if plan.data_is_real else (synthetic,),
        verdicts={
            "valid": summary.count("valid"),
            "invalid": summary.count("invalid"),
            "missing": summary.count("missing"),
        },
        runtimes=tuple(name for name in summary.runtimes if re.fullmatch(r"[a-z][a-z0-9_-]*", name)),
        resolutions_px=summary.resolutions_px,
        sections=(*_speed_sections(summary), *_answer_sections(summary, pictures), *_evidence_sections(summary)),
    )


def _speed_sections(summary: RunSummary) -> list[Section]:
    """What the times say; a section without numbers is left out."""
    taxes = serving_taxes(summary)
    curves = [contender.curve for contender in summary.contenders if contender.curve]
    at_one_rate = _at_one_rate(summary)
    taxed = {"taxes": taxes, "crossover": crossover_words(crossovers(taxes)) if taxes else ""}
    parted = {"parts": PARTS, "part_colours": plots.PART_COLOURS}
    spread, rates = distribution_charts(summary), curve_charts(summary)
    sections = [
        (at_one_rate, _section(summary, "speed", "Time against resolution", line_charts(summary))),
        (at_one_rate, _section(summary, "parts", "Where the millisecond went", part_charts(summary), parted)),
        (taxes, _section(summary, "tax", "What serving costs beside the model", tax_charts(summary), taxed)),
        (curves, _section(summary, "rates", "Response time against throughput", rates, {"curves": curves})),
        (spread, _section(summary, "spread", "How response times are spread", spread)),
    ]
    return [section for wanted, section in sections if wanted]


def _at_one_rate(summary: RunSummary) -> bool:
    """Whether anything but ladders and searches was planned: these have curves in the place of figures."""
    return any(contender.curve is None for contender in summary.contenders)


def _answer_sections(summary: RunSummary, pictures: Mapping[Place, str]) -> list[Section]:
    """What the answers say."""
    galleries = {one.resolution_px: shown_first(one) for one in summary.confusions}
    confused = {"galleries": galleries, "pictures": pictures, "most": MOST_PICTURES}
    sections = [
        (_at_one_rate(summary), _section(summary, "right", "Were the answers right?")),
        (summary.confusions, _section(summary, "confusion", "Which cells are taken for which", context=confused)),
    ]
    return [section for wanted, section in sections if wanted]


def _evidence_sections(summary: RunSummary) -> list[Section]:
    """Why to believe it, and how to repeat it."""
    plan = summary.plan
    note = f"{SCATTER_NOTE} Records format {plan.records_version}."
    starts = Section(
        name="starts",
        title="Cold start and memory",
        template="tables.html",
        context={"tables": [start_ups(summary.cells)], "words": ()},
        in_the_end=True,
    )
    return [
        _section(summary, "verdicts", "Verdict of every cell", context={"fewest_requests": fewest_requests}),
        *([_section(summary, "parity", "Parity: is it the same network?")] if plan.artifacts else []),
        starts,
        environment_section({"seed": plan.seed}, note, (plan.command,), plan.environment),
    ]


def _section(
    summary: RunSummary,
    name: str,
    title: str,
    charts: list[Chart] | None = None,
    context: Mapping[str, Any] | None = None,
) -> Section:
    shared = {"summary": summary, "plan": summary.plan, "runtime_colours": runtime_colours(summary.runtimes)}
    return Section(
        name=name,
        title=title,
        template=f"load/{name}.html",
        context={**shared, **(context or {})},
        charts=tuple(charts or ()),
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
    specs = ((side, plots.distribution_chart(summary, scenario, side)) for side in summary.resolutions_px)
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
    specs = ((curve, plots.curve_chart(curve)) for curve in curves)
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
    spec = plots.tax_chart(summary, serving_taxes(summary))
    return (
        [drawn_chart("serving-tax", "Serving tax against resolution", "The table holds the numbers.", spec)]
        if spec
        else []
    )
