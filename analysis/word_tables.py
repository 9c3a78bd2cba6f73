"""A table as words, made once for the terminal, for documents and for the report."""

from __future__ import annotations

from dataclasses import dataclass

from rich.table import Table
from rich.text import Text

STYLES = {
    "valid": "green",
    "agrees": "green",
    "kept": "green",
    "holds": "green",
    "invalid": "red",
    "DISAGREES": "red",
    "MISSED": "red",
    "missed": "red",
    "warning": "yellow",
    **dict.fromkeys((f"{said}, not surely" for said in ("agrees", "DISAGREES", "holds", "missed")), "yellow"),
}


@dataclass(frozen=True, slots=True, kw_only=True)
class WordTable:
    """A table whose first ``labels`` columns are words, the others numbers."""

    title: str
    note: str = ""
    headings: tuple[str, ...]
    labels: int
    rows: tuple[tuple[str, ...], ...]


def terminal_table(words: WordTable) -> Table:
    """For the terminal; an interval goes below its value, because many columns beside each other would be cut."""
    table = Table(title=words.title, title_justify="left", caption=words.note or None, caption_justify="left")
    for number, heading in enumerate(words.headings):
        table.add_column(heading, justify="left" if number < words.labels else "right", overflow="fold")
    last = None
    for row in words.rows:
        if last is not None and row[:1] != last and words.labels >= 3:
            table.add_section()
        last = row[:1]
        table.add_row(*(Text(word.replace(" (", "\n("), style=STYLES.get(word.partition(",")[0], "")) for word in row))
    return table
