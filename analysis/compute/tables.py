"""A compute run for the terminal and for programs."""

from __future__ import annotations

import msgspec
from rich.console import Group, RenderableType
from rich.panel import Panel
from rich.text import Text

from analysis.compute.claims import answered_claims, fastest_sentences, harness_sentence
from analysis.compute.summary import ComputeSummary
from analysis.compute.words import all_tables, findings
from analysis.word_tables import terminal_table
from contract.blood_cells import NOTICE


def compute_tables(summary: ComputeSummary) -> RenderableType:
    """All that the terminal shows of a compute run."""
    parts: list[RenderableType] = [_panel(summary)]
    parts += [terminal_table(table) for table in all_tables(summary)]
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
