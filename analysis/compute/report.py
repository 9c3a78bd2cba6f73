"""The report of a compute run: one HTML file that needs no network and, for its tables, no JavaScript."""

from __future__ import annotations

from pathlib import Path

from markupsafe import Markup

from analysis import plots
from analysis.compute.claims import answered_claims, fastest_sentences, harness_sentence
from analysis.compute.plots import growth_chart, roofline_chart
from analysis.compute.summary import ComputeSummary
from analysis.compute.words import all_tables, findings
from analysis.report import Chart, drawn_chart, html_environment, inside_a_script
from contract.blood_cells import NOTICE
from contract.storage import write_atomically


def save_compute_report(summary: ComputeSummary, path: Path) -> Path:
    """Write the report of ``summary`` to ``path``, atomically."""
    write_atomically(path, render_compute_report(summary).encode())
    return path


def render_compute_report(summary: ComputeSummary) -> str:
    """The report's HTML; the same summary gives the same text."""
    return (
        html_environment()
        .get_template("compute.html")
        .render(
            plan=summary.run.plan,
            sentences=[*fastest_sentences(summary), harness_sentence(summary)],
            claims=answered_claims(summary),
            tables=all_tables(summary),
            findings=findings(summary),
            charts=charts(summary),
            notice=NOTICE,
            javascript=Markup(inside_a_script(plots.javascript())),
        )
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
        drawn.append((f"roofline-{threads}", f"Under the roof, {ends}", roofline_chart(summary, threads)))
    return [drawn_chart(name, title, "The tables hold the numbers.", spec) for name, title, spec in drawn if spec]
