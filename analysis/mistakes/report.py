"""The report of a mistakes run: its chart, what mistakes do to answers, and each of them in words."""

from __future__ import annotations

from pathlib import Path

import numpy as np
from markupsafe import Markup

from analysis.html import Report, Section, environment_section, render
from analysis.mistakes import wording
from analysis.mistakes.chart import mistakes_chart, static_png
from analysis.mistakes.page import mistakes_page
from analysis.mistakes.recorded import load_mistakes
from analysis.mistakes.summary import MistakesSummary, summarise_mistakes
from analysis.mistakes.tables import ANSWER_HEADINGS, answer_rows, mistakes_as_json, mistakes_tables
from analysis.plots import static_svg
from analysis.telling import Asked, Told
from analysis.wording import runtime_name
from contract.records.mistakes import CHART_FILE, FRAMEWORKS


def tell_mistakes(folder: Path, _: Asked) -> Told:
    """The mistakes run in ``folder``; its chart goes beside the report as a picture, where there is a ranking."""
    run = load_mistakes(folder)
    summary = summarise_mistakes(run, np.random.default_rng(run.plan.seed))
    spec = mistakes_chart(summary)
    return Told(
        report=mistakes_report(summary),
        numbers=mistakes_as_json(summary),
        tables=mistakes_tables(summary),
        page=lambda picture: mistakes_page(summary, picture),
        files={} if spec is None else {CHART_FILE: static_png(spec)},
        picture=None if spec is None else CHART_FILE,
    )


def render_mistakes_report(summary: MistakesSummary) -> str:
    """The report's HTML; the same summary gives the same text."""
    return render(mistakes_report(summary))


def mistakes_report(summary: MistakesSummary) -> Report:
    """What a mistakes run has to say."""
    plan, rows = summary.plan, answer_rows(summary)
    sections = [
        _section(summary, "effects", "How the winner moves"),
        _section(summary, "words", "The mistakes"),
        environment_section({"seed": plan.seed}, "", (plan.command,), plan.environment),
    ]
    if rows:
        sections.insert(1, _section(summary, "answers", "What they do to the answers"))
    return Report(
        kind="mistakes",
        headline="The same network, three frameworks: which mistake picks which winner",
        about=(plan.run, plan.created, f"profile {plan.profile}"),
        commands=(plan.command,),
        environment=plan.environment,
        answer=tuple(wording.answer_sentences(summary)),
        notices=summary.warnings,
        sections=tuple(sections),
    )


def _section(summary: MistakesSummary, name: str, title: str) -> Section:
    spec = mistakes_chart(summary) if name == "effects" else None
    context = {
        "summary": summary,
        "plan": summary.plan,
        "svg": Markup("" if spec is None else static_svg(spec)),
        "frameworks": [(key, runtime_name(key)) for key in FRAMEWORKS],
        "wording": wording,
        "answer_headings": ANSWER_HEADINGS,
        "answer_rows": answer_rows(summary),
    }
    return Section(name=name, title=title, template=f"mistakes/{name}.html", context=context)
