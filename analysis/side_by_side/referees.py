"""What a comparison of load generators says, in tables, as JSON and as a page."""

from __future__ import annotations

from pathlib import Path

import numpy as np
from rich.console import Group
from rich.table import Table

from analysis.markdown import cores_words, machine_line, markdown_table
from analysis.side_by_side.agreement import (
    CLIENT_NAMES,
    SCENARIO_NAMES,
    Agreement,
    ClientFigures,
    RefereeSummary,
    WatchingCost,
    shown,
    summarise_referees,
)
from analysis.side_by_side.tables import side_by_side_as_json, side_by_side_report, with_judgement
from analysis.statistics import Absent
from analysis.telling import Asked, Told
from analysis.word_tables import WordTable, terminal_table
from analysis.wording import FEW_PROMISE, runtime_name
from contract.blood_cells import NOTICE
from contract.records.referees import COMPARISON_FILE, SINGLE_STREAM, RefereeComparison
from contract.storage import read_json
from contract.timing import NS_PER_MS

_FIGURES = ("scenario", "client", "service", "p50 ms", "p99 ms", "inside, ms", "outside, ms", "requests")
_AGREEMENT = ("scenario", "referee", "", "ours − floor, ms", "referee's − floor, ms", "ratio", "limit", "")
_COSTS = ("cost of watching", "promised", "measured", "")
_QUOTES = ("client", "scenario", "service", "its own words", "rounds")


def _figures_row(figures: ClientFigures) -> list[str]:
    who = [SCENARIO_NAMES[figures.scenario], CLIENT_NAMES[figures.client], runtime_name(figures.service)]
    times = (figures.p50_ms, figures.p99_ms, figures.inside_ms, figures.outside_ms)
    return [*who, *map(shown, times), f"{figures.requests:,}"]


def _agreement_row(agreement: Agreement) -> list[str]:
    verdict = ("agrees" if agreement.agrees else "DISAGREES") + ("" if agreement.surely else ", not surely")
    if isinstance(agreement.ratio, Absent):
        verdict = agreement.ratio.reason
    return [
        *(SCENARIO_NAMES[agreement.scenario], CLIENT_NAMES[agreement.client], agreement.percentile),
        *(shown(figure) for figure in (agreement.ours_ms, agreement.theirs_ms, agreement.ratio)),
        f"± {agreement.limit:.0%}",
        verdict,
    ]


def _cost_row(cost: WatchingCost) -> list[str]:
    return [cost.what, cost.limit, cost.measured, "kept" if cost.good else "MISSED"]


def referees_words(summary: RefereeSummary) -> tuple[WordTable, ...]:
    """Figures, agreement, the cost of watching, and what clients say of themselves."""
    rows = {
        "What each client says: medians over rounds with 95 % intervals": (
            _FIGURES,
            map(_figures_row, summary.figures),
        ),
        "Agreement, each client's own floor taken off": (_AGREEMENT, map(_agreement_row, summary.agreements)),
        "Cost of watching": (_COSTS, map(_cost_row, summary.costs)),
        "In their own words": (_QUOTES, summary.quotes),
    }
    return tuple(
        WordTable(title=title, headings=headings, labels=len(headings), rows=tuple(map(tuple, said)))
        for title, (headings, said) in rows.items()
    )


def referee_tables(summary: RefereeSummary) -> tuple[Table, ...]:
    """For the terminal; what disagrees, and what is missed, is red."""
    return tuple(map(terminal_table, referees_words(summary)))


def referees_as_json(summary: RefereeSummary) -> str:
    """Figures, agreement and the cost of watching, with how they were measured."""
    return side_by_side_as_json(
        summary.comparison,
        figures=summary.figures,
        agreements=with_judgement(summary.agreements, "limit", "agrees", "surely"),
        costs=summary.costs,
    )


def referees_page(summary: RefereeSummary) -> str:
    """The same as Markdown, with how it was measured; bold stands for red."""
    comparison, environment = summary.comparison, summary.comparison.environment
    rounds = 1 + max(window.round for window in comparison.windows)
    return "\n".join(
        [
            "# Our load generator beside others",
            "",
            f"Made by `{comparison.command}` at {comparison.measured_at}. {NOTICE}",
            "",
            f"{runtime_name(comparison.runtime)} at {comparison.resolution_px} px with one thread on "
            f"{cores_words(comparison.service_cores)}, and the null service, the same door without a model; every "
            f"client on {cores_words(comparison.client_cores)}. All send one PNG of {comparison.image_bytes:,} bytes. "
            f"SingleStream is one connection; Server is Poisson arrivals at {comparison.arrival_rate_per_s:g}/s, timed "
            f"from the scheduled instant. {rounds} rounds in an order drawn anew each time; figures are their medians, "
            f"intervals resample whole rounds. {FEW_PROMISE} A client's floor is its median at the null service.",
            "",
            *markdown_table(_FIGURES, [_figures_row(each) for each in summary.figures]),
            "",
            *_inside_words(comparison),
            "## Agreement",
            "",
            *agreement_lines(summary),
            "",
            "## Cost of watching",
            "",
            *markdown_table(_COSTS, [_marked(_cost_row(each), each.good) for each in summary.costs]),
            "",
            "## In their own words",
            "",
            *markdown_table(_QUOTES, summary.quotes),
            "",
            *[f"- {CLIENT_NAMES[name]} was left out: it {why}" for name, why in comparison.missing.items()],
            f"Machine: {machine_line(environment)}",
            "",
        ]
    )


def _inside_words(comparison: RefereeComparison) -> list[str]:
    """How much the service itself changed from window to window; nothing where no client read it."""
    told = [
        window.service_p50_ns / NS_PER_MS
        for window in comparison.windows
        if window.scenario == SINGLE_STREAM and not window.is_floor and window.service_p50_ns is not None
    ]
    if not told:
        return []
    return [
        "Inside is the median of what the service says of the same requests (`Server-Timing`), outside what is left of "
        f"p50. One request at a time, the service itself took {min(told):.3f} to {max(told):.3f} ms in {len(told)} "
        "windows: what differs there is the machine, whoever asks.",
        "",
    ]


def agreement_lines(summary: RefereeSummary) -> list[str]:
    """The agreement table as Markdown; bold stands for red."""
    return markdown_table(_AGREEMENT, [_marked(_agreement_row(each), each.agrees) for each in summary.agreements])


def _marked(row: list[str], good: bool) -> list[str]:
    return row if good else [*row[:-1], f"**{row[-1]}**"]


def tell_referees(folder: Path, _: Asked) -> Told:
    """The comparison in ``folder``."""
    summary = summarise_referees(read_json(folder / COMPARISON_FILE, RefereeComparison), np.random.default_rng(0))
    kept = sum(cost.good for cost in summary.costs)
    promises = f"{kept} of {len(summary.costs)} promises about the cost of watching are kept."
    return Told(
        report=side_by_side_report(
            summary.comparison,
            name=folder.resolve().name,
            kind="referee",
            headline="Our load generator beside MLPerf LoadGen, wrk and raw sockets",
            answer=(agreement_sentence(summary), promises),
            tables=referees_words(summary),
        ),
        numbers=referees_as_json(summary),
        tables=Group(*referee_tables(summary)),
        page=lambda _: referees_page(summary),
    )


def agreement_sentence(summary: RefereeSummary) -> str:
    """How many percentiles agree, and of how many that is sure."""
    agreeing = [one for one in summary.agreements if one.agrees]
    surely = sum(one.surely for one in agreeing)
    return (
        f"{len(agreeing)} of {len(summary.agreements)} percentiles of other load generators agree with ours, {surely} "
        "of them with their whole interval, each client's own floor taken off."
    )
