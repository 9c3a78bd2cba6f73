"""A comparison for the terminal (rich) and for programs (JSON)."""

from __future__ import annotations

import msgspec
from rich.console import Group, RenderableType
from rich.table import Table
from rich.text import Text

from analysis.comparison.comparing import BETWEEN, Comparison, Pair
from analysis.load.sentences import difference_words
from analysis.wording import runtime_name, scenario_name, whole
from contract.timing import NS_PER_MS

SAYS_STYLES = {"faster": "green", "slower": "red"}


def comparison_tables(comparison: Comparison) -> RenderableType:
    """One row per cell, and above it what the reader must know of the two runs."""
    heading = [Text(f"A: {comparison.a}\nB: {comparison.b}")]
    heading += [Text(f"compared despite another {one}", style="bold yellow") for one in comparison.despite]
    table = Table(title="Medians of response or call times, B over A", title_justify="left")
    for name in ("px", "runtime", "how", "A, ms", "B, ms", "B ÷ A, 95 % interval", "resampled", "B is"):
        table.add_column(name, justify="right" if name in ("px", "A, ms", "B, ms") else "left")
    for pair in comparison.pairs:
        table.add_row(*_row(pair))
    table.caption, table.caption_justify = comparison_words(comparison), "left"
    alone = [Text("\n".join(comparison.alone), style="dim")] if comparison.alone else []
    return Group(*heading, table, *alone)


def comparison_words(comparison: Comparison) -> str:
    """How to read the table."""
    words = [
        f"Holm's correction over all {len(comparison.pairs)} pairs at {comparison.significance:g}; less than "
        f"{comparison.minimum_effect - 1:.0%} is called no difference."
    ]
    if any(pair.interval_from != BETWEEN for pair in comparison.pairs):
        words.append(
            "With one repetition, another start of the service may differ by more than the interval says: it names no "
            "difference."
        )
    return " ".join(words)


def comparison_as_json(comparison: Comparison) -> str:
    """The whole comparison; an estimate is ``{value, low, high, n, of}``."""
    return msgspec.json.format(msgspec.json.encode(comparison), indent=2).decode()


def _row(pair: Pair) -> list[str | Text]:
    key = pair.key
    says = difference_words(pair.difference) or pair.difference.says
    return [
        str(key.resolution_px),
        runtime_name(key.runtime),
        Text(f"{scenario_name(key.how)}{_offered(pair)}"),
        f"{pair.a_ns / NS_PER_MS:.4g}",
        f"{pair.b_ns / NS_PER_MS:.4g}",
        whole(pair.ratio, "times"),
        f"{pair.interval_from} ({pair.repetitions[0]} in A, {pair.repetitions[1]} in B)",
        Text(says, style=SAYS_STYLES.get(pair.difference.says, "")),
    ]


def _offered(pair: Pair) -> str:
    """Under another load the same service waits otherwise: said where the two are not the same."""
    a, b = pair.offered
    return "" if a == b else f"\nA: {a}\nB: {b}"
