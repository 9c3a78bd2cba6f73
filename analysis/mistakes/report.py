"""The report of a mistakes run: one HTML file without JavaScript, and its chart as a picture."""

from __future__ import annotations

from pathlib import Path

from markupsafe import Markup

from analysis.mistakes import wording
from analysis.mistakes.chart import mistakes_chart, static_png, static_svg
from analysis.mistakes.summary import MistakesSummary
from analysis.mistakes.tables import ANSWER_HEADINGS, answer_rows
from analysis.report import html_environment
from analysis.wording import runtime_name
from contract.blood_cells import NOTICE
from contract.records.load import REPORT_FILE
from contract.records.mistakes import CHART_FILE, FRAMEWORKS
from contract.storage import write_atomically


def save_mistakes_report(summary: MistakesSummary, folder: Path) -> Path:
    """Write report.html and, where there is a ranking, the chart beside it; returns where the report is."""
    spec = mistakes_chart(summary)
    if spec is not None:
        write_atomically(folder / CHART_FILE, static_png(spec))
    write_atomically(folder / REPORT_FILE, render_mistakes_report(summary).encode())
    return folder / REPORT_FILE


def render_mistakes_report(summary: MistakesSummary) -> str:
    """The report's HTML; the same summary gives the same text."""
    spec = mistakes_chart(summary)
    return (
        html_environment()
        .get_template("mistakes.html")
        .render(
            summary=summary,
            plan=summary.plan,
            answer=wording.answer_sentences(summary),
            svg=Markup("" if spec is None else static_svg(spec)),
            charts=(),
            frameworks=[(name, runtime_name(name)) for name in FRAMEWORKS],
            wording=wording,
            answer_headings=ANSWER_HEADINGS,
            answer_rows=answer_rows(summary),
            notice=NOTICE,
        )
    )
