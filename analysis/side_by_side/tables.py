"""Comparisons that were measured side by side, for programs: how it was done, and what came of it."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import fields
from typing import Any

import msgspec

from analysis.html import Report, environment_section, tables_section
from analysis.word_tables import WordTable


def side_by_side_as_json(comparison: Any, **derived: object) -> str:
    """``comparison`` without its raw windows, and what was ``derived`` from them, as JSON.

    An estimate is ``{value, low, high, n, of}``, an absent one ``{reason, n}``.
    """
    value = {**_fields_of(comparison, "windows"), **derived}
    return msgspec.json.format(msgspec.json.encode(value), indent=2).decode()


def side_by_side_report(
    comparison: Any, *, name: str, kind: str, headline: str, answer: tuple[str, ...], tables: Sequence[WordTable]
) -> Report:
    """A comparison as a report: its answer, a section per table, and who was left out."""
    left_out = tuple(f"{who} was left out: it {why}" for who, why in getattr(comparison, "missing", {}).items())
    sections = [tables_section(f"table-{n}", table.title, [table]) for n, table in enumerate(tables, start=1)]
    return Report(
        kind=kind,
        headline=headline,
        about=(name, comparison.measured_at),
        commands=(comparison.command,),
        environment=comparison.environment,
        answer=answer,
        notices=left_out,
        sections=(*sections, environment_section({}, "", (comparison.command,), comparison.environment)),
    )


def with_judgement(rows: Iterable[Any], *names: str) -> list[dict[str, Any]]:
    """The fields of every row, and those of its properties that judge it."""
    return [_fields_of(row) | {name: getattr(row, name) for name in names} for row in rows]


def _fields_of(value: Any, *left_out: str) -> dict[str, Any]:
    return {field.name: getattr(value, field.name) for field in fields(value) if field.name not in left_out}
