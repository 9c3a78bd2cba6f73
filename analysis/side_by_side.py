"""Comparisons that were measured side by side, for programs: how it was done, and what came of it."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import fields
from typing import Any

import msgspec


def side_by_side_as_json(comparison: Any, **derived: object) -> str:
    """``comparison`` without its raw windows, and what was ``derived`` from them, as JSON.

    An estimate is ``{value, low, high, n, of}``, an absent one ``{reason, n}``.
    """
    value = {**_fields_of(comparison, "windows"), **derived}
    return msgspec.json.format(msgspec.json.encode(value), indent=2).decode()


def with_judgement(rows: Iterable[Any], *names: str) -> list[dict[str, Any]]:
    """The fields of every row, and those of its properties that judge it."""
    return [_fields_of(row) | {name: getattr(row, name) for name in names} for row in rows]


def _fields_of(value: Any, *left_out: str) -> dict[str, Any]:
    return {field.name: getattr(value, field.name) for field in fields(value) if field.name not in left_out}
