"""What curves, differences and taxes say, in words that terminal, page and report share."""

from __future__ import annotations

from collections.abc import Sequence
from itertools import groupby

from analysis.differences import Difference
from analysis.load.curve import Curve
from analysis.load.judging.stationarity import WINDOW_TOLERANCE
from analysis.load.summary import CellSummary, Contender
from analysis.load.tax import Crossover
from analysis.wording import listed, runtime_name


def curve_words(curve: Curve) -> str:
    """How far the rate may rise: the knee of a ladder, the bounds that a search found."""
    passed, missed, limit_s = curve.highest_passed, curve.lowest_missed, curve.scenario.p99_limit_s
    if passed is None:
        lowest = f" at {missed.rate_per_s:,.4g}/s" if missed else ""
        return f"the service did not carry the lowest rate{lowest}"
    above = f", and did not carry {missed.rate_per_s:,.4g}/s" if missed else ""
    if limit_s is not None:
        return f"{passed.rate_per_s:,.4g}/s with p99 <= {1_000 * limit_s:g} ms at 99 % confidence{above}"
    knee = f"; the knee is at {curve.knee.rate_per_s:,.4g}/s" if curve.knee else ""
    return f"it keeps up with {passed.rate_per_s:,.4g}/s{above}{knee}"


def difference_words(difference: Difference | None) -> str:
    """``faster, p = 0.024``; empty where there is nothing to say, or too few runs to say it."""
    if difference is None or difference.p_value is None:
        return ""
    says = {"not shown": "no difference shown", "below 3 %": "less than 3 % apart"}.get(
        difference.says, difference.says
    )
    return f"{says}, p = {difference.p_value:.2g}"


def offered_words(contenders: Sequence[Contender]) -> str:
    """That arrivals came at unlike rates, where they did: a campaign's open loop takes each service at its own."""
    scenarios = [cell.scenario for contender in contenders for cell in contender.cells if cell.scenario]
    rates = {scenario.arrival_rate_per_s for scenario in scenarios if scenario.arrival_rate_per_s is not None}
    if len(rates) < 2:
        return ""
    return (
        f"Every service was offered rates of its own, between {min(rates):,.3g} and {max(rates):,.3g}/s: its times, "
        "and their ratio to another's, are not those at one rate."
    )


def steadiness_words(cells: Sequence[CellSummary]) -> str:
    """How many of the valid cells perf_analyzer would call stable; empty where none has enough requests."""
    windows = [cell.windows for cell in cells if cell.verdict.status == "valid" and cell.windows is not None]
    if not windows:
        return ""
    steady = sum(one.steady for one in windows)
    return (
        f"Medians of three windows in a row are within {WINDOW_TOLERANCE:.0%} of their mean in {steady} of "
        f"{len(windows)} valid cells."
    )


def crossover_words(crossovers: Sequence[Crossover]) -> str:
    """From which resolution on the model outweighs the server, runtimes with the same answer together."""
    clauses = []
    by_place = sorted(
        crossovers, key=lambda one: (one.from_px is None, one.from_px or 0, one.surely_not, one.measured_px[-1])
    )
    for place, group in groupby(by_place, key=_place):
        clauses.append(f"{listed(runtime_name(one.runtime) for one in group)}: {place}")
    measured = listed(dict.fromkeys(side for one in crossovers for side in one.measured_px))
    return f"The model outweighs all the rest of the round trip (of {measured} px): {'; '.join(clauses)}."


def _place(crossover: Crossover) -> str:
    if crossover.from_px is not None:
        return f"from {crossover.from_px} px on"
    return f"not {'' if crossover.surely_not else 'for certain '}at {crossover.measured_px[-1]} px"
