"""Our service beside its peers: estimates over rounds, the targets, a table for the terminal and a page for docs."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from rich.console import Group
from rich.table import Table

from analysis.markdown import cores_words, libraries_line, machine_line, markdown_table
from analysis.side_by_side.tables import side_by_side_as_json, side_by_side_report, with_judgement
from analysis.statistics import Absent, Estimate, Figure, across_runs, ratio_over_rounds
from analysis.telling import Asked, Told
from analysis.word_tables import WordTable, terminal_table
from analysis.wording import FEW_PROMISE
from contract.blood_cells import NOTICE
from contract.records.peers import BARE, EMPTY, LITSERVE, OURS, PEERS_FILE, TEXTBOOK, PeerComparison, PeerWindow
from contract.storage import read_json
from contract.timing import NS_PER_MS, NS_PER_S, NS_PER_US

DRAWS = 2_000
NAMES = {
    OURS: "HemaBench",
    BARE: "bare uvicorn + Starlette",
    TEXTBOOK: "textbook BentoML",
    LITSERVE: "LitServe",
    EMPTY: "uvicorn + Starlette, empty answer",
}


@dataclass(frozen=True, slots=True, kw_only=True)
class PeerFigures:
    """One contender at one number of connections; each is the median over rounds, with its interval."""

    contender: str
    connections: int
    requests: int
    p50_ms: Estimate
    p99_ms: Estimate
    throughput_per_s: Estimate
    cpu_us: Estimate


@dataclass(frozen=True, slots=True, kw_only=True)
class Target:
    """A ratio that is promised. ``holds`` judges the value; ``surely`` says that the whole interval agrees."""

    what: str
    ratio: Figure
    limit: float
    at_most: bool

    @property
    def holds(self) -> bool:
        """Whether the ratio is within the limit; False where there is none."""
        return isinstance(self.ratio, Estimate) and self._within(self.ratio.value)

    @property
    def surely(self) -> bool:
        """Whether all of the ratio's interval is on the side that ``holds`` names."""
        ratio = self.ratio
        return isinstance(ratio, Estimate) and self._within(ratio.low) == self._within(ratio.high) == self.holds

    def _within(self, ratio: float) -> bool:
        return ratio <= self.limit if self.at_most else ratio >= self.limit


@dataclass(frozen=True, slots=True, kw_only=True)
class PeerSummary:
    """All that is said about a comparison."""

    comparison: PeerComparison
    figures: tuple[PeerFigures, ...]
    targets: tuple[Target, ...]


Measure = Callable[[PeerWindow], float]


def p50_ms(window: PeerWindow) -> float:
    """The median round trip."""
    return float(np.percentile(window.round_trips_ns, 50)) / NS_PER_MS


def p99_ms(window: PeerWindow) -> float:
    """The 99th percentile of the round trips."""
    return float(np.percentile(window.round_trips_ns, 99)) / NS_PER_MS


def throughput_per_s(window: PeerWindow) -> float:
    """Answers per second of the window."""
    return len(window.round_trips_ns) / window.elapsed_ns * NS_PER_S


def cpu_us(window: PeerWindow) -> float:
    """Processor time of all the contender's processes, per request."""
    return window.cpu_ns / len(window.round_trips_ns) / NS_PER_US


def p99_over_p50(window: PeerWindow) -> float:
    """The tail of one window against its own middle."""
    return p99_ms(window) / p50_ms(window)


def summarise_peers(comparison: PeerComparison, rng: np.random.Generator) -> PeerSummary:
    """Figures of every contender and the targets of our own; ``rng`` resamples whole rounds."""
    cells = dict.fromkeys((window.connections, window.contender) for window in comparison.windows)
    figures = tuple(_figures(_windows(comparison, name, n), rng) for n, name in sorted(cells, key=_order))
    return PeerSummary(comparison=comparison, figures=figures, targets=tuple(_targets(comparison, rng)))


def _order(cell: tuple[int, str]) -> tuple[int, int]:
    connections, name = cell
    return connections, list(NAMES).index(name)


def _windows(comparison: PeerComparison, name: str, connections: int) -> list[PeerWindow]:
    found = (each for each in comparison.windows if (each.contender, each.connections) == (name, connections))
    return sorted(found, key=lambda window: window.round)


def _figures(windows: Sequence[PeerWindow], rng: np.random.Generator) -> PeerFigures:
    def over_rounds(measure: Measure) -> Estimate:
        return across_runs([measure(window) for window in windows], rng, DRAWS)

    return PeerFigures(
        contender=windows[0].contender,
        connections=windows[0].connections,
        requests=sum(len(window.round_trips_ns) for window in windows),
        p50_ms=over_rounds(p50_ms),
        p99_ms=over_rounds(p99_ms),
        throughput_per_s=over_rounds(throughput_per_s),
        cpu_us=over_rounds(cpu_us),
    )


def _targets(comparison: PeerComparison, rng: np.random.Generator) -> list[Target]:
    few, many = min(connections := _connections(comparison)), max(connections)

    def ratio(measure: Measure, peer: str, at: int) -> Figure:
        return _ratio(comparison, measure, peer, at, rng)

    targets = [
        Target(what="p50 ÷ bare, 1 connection", ratio=ratio(p50_ms, BARE, few), limit=1.15, at_most=True),
        Target(what="requests/s ÷ bare", ratio=ratio(throughput_per_s, BARE, many), limit=0.85, at_most=False),
        Target(what="p50 ÷ textbook, 1 connection", ratio=ratio(p50_ms, TEXTBOOK, few), limit=0.45, at_most=True),
    ]
    for at in connections:
        tails = [p99_over_p50(window) for window in _windows(comparison, OURS, at)]
        tail: Figure = across_runs(tails, rng, DRAWS) if tails else Absent("not measured")
        targets.append(Target(what=f"p99 ÷ p50, connections: {at}", ratio=tail, limit=2.0, at_most=True))
    for peer, limit in ((LITSERVE, 1.3), (TEXTBOOK, 2.5)):
        what = f"requests/s per core ÷ {NAMES[peer]}"
        targets.append(Target(what=what, ratio=ratio(throughput_per_s, peer, many), limit=limit, at_most=False))
    return targets


def _connections(comparison: PeerComparison) -> list[int]:
    return sorted({window.connections for window in comparison.windows})


def _ratio(comparison: PeerComparison, measure: Measure, peer: str, at: int, rng: np.random.Generator) -> Figure:
    """Ours over the peer's: medians over rounds, whole rounds resampled, both contenders of a round together."""
    ours, theirs = (np.array([measure(each) for each in _windows(comparison, name, at)]) for name in (OURS, peer))
    if len(ours) == 0 or len(ours) != len(theirs):
        return Absent(f"{NAMES[peer]} was not measured")
    return ratio_over_rounds(ours, theirs, rng, DRAWS)


_HEADINGS = ("connections", "service", "p50 ms", "p99 ms", "requests/s", "CPU µs per request", "requests")


def _row(figures: PeerFigures) -> list[str]:
    return [
        str(figures.connections),
        NAMES[figures.contender],
        _shown(figures.p50_ms, 3),
        _shown(figures.p99_ms, 2),
        _shown(figures.throughput_per_s, 0),
        _shown(figures.cpu_us, 0),
        f"{figures.requests:,}",
    ]


def _verdict(target: Target) -> list[str]:
    limit = f"{'≤' if target.at_most else '≥'} {target.limit:g}"
    if isinstance(target.ratio, Absent):
        return [target.what, limit, "–", target.ratio.reason]
    said = "holds" if target.holds else "missed"
    return [target.what, limit, _shown(target.ratio, 2), said if target.surely else f"{said}, not surely"]


def _shown(estimate: Estimate, decimals: int) -> str:
    value, low, high = (f"{number:,.{decimals}f}" for number in (estimate.value, estimate.low, estimate.high))
    return f"{value} ({low}–{high})"


def peers_words(summary: PeerSummary) -> tuple[WordTable, WordTable]:
    """The figures, and the targets."""
    figures = WordTable(
        title="Side by side: medians over rounds with 95 % intervals",
        headings=_HEADINGS,
        labels=2,
        rows=tuple(tuple(_row(each)) for each in summary.figures),
    )
    targets = WordTable(
        title="Targets",
        headings=("HemaBench's ratio", "target", "measured", ""),
        labels=4,
        rows=tuple(tuple(_verdict(target)) for target in summary.targets),
    )
    return figures, targets


def peers_tables(summary: PeerSummary) -> tuple[Table, ...]:
    """For the terminal."""
    return tuple(map(terminal_table, peers_words(summary)))


def peers_as_json(summary: PeerSummary) -> str:
    """The figures and the targets, with how they were measured."""
    targets = with_judgement(summary.targets, "holds", "surely")
    return side_by_side_as_json(summary.comparison, figures=summary.figures, targets=targets)


def peers_page(summary: PeerSummary) -> str:
    """The same as Markdown, with how it was measured."""
    comparison = summary.comparison
    environment = comparison.environment
    rounds = 1 + max(window.round for window in comparison.windows)
    window_s = np.median([window.elapsed_ns for window in comparison.windows]) / NS_PER_S
    figures, targets = peers_words(summary)
    return "\n".join(
        [
            "# Our service beside its peers",
            "",
            f"Made by `{comparison.command}` at {comparison.measured_at}. {NOTICE}",
            "",
            f"All serve the same ONNX artifact of {comparison.resolution_px} px with one thread on "
            f"{cores_words(comparison.service_cores)}; the client, a closed loop over raw sockets, has "
            f"{cores_words(comparison.client_cores)}. One PNG of {comparison.image_bytes:,} bytes is sent again and "
            f"again. {rounds} rounds of windows of {window_s:.1f} s in an order drawn anew each round; who is not "
            "measured is stopped. Figures are medians over rounds, with 95 % intervals from resampling whole rounds. "
            f"{FEW_PROMISE}",
            "",
            *markdown_table(figures.headings, figures.rows),
            "",
            "## Targets",
            "",
            *markdown_table(targets.headings, targets.rows),
            "",
            *[f"- {NAMES[name]} was left out: it {why}" for name, why in comparison.missing.items()],
            f"Machine: {machine_line(environment)}",
            "",
            f"Libraries: {libraries_line(environment)}",
            "",
        ]
    )


def tell_peers(folder: Path, _: Asked) -> Told:
    """The comparison in ``folder``."""
    summary = summarise_peers(read_json(folder / PEERS_FILE, PeerComparison), np.random.default_rng(0))
    kept = [target for target in summary.targets if target.holds]
    surely = sum(target.surely for target in kept)
    return Told(
        report=side_by_side_report(
            summary.comparison,
            name=folder.resolve().name,
            kind="peers",
            headline="Our service beside bare Starlette, textbook BentoML and LitServe",
            answer=(
                f"{len(kept)} of {len(summary.targets)} targets hold, {surely} of them with their whole interval, by "
                "the same artifact, image and cores for all.",
            ),
            tables=peers_words(summary),
        ),
        numbers=peers_as_json(summary),
        tables=Group(*peers_tables(summary)),
        page=lambda _: peers_page(summary),
    )
