"""The answer of a run in three sentences, made of its numbers and of nothing else."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from itertools import groupby
from typing import TypeVar

from analysis.load.figures import Figures
from analysis.load.sentences import curve_words
from analysis.load.summary import Contender, Lead, RunSummary
from analysis.statistics import Absent, Estimate, Figure
from analysis.wording import interval_of, listed, part_name, runtime_name, scenario_name, value_of
from contract.records.load import NULL_RUNTIME
from contract.timing import PARTS

T = TypeVar("T")
# Two services that start 8 % apart now and then, and are alike, had a sole "fastest" in 59 of 100 simulated runs of one
# start, in 19 of two, in 5 of three and more.
FEWEST_STARTS = 3


def answer(summary: RunSummary) -> tuple[str, str, str]:
    """Who answers fastest and by how much; what takes the time; how far to trust it."""
    return speed_sentence(summary), parts_sentence(summary), trust_sentence(summary)


def speed_sentence(summary: RunSummary) -> str:
    """Who has the shortest median response time where; those within the noise are named together."""
    scenario = summary.scenarios[0] if summary.scenarios else ""
    leads = [lead for lead in summary.leads if lead.scenario == scenario]
    if curves := [contender.curve for contender in summary.contenders if contender.curve]:
        where = (f"{runtime_name(curve.runtime)} at {curve.resolution_px} px: {curve_words(curve)}" for curve in curves)
        return f"{'. '.join(where)}."
    if not leads:
        return "No cell of this run is valid, so it says nothing about speed."
    # The null service is the floor, and competes with nobody.
    contenders = [one for one in summary.of_scenario(scenario) if one.figures and one.runtime != NULL_RUNTIME]
    sizes = sorted(contender.requests for contender in contenders)
    clauses = [_clause(list(group)) for _, group in groupby(leads, key=lambda lead: (lead.fastest, lead.level_with))]
    return (
        f"Shortest median response time ({_load(contenders)}; {_starts(leads)}; n = {_span(sizes)} requests per "
        f"contender, 95 % intervals in brackets): {'; '.join(clauses)}."
    )


def parts_sentence(summary: RunSummary) -> str:
    """What share of the round trip the model itself takes at the lowest and at the highest resolution."""
    scenario = summary.scenarios[0] if summary.scenarios else ""
    contenders = [contender for contender in summary.of_scenario(scenario) if contender.figures]
    clauses = []
    for resolution_px in dict.fromkeys(_ends([contender.resolution_px for contender in contenders])):
        figures = [c.figures for c in contenders if c.figures and c.resolution_px == resolution_px]
        if clause := _share_clause(resolution_px, figures):
            clauses.append(clause)
    if not clauses and any(contender.curve for contender in summary.contenders):
        return "Where the time goes is told by a load at one rate: hemabench load --arrival-rate."
    if not clauses:
        return "Where the time goes is not known: no valid cell carries the service's own timing."
    return f"The model itself takes {' and '.join(clauses)}; the intervals of all runtimes are included."


def trust_sentence(summary: RunSummary) -> str:
    """How many cells count, whether HTTP changed any answer, and how often the answers are right."""
    total = len(summary.cells)
    parts = [f"{summary.count('valid')} of {total} cells are valid"]
    if invalid := summary.count("invalid"):
        parts.append(f"{invalid} invalid")
    if missing := summary.count("missing"):
        parts.append(f"{missing} missing")
    return f"{', '.join(parts)}{_agreement_clause(summary)}{_accuracy_clause(summary)}."


def _load(contenders: Sequence[Contender]) -> str:
    """The scenario in words, with its users where all contenders had as many."""
    name = scenario_name(contenders[0].scenario).lower()
    users = {cell.scenario.users for contender in contenders for cell in contender.cells if cell.scenario}
    if contenders[0].scenario == "closed_loop" and len(users) == 1:
        count = users.pop()
        return f"{name}, {count} user{'s' if count > 1 else ''}"
    return name


def _starts(leads: Sequence[Lead]) -> str:
    """How often each service was started: of one or two starts nobody knows what another would say."""
    starts = sorted({lead.starts for lead in leads})
    said = "one start of each service" if starts == [1] else f"{_span(starts)} starts of each service"
    return said if starts[0] >= FEWEST_STARTS else f"{said}, and another may rank them otherwise"


def _clause(leads: Sequence[Lead]) -> str:
    """One clause for neighbouring resolutions with the same outcome."""
    first = leads[0]
    where = f"at {listed(lead.resolution_px for lead in leads)} px"
    if first.level_with:
        names = listed(runtime_name(runtime) for runtime in (first.fastest, *first.level_with))
        return f"{names} cannot be told apart {where}"
    name = runtime_name(first.fastest)
    ratios = [
        f"{value_of(lead.ratio, 'plain')} ({interval_of(lead.ratio, 'plain')}) times as fast as "
        f"{runtime_name(lead.versus)} at {lead.resolution_px} px"
        for lead in dict.fromkeys(_ends(leads))
        if lead.versus is not None
    ]
    return f"{name} {where}, {' and '.join(ratios)}" if ratios else f"{name} {where}, the only one measured"


def _share_clause(resolution_px: int, figures: Sequence[Figures]) -> str | None:
    taxes = [figure.serving_tax for figure in figures if isinstance(figure.serving_tax, Estimate)]
    if not taxes:
        return None
    low, high = (1 / max(tax.high for tax in taxes), 1 / min(tax.low for tax in taxes))
    others = Counter(_largest_other_part(figure) for figure in figures).most_common(1)[0][0]
    return (
        f"{_range_in_percent(low, high)} of the round trip at {resolution_px} px "
        f"(most of the rest: {part_name(others)})"
    )


def _largest_other_part(figures: Figures) -> str:
    others = {part: figures.parts_p50_ns[part] for part in PARTS if part != "infer"}
    others["network"] = figures.network_p50_ns
    return max(others, key=lambda part: _value(others[part]))


def _agreement_clause(summary: RunSummary) -> str:
    compared = [c.figures.agreement for c in summary.contenders if c.figures and c.figures.agreement]
    if not compared:
        return "; no answer was compared with in-process predictions"
    # A valid cell has no differing image: one would have made it invalid.
    unknown = sum(agreement.unknown for agreement in compared)
    images = sum(agreement.agreeing for agreement in compared)
    return (
        f"; over HTTP every one of {images:,} image answers (distinct images, summed over the valid contenders; a cell "
        "with another answer is invalid) equals the in-process prediction"
        f"{f'; {unknown:,} have none to compare with' if unknown else ''}"
    )


def _accuracy_clause(summary: RunSummary) -> str:
    if not summary.plan.data_is_real:
        return "; the images are rendered, so speed is measured and accuracy is not"
    shares = [c.figures.accuracy for c in summary.contenders if c.figures and c.runtime != NULL_RUNTIME]
    known = [share for share in shares if isinstance(share, Estimate)]
    if not known:
        reasons = {share.reason for share in shares if isinstance(share, Absent)}
        return "".join(f"; accuracy is not told: {reason}" for reason in sorted(reasons))
    sizes = sorted(share.n for share in known)
    return (
        f"; the answers are right for {100 * min(share.low for share in known):.1f} to "
        f"{100 * max(share.high for share in known):.1f} % of the images (95 % intervals included, "
        f"n = {_span(sizes)} distinct images per contender, "
        f"{summary.plan.data_description}, {summary.plan.data_split} images)"
    )


def _ends(items: Sequence[T]) -> tuple[T, ...]:
    return (items[0], items[-1]) if items else ()


def _range_in_percent(low: float, high: float) -> str:
    """``36 to 61 %``, or ``61 %`` where the two ends read the same."""
    return " to ".join(dict.fromkeys(f"{100 * end:.0f}" for end in (low, high))) + " %"


def _span(sizes: Sequence[int]) -> str:
    """``300 to 1,500`` for ascending ``sizes``, or the only one."""
    return " to ".join(f"{size:,}" for size in dict.fromkeys(_ends(sizes)))


def _value(figure: Figure) -> float:
    return 0.0 if isinstance(figure, Absent) else figure.value
