"""What a run of any kind is told as: for the terminal, for programs, for documents, for browsers."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path

from rich.console import RenderableType

from analysis.html import Report
from analysis.load.judging.findings import Limits
from contract.progress import Progress, silent


@dataclass(frozen=True, slots=True, kw_only=True)
class Asked:
    """How a run is to be told. ``cache`` has the images that galleries show; None where none may be added.

    ``name`` is what a training campaign was called when its folder had another name.
    """

    baseline: str | None = None
    limits: Limits | None = None
    cache: Path | None = None
    name: str | None = None
    progress: Progress = silent


@dataclass(frozen=True, slots=True, kw_only=True)
class Told:
    """A run, told. ``numbers`` is JSON; ``sound`` says that all that was planned is there and may be compared.

    ``files`` belong beside the report, by name; ``page`` is Markdown and takes the name of the
    picture, one of ``files``, that a document shows, if there is one.
    """

    report: Report
    numbers: str
    tables: RenderableType
    page: Callable[[str | None], str]
    sound: bool = True
    files: Mapping[str, bytes] = field(default_factory=dict)
    picture: str | None = None
