"""How a long step says where it is, without knowing who listens."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Protocol, TypeVar

T = TypeVar("T")


class Progress(Protocol):
    """Called with what is running now and how far it is; ``total`` may grow, ``done`` never falls."""

    def __call__(self, what: str, done: float, total: float) -> None: ...


def silent(what: str, done: float, total: float) -> None:
    """Listens to nothing."""


def part_of(progress: Progress, before: float, share: float, whole: float, named: str = "") -> Progress:
    """For a piece that is ``share`` of the ``whole`` work, after ``before`` of it; ``named`` begins what it says."""

    def heard(what: str, done: float, total: float) -> None:
        progress(named + what, before + share * (done / total if total else 1), whole)

    return heard


def counted(items: Sequence[T], progress: Progress, what: str) -> Iterator[T]:
    """Each of ``items``, after ``progress`` was told how many went before it."""
    for done, item in enumerate(items):
        progress(what, done, len(items))
        yield item
