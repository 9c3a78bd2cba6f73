"""The report of a compute run: the claims it answers, time and limit as charts, and every table."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from analysis.compute.claims import answered_claims, fastest_sentences, harness_sentence
from analysis.compute.page import compute_page
from analysis.compute.plots import growth_chart, roofline_chart
from analysis.compute.runs import load_compute_run
from analysis.compute.summary import ComputeSummary, summarise_compute
from analysis.compute.tables import compute_as_json, compute_tables
from analysis.compute.words import all_tables, findings
from analysis.html import Chart, Report, Section, drawn_chart, environment_section, render, tables_section
from analysis.telling import Asked, Told
from analysis.word_tables import WordTable
from analysis.wording import runtime_name

METHOD = """Fresh processes, pinned before their framework was imported, lived side by side and took turns in random
order; all but one were asleep."""


def tell_compute(folder: Path, asked: Asked) -> Told:
    """The compute run in ``folder``."""
    summary = summarise_compute(load_compute_run(folder), baseline=asked.baseline)
    return Told(
        report=compute_report(summary),
        numbers=compute_as_json(summary),
        tables=compute_tables(summary),
        page=lambda _: compute_page(summary),
        sound=not summary.run.missing and all(cell.valid for cell in summary.cells),
    )


def render_compute_report(summary: ComputeSummary) -> str:
    """The report's HTML; the same summary gives the same text."""
    return render(compute_report(summary))


def compute_report(summary: ComputeSummary) -> Report:
    """What a compute run has to say."""
    plan = summary.run.plan
    valid = sum(cell.valid for cell in summary.cells)
    return Report(
        kind="compute",
        headline="Pure compute: the same network, host array in, host logits out",
        about=(plan.run, plan.created, f"profile {plan.profile}", f"device {plan.device}"),
        commands=(plan.command,),
        environment=plan.environment,
        answer=(*fastest_sentences(summary), harness_sentence(summary)),
        verdicts={"valid": valid, "invalid": len(summary.cells) - valid},
        sections=tuple(_sections(summary)),
    )


def _sections(summary: ComputeSummary) -> Sequence[Section]:
    plan, drawn = summary.run.plan, charts(summary)
    claims, lines = answered_claims(summary), findings(summary) or ["Every cell is valid, without a warning."]
    environment = environment_section(
        {"seed": plan.seed, "input": plan.input},
        f"Records format {plan.compute_version}.",
        (plan.command,),
        plan.environment,
    )
    return [
        _section("claims", "What a study claims, and what this run says", claims=claims),
        *([_section("charts", "Time and limit", drawn, method=METHOD)] if drawn else []),
        *(tables_section(f"table-{n}", table.title, [table]) for n, table in enumerate(all_tables(summary), start=1)),
        _section("findings", "What to know of the cells", lines=lines),
        tables_section("artifacts", "Artifacts", [artifacts_table(summary)]),
        environment,
    ]


def _section(name: str, title: str, charts: Sequence[Chart] = (), **context: object) -> Section:
    return Section(name=name, title=title, template=f"compute/{name}.html", context=context, charts=tuple(charts))


def artifacts_table(summary: ComputeSummary) -> WordTable:
    """What was measured, by digest."""
    plan = summary.run.plan
    return WordTable(
        title="Artifacts",
        note="The first call of every shape was held against a reference network in float64 NumPy before anything was "
        "timed.",
        headings=("runtime", "px", "format", "division", "precision", "digest", "weights"),
        labels=7,
        rows=tuple(
            (
                *(runtime_name(one.runtime), str(one.resolution_px), one.format),
                *(plan.divisions[one.runtime], plan.precisions[one.runtime]),
                *(one.digest[:12], one.weights_digest[:12]),
            )
            for one in plan.artifacts
        ),
    )


def charts(summary: ComputeSummary) -> list[Chart]:
    """For every number of threads: time against resolution at the least and the largest batch, and the roofline."""
    batches = sorted({cell.shape.batch for cell in summary.cells})
    drawn = []
    for threads in summary.threads:
        ends = f"{threads} thread{'s' if threads != 1 else ''}"
        for batch in dict.fromkeys((batches[0], batches[-1])):
            title = f"Median call against resolution, batch {batch}, {ends}"
            drawn.append((f"growth-{threads}-{batch}", title, growth_chart(summary, threads, batch)))
        drawn.append((f"roofline-{threads}", f"Roofline, {ends}", roofline_chart(summary, threads)))
    return [drawn_chart(name, title, "The tables hold the numbers.", spec) for name, title, spec in drawn if spec]
