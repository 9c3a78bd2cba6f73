"""Writes the README's result, its table, its picture and its sentences, from a run's records: no number is typed.

    .venv/bin/python docs/readme_result.py results/RUN

The picture is docs/images/answer.svg, and answer-dark.svg for readers who like it dark.
"""

from __future__ import annotations

import sys
from collections.abc import Iterator
from pathlib import Path

from analysis.load.answer import answer
from analysis.load.plots import time_chart
from analysis.load.runs import load_run
from analysis.load.summary import Contender, RunSummary, summarise
from analysis.markdown import machine_line, markdown_table
from analysis.plots import static_svg
from analysis.statistics import Estimate
from analysis.wording import listed, runtime_name, value_of
from contract.records.load import NULL_RUNTIME
from contract.storage import write_atomically

ROOT = Path(__file__).parents[1]
README, IMAGES = ROOT / "README.md", ROOT / "docs" / "images"
BEGIN, END = "<!-- The result: written by docs/readme_result.py -->", "<!-- The end of the result. -->"
TEXT_COLOURS = {"answer.svg": ("#1f2328", "white"), "answer-dark.svg": ("#e6edf3", "#0d1117")}
CHART_WIDTH_PX = 640


def result_section(summary: RunSummary) -> str:
    """The README's result as Markdown: picture, sentences, table, and where and how it was measured."""
    scenario = summary.scenarios[0]
    lines = [
        "<picture>",
        '  <source media="(prefers-color-scheme: dark)" srcset="docs/images/answer-dark.svg">',
        '  <img src="docs/images/answer.svg" alt="Median response time against resolution, a line per runtime">',
        "</picture>",
        "",
        *(f"> {sentence}\n>" for sentence in answer(summary)),
        "",
        *_order(summary, scenario),
        "Median response time in ms, one image after another; in brackets the time inside the model. "
        f"{_widest(summary, scenario)}The fastest in bold, with those that cannot be told from it.",
        "",
        *_table(summary, scenario),
        "",
        f"{machine_line(summary.plan.environment)} {summary.plan.created[:10]}, `{summary.plan.command}`.",
    ]
    return "\n".join(lines)


def pictures(summary: RunSummary) -> dict[str, str]:
    """The chart of the first scenario as SVG, by file name: for light pages and for dark ones."""
    chart = time_chart(summary, summary.scenarios[0], "response")
    if chart is None:
        raise SystemExit("error: no valid cell, so there is no answer. Next: hemabench run")
    return {
        name: static_svg(chart | {"background": ground}, CHART_WIDTH_PX).replace("currentColor", text)
        for name, (text, ground) in TEXT_COLOURS.items()
    }


def with_section(readme: str, section: str) -> str:
    """``readme`` with ``section`` between its two marks."""
    before, rest = readme.split(BEGIN)
    _, after = rest.split(END)
    return f"{before}{BEGIN}\n{section}\n{END}{after}"


def main(run: str) -> None:
    """Write the section and the pictures."""
    summary = summarise(load_run(Path(run)))
    for name, svg in pictures(summary).items():
        write_atomically(IMAGES / name, svg.encode())
    write_atomically(README, with_section(README.read_text(), result_section(summary)).encode())


def _contenders(summary: RunSummary, scenario: str) -> list[Contender]:
    return [one for one in summary.of_scenario(scenario) if one.runtime != NULL_RUNTIME]


def _table(summary: RunSummary, scenario: str) -> list[str]:
    contenders = _contenders(summary, scenario)
    runtimes = list(dict.fromkeys(one.runtime for one in contenders))
    cells = {(one.resolution_px, one.runtime): one for one in contenders}
    best = {lead.resolution_px: {lead.fastest, *lead.level_with} for lead in summary.leads if lead.scenario == scenario}
    rows = [
        [str(side), *(_cell(cells.get((side, name)), name in best.get(side, ())) for name in runtimes)]
        for side in summary.resolutions_px
    ]
    return markdown_table(("px", *map(runtime_name, runtimes)), rows)


def _cell(contender: Contender | None, is_best: bool) -> str:
    if contender is None or contender.figures is None:
        return contender.status if contender else "–"
    response = value_of(contender.figures.response_p50_ns, "bare_ms")
    inference = value_of(contender.figures.infer_p50_ns, "bare_ms")
    return f"{f'**{response}**' if is_best else response} ({inference})"


def _widest(summary: RunSummary, scenario: str) -> str:
    """How wide the widest interval of the table's times is, against its value."""
    figures = [one.figures.response_p50_ns for one in _contenders(summary, scenario) if one.figures]
    widths = [(one.high - one.low) / one.value for one in figures if isinstance(one, Estimate)]
    return f"The widest 95 % interval is {100 * max(widths):.1f} % of its value. " if widths else ""


def _order(summary: RunSummary, scenario: str) -> Iterator[str]:
    """Who leads at the smallest and at the largest resolution, where nobody leads at both; a tie is no order."""
    leads = [lead for lead in summary.leads if lead.scenario == scenario]
    ends = [(lead.resolution_px, [lead.fastest, *lead.level_with]) for lead in (*leads[:1], *leads[-1:])]
    if ends and not set(ends[0][1]) & set(ends[1][1]):
        said = (f"{listed(map(runtime_name, names))} at {side} px" for side, names in ends)
        yield f"Fastest: {'; '.join(said)}. Whoever measures one resolution has found a winner, and no answer."
        yield ""


if __name__ == "__main__":
    main(*sys.argv[1:])
