"""The folder of a run, whatever is measured: its name, its making, its resumption, what is set aside in it."""

from __future__ import annotations

from dataclasses import fields
from datetime import UTC, datetime
from pathlib import Path
from typing import TypeVar

from contract.errors import RunInvalid
from contract.records.compute import ComputePlan
from contract.records.load import RunPlan
from contract.storage import require_room, write_json

Plan = TypeVar("Plan", RunPlan, ComputePlan)

ROOM_BYTES = 50_000_000  # the records of a full run are about half of it

# A plan that differs in these alone sets out to measure the same.
_MAY_DIFFER = ("created", "command")


def new_run_name(profile: str, now: datetime) -> str:
    """Sorts by time: ``20260131T120000Z-quick``."""
    return f"{now.astimezone(UTC):%Y%m%dT%H%M%SZ}-{profile}"


def create_folder(results: Path, run: str, plan_file: str, plan: object) -> Path:
    """A new folder for ``run`` with ``plan`` in it; raises `RunInvalid` rather than write into an old one.

    Raises `NoRoom` or `OSError` where the records could not be kept.
    """
    require_room(results, ROOM_BYTES)
    folder = (results / run).absolute()
    try:
        folder.mkdir(parents=True)
    except FileExistsError as error:
        raise RunInvalid(f"{folder} exists. Next: start again in a second, or resume that run") from error
    write_json(folder / plan_file, plan)
    return folder


def require_same_plan(folder: Path, earlier: Plan, now: Plan) -> None:
    """Raise `RunInvalid`, naming the field, unless both set out to measure the same, here, with the same software.

    What is finished could not be compared with what is to come.
    """
    # What a person chose comes before what follows from it.
    for field in sorted(fields(now), key=lambda one: one.name in ("artifacts", "cells")):
        old, new = getattr(earlier, field.name), getattr(now, field.name)
        if field.name not in _MAY_DIFFER and old != new:
            raise RunInvalid(
                f"{folder} cannot be resumed: its {field.name} is {_shortened(old)}, now it would be "
                f"{_shortened(new)}. Next: start a new run"
            )


def set_aside(run: Path, unfinished: Path) -> None:
    """Move the folder ``unfinished`` of ``run`` out of the way, if it is there; nothing recorded is ever deleted."""
    if unfinished.exists():
        discarded = run / "discarded"
        discarded.mkdir(exist_ok=True)
        unfinished.rename(discarded / f"{unfinished.name}-{1 + len(list(discarded.glob(f'{unfinished.name}-*')))}")


def _shortened(value: object) -> str:
    text = repr(value)
    return text if len(text) <= 300 else f"{text[:300]}..."
