"""A mistakes run for the terminal."""

from __future__ import annotations

from collections.abc import Iterable

import msgspec
from rich.console import Group, RenderableType
from rich.panel import Panel
from rich.table import Table
from rich.text import Text

from analysis.mistakes.summary import Effect, MistakesSummary
from analysis.mistakes.wording import (
    answer_sentences,
    difference_text,
    factor_text,
    moved_text,
    reason_text,
    share_text,
    statistics_text,
    time_text,
    winner_text,
)
from analysis.wording import NONE, runtime_name
from contract.blood_cells import NOTICE
from contract.records.mistakes import FRAMEWORKS

MOVED_STYLES = {"moved": "bold red", "blurred": "yellow", "same": "green", None: "dim"}
ANSWER_HEADINGS = ("mistake", "framework", "right without", "right with", "answers changed", "logits differ by")


def mistakes_tables(summary: MistakesSummary) -> RenderableType:
    """The answer, a row per mistake, the answers that change, and what to know of the run."""
    text = Text("\n".join(answer_sentences(summary)))
    for warning in summary.warnings:
        text.append(f"\n{warning}", style="bold yellow")
    text.append(f"\n{NOTICE}", style="dim")
    parts: list[RenderableType] = [Panel(text, title=Text(summary.plan.run)), effects_table(summary)]
    if answer_rows(summary):
        parts.append(answers_table(summary))
    return Group(*parts)


def effects_table(summary: MistakesSummary) -> Table:
    """Reported time of each framework with the mistake, the factor it adds, and who then wins."""
    table = Table(title="One mistake at a time: reported ms with 95 % interval, and factor", title_justify="left")
    table.add_column("mistake", overflow="fold", max_width=34)
    for name in FRAMEWORKS:
        table.add_column(runtime_name(name), justify="right", overflow="fold")
    table.add_column("winner", overflow="fold", max_width=36)
    table.add_row("[bold]none[/bold]", *(time_text(summary.careful[name]) for name in FRAMEWORKS), "")
    table.add_section()
    for effect in summary.effects:
        table.add_row(*_row(effect))
    return table


def _row(effect: Effect) -> list[RenderableType]:
    name = Text(effect.mistake.title)
    name.append(f"\n{statistics_text(effect)}", style="dim")
    reason = reason_text(effect)
    winner = Text(reason, style="dim") if reason else Text(winner_text(effect), style=MOVED_STYLES[effect.moved])
    return [name, *(_cell(effect, framework) for framework in FRAMEWORKS), winner]


def _cell(effect: Effect, framework: str) -> Text:
    cell = Text(time_text(effect.with_[framework]), justify="right")
    if (factor := factor_text(effect, framework)) == NONE:
        cell.stylize("dim")
    else:
        cell.append(f"\n{factor}", style="bold")
    return cell


def answer_rows(summary: MistakesSummary) -> list[list[str]]:
    """What mistakes do to answers, a row for each framework that makes one."""
    return [
        [
            effect.mistake.title,
            runtime_name(change.framework),
            share_text(change.right_without),
            share_text(change.right_with),
            share_text(change.changed),
            difference_text(change),
        ]
        for effect in summary.effects
        for change in effect.answers
    ]


def answers_table(summary: MistakesSummary) -> Table:
    """`answer_rows` as a table."""
    title = f"Answers of {summary.plan.images:,} test images, one at a time"
    table = Table(title=title, title_justify="left")
    for number, heading in enumerate(ANSWER_HEADINGS):
        table.add_column(heading, justify="left" if number < 2 else "right", overflow="fold")
    for row in answer_rows(summary):
        table.add_row(*row)
    return table


def effect_rows(effects: Iterable[Effect]) -> list[list[str]]:
    """The rows of `effects_table` as plain text: title, statistic, time and factor per framework, winner."""
    return [
        [
            effect.mistake.title,
            statistics_text(effect),
            *(_plain(effect, name) for name in FRAMEWORKS),
            reason_text(effect) or winner_text(effect),
            moved_text(effect),
        ]
        for effect in effects
    ]


def _plain(effect: Effect, framework: str) -> str:
    time, factor = time_text(effect.with_[framework]), factor_text(effect, framework)
    return time if factor == NONE else f"{time} {factor}"


def mistakes_as_json(summary: MistakesSummary) -> str:
    """The whole summary; an estimate is ``{value, low, high, n, of}``, an absent one ``{reason, n}``; times in ns."""
    return msgspec.json.format(msgspec.json.encode(summary, order="deterministic"), indent=2).decode()
