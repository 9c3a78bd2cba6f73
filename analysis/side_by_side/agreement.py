"""Whether other load generators say the same of a service as ours, and what watching it costs: the figures."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np

from analysis.statistics import Absent, Estimate, Figure, FloatColumn, across_runs, fewest_requests, ratio_over_rounds
from analysis.wording import runtime_name
from contract.records.load import NULL_RUNTIME
from contract.records.referees import (
    LATEST_SEND_NS,
    LOADGEN,
    LOCUST,
    SERVER,
    SINGLE_STREAM,
    WIRE,
    WRK,
    RefereeComparison,
    RefereeScenario,
    RefereeWindow,
)
from contract.timing import NS_PER_MS

DRAWS = 2_000
CLIENT_NAMES = {LOCUST: "HemaBench (Locust)", LOADGEN: "MLPerf LoadGen", WRK: "wrk", WIRE: "raw sockets"}
SCENARIO_NAMES = {SINGLE_STREAM: "SingleStream", SERVER: "Server"}
LIMITS = {"p50": 0.05, "p99": 0.15}
MOST_ADDED_MS = 0.35
FEWEST_PER_S = 1_000

Measure = Callable[[RefereeWindow], int]
MEASURES: dict[str, Measure] = {"p50": lambda window: window.p50_ns, "p99": lambda window: window.p99_ns}


@dataclass(frozen=True, slots=True, kw_only=True)
class ClientFigures:
    """One client at one service in one scenario; each figure is the median over rounds.

    ``inside_ms`` is what the service says of the same requests, ``outside_ms`` what is left of p50: absent
    where the client does not read it.
    """

    client: str
    scenario: RefereeScenario
    service: str
    requests: int
    p50_ms: Estimate
    p99_ms: Estimate
    inside_ms: Figure
    outside_ms: Figure


@dataclass(frozen=True, slots=True, kw_only=True)
class Agreement:
    """What is left of one percentile when each client's own floor is taken off, ours over the referee's."""

    scenario: RefereeScenario
    client: str
    percentile: str
    ours_ms: Figure
    theirs_ms: Figure
    ratio: Figure

    @property
    def limit(self) -> float:
        """How far from 1 the ratio may be."""
        return LIMITS[self.percentile]

    @property
    def agrees(self) -> bool:
        """Whether the ratio is within the limit; False where there is none."""
        return isinstance(self.ratio, Estimate) and self._within(self.ratio.value)

    @property
    def surely(self) -> bool:
        """Whether all of the ratio's interval is on the side that ``agrees`` names."""
        ratio = self.ratio
        if not isinstance(ratio, Estimate):
            return False
        if self.agrees:
            return self._within(ratio.low) and self._within(ratio.high)
        return ratio.low > 1 + self.limit or ratio.high < 1 - self.limit

    def _within(self, ratio: float) -> bool:
        return abs(ratio - 1) <= self.limit


@dataclass(frozen=True, slots=True, kw_only=True)
class WatchingCost:
    """A promise about our own generator: what it adds, or what it holds. ``good`` says whether it is kept."""

    what: str
    limit: str
    measured: str
    good: bool


@dataclass(frozen=True, slots=True, kw_only=True)
class RefereeSummary:
    """All that is said about a comparison."""

    comparison: RefereeComparison
    figures: tuple[ClientFigures, ...]
    agreements: tuple[Agreement, ...]
    costs: tuple[WatchingCost, ...]
    quotes: tuple[tuple[str, ...], ...]


def summarise_referees(comparison: RefereeComparison, rng: np.random.Generator) -> RefereeSummary:
    """Figures, agreement, and the cost of watching; ``rng`` resamples whole rounds."""
    cells = dict.fromkeys((window.scenario, window.client, window.service) for window in comparison.windows)
    others = dict.fromkeys((scenario, client) for scenario, client, _ in sorted(cells, key=_order) if client != LOCUST)
    return RefereeSummary(
        comparison=comparison,
        figures=tuple(_figures(_windows(comparison, *cell), rng) for cell in sorted(cells, key=_order)),
        agreements=tuple(_agreement(comparison, *other, share, rng) for other in others for share in MEASURES),
        costs=(*_added(comparison, rng), _held(comparison)),
        quotes=tuple(_quotes(comparison)),
    )


def _order(cell: tuple[str, str, str]) -> tuple[int, int, bool]:
    scenario, client, service = cell
    return list(SCENARIO_NAMES).index(scenario), list(CLIENT_NAMES).index(client), service != NULL_RUNTIME


def _windows(comparison: RefereeComparison, scenario: str, client: str, service: str) -> list[RefereeWindow]:
    wanted = (scenario, client, service)
    found = (each for each in comparison.windows if (each.scenario, each.client, each.service) == wanted)
    return sorted(found, key=lambda window: window.round)


def _figures(windows: list[RefereeWindow], rng: np.random.Generator) -> ClientFigures:
    p50, p99 = (
        across_runs([measure(each) / NS_PER_MS for each in windows], rng, DRAWS) for measure in MEASURES.values()
    )
    first, inside, outside = windows[0], *_inside_and_outside(windows)
    return ClientFigures(
        client=first.client,
        scenario=first.scenario,
        service=first.service,
        requests=sum(window.requests for window in windows),
        p50_ms=p50,
        p99_ms=p99,
        inside_ms=across_runs(inside, rng, DRAWS) if inside else Absent("not read"),
        outside_ms=across_runs(outside, rng, DRAWS) if outside else Absent("not read"),
    )


def _inside_and_outside(windows: list[RefereeWindow]) -> tuple[list[float], list[float]]:
    """Per round the service's own median, and the client's less that; both empty where a round has none."""
    pairs = [(window.service_p50_ns, window.p50_ns) for window in windows]
    inside = [own / NS_PER_MS for own, _ in pairs if own is not None]
    outside = [(p50 - own) / NS_PER_MS for own, p50 in pairs if own is not None]
    return (inside, outside) if len(inside) == len(pairs) else ([], [])


def _agreement(
    comparison: RefereeComparison, scenario: RefereeScenario, client: str, share: str, rng: np.random.Generator
) -> Agreement:
    ours, theirs = (_net_ms(comparison, scenario, who, share) for who in (LOCUST, client))
    if isinstance(ours, Absent) or isinstance(theirs, Absent):
        why = next(one for one in (theirs, ours) if isinstance(one, Absent))
        return Agreement(scenario=scenario, client=client, percentile=share, ours_ms=why, theirs_ms=why, ratio=why)
    return Agreement(
        scenario=scenario,
        client=client,
        percentile=share,
        ours_ms=across_runs(list(ours), rng, DRAWS),
        theirs_ms=across_runs(list(theirs), rng, DRAWS),
        ratio=ratio_over_rounds(ours, theirs, rng, DRAWS),
    )


def _net_ms(comparison: RefereeComparison, scenario: str, client: str, share: str) -> FloatColumn | Absent:
    """Per round, the percentile at the service less the median at the null service.

    The median for p99 as well: what a client costs is there in every request, while the tail
    of the null service is the machine's, and would be taken off twice.
    """
    floors = _windows(comparison, scenario, client, NULL_RUNTIME)
    loaded = _windows(comparison, scenario, client, comparison.runtime)
    if not floors or len(floors) != len(loaded):
        return Absent("not measured")
    asked, needed = sum(window.requests for window in loaded), fewest_requests(0.99)
    if share == "p99" and asked < needed:
        return Absent(f"{asked} of the {needed} requests that p99 takes", asked)
    measure = MEASURES[share]
    return np.array([measure(each) - floor.p50_ns for each, floor in zip(loaded, floors, strict=True)]) / NS_PER_MS


def _added(comparison: RefereeComparison, rng: np.random.Generator) -> list[WatchingCost]:
    """What a request through our generator takes more than through another, at one connection."""
    costs = []
    for client in (WRK, WIRE):
        ours, theirs = (
            np.array([window.p50_ns for window in _windows(comparison, SINGLE_STREAM, who, NULL_RUNTIME)]) / NS_PER_MS
            for who in (LOCUST, client)
        )
        if len(ours) == 0 or len(ours) != len(theirs):
            continue
        added = across_runs(list(ours - theirs), rng, DRAWS)
        costs.append(
            WatchingCost(
                what=f"added to a null round trip, over {CLIENT_NAMES[client]}, ms",
                limit=f"< {MOST_ADDED_MS:g}",
                measured=shown(added),
                good=added.value < MOST_ADDED_MS,
            )
        )
    return costs


def _held(comparison: RefereeComparison) -> WatchingCost:
    """The highest rate before the first that was not kept to."""
    held, missed = 0.0, None
    for step in comparison.generator_steps:
        if not step.held:
            missed = step
            break
        held = step.rate_per_s
    if missed is None:
        how = "the null service gave out before the generator"
    elif missed.send_delay_p99_ns > LATEST_SEND_NS:
        how = f"at {missed.rate_per_s:,.0f}/s the send delay's p99 was {missed.send_delay_p99_ns / NS_PER_MS:.2f} ms"
    else:
        how = f"at {missed.rate_per_s:,.0f}/s {missed.dropped + missed.failures} went unanswered by the null service"
    return WatchingCost(
        what=f"requests/s that one generator core holds with p99 of the send delay ≤ {LATEST_SEND_NS / NS_PER_MS:g} ms",
        limit=f"≥ {FEWEST_PER_S:,}",
        measured=f"{held:,.0f} ({how})" if held else f"none ({how})",
        good=held >= FEWEST_PER_S,
    )


def _quotes(comparison: RefereeComparison) -> list[tuple[str, ...]]:
    """What clients say of themselves, each wording once with the number of rounds that had it."""
    said = [(window.client, window.scenario, window.service, window.said) for window in comparison.windows]
    return [
        (CLIENT_NAMES[client], SCENARIO_NAMES[scenario], runtime_name(service), words, f"{said.count(key)}")
        for key in sorted(dict.fromkeys(said), key=lambda key: _order((key[1], key[0], key[2])))
        for client, scenario, service, words in (key,)
        if words is not None
    ]


def shown(figure: Figure) -> str:
    """``1.928 (1.516–2.091)``, or a dash."""
    if isinstance(figure, Absent):
        return "–"
    return f"{figure.value:,.3f} ({figure.low:,.3f}–{figure.high:,.3f})"
