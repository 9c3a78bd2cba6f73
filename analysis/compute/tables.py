"""A compute run for the terminal and for programs."""

from __future__ import annotations

import msgspec
from rich.console import Group, RenderableType
from rich.panel import Panel
from rich.table import Table
from rich.text import Text

from analysis.compute.claims import answered_claims, fastest_sentences, harness_sentence
from analysis.compute.summary import ComputeSummary
from analysis.compute.words import WordTable, all_tables, findings
from contract.blood_cells import NOTICE

STYLES = {"valid": "green", "invalid": "red", "warning": "yellow"}


def compute_tables(summary: ComputeSummary) -> RenderableType:
    """All that the terminal shows of a compute run."""
    parts: list[RenderableType] = [_panel(summary)]
    parts += [_table(table) for table in all_tables(summary)]
    parts += [Text(f"- {line}") for line in findings(summary)]
    return Group(*parts)


def compute_as_json(summary: ComputeSummary) -> str:
    """Plan, cells, starts, scaling and crossings; an estimate is ``{value, low, high, n, of}``."""
    told = {
        "plan": summary.run.plan,
        "missing": summary.run.missing,
        "baseline": summary.baseline,
        "harness_ns": summary.harness_ns,
        "cells": summary.cells,
        "starts": summary.starts,
        "roofs": summary.roofs,
        "scalings": summary.scalings,
        "crossings": summary.crossings,
    }
    return msgspec.json.format(msgspec.json.encode(told), indent=2).decode()


def _panel(summary: ComputeSummary) -> Panel:
    text = Text("\n".join([*fastest_sentences(summary), harness_sentence(summary)]))
    for one in answered_claims(summary):
        text.append(f"\n\nClaimed: “{one.claim}” ", style="bold").append(one.answer, style="not bold")
    text.append(f"\n{NOTICE}", style="dim")
    return Panel(text, title=Text(summary.run.plan.run))


def _table(words: WordTable) -> Table:
    table = Table(title=words.title, title_justify="left", caption=words.note, caption_justify="left")
    for number, heading in enumerate(words.headings):
        table.add_column(heading, justify="left" if number < words.labels else "right", overflow="fold")
    last = None
    for row in words.rows:
        if last is not None and row[:1] != last and words.labels >= 3:
            table.add_section()
        last = row[:1]
        # The interval goes below its value: sixteen columns beside each other would be cut.
        table.add_row(*(Text(word.replace(" (", "\n("), style=STYLES.get(word, "")) for word in row))
    return table
