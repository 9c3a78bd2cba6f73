"""A report of any kind of run: one HTML file that needs no network, no other file and, for its tables, no JavaScript.

A run says an answer and sections; it is the page, or a chapter of another run's page. Every
address in the page gets its chapter's name in front, so that two chapters cannot share one.
"""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

from jinja2 import Environment as Templates
from jinja2 import FileSystemLoader, StrictUndefined
from markupsafe import Markup

from analysis import plots, wording
from analysis.load.sentences import curve_words, difference_words, offered_words, steadiness_words
from analysis.word_tables import WordTable
from contract.blood_cells import NOTICE
from contract.environment import Environment

TEMPLATES = Path(__file__).parent / "templates"
CHART_WIDTH_PX = 480


@dataclass(frozen=True, slots=True, kw_only=True)
class Chart:
    """A chart with its words: what it shows, and the same for those who cannot see it."""

    name: str
    title: str
    described: str
    spec: plots.Spec
    svg: Markup


@dataclass(frozen=True, slots=True, kw_only=True)
class Section:
    """Something under a heading of its own; ``name`` is its address, unique in its report.

    ``template`` gets ``context``, the ``charts``, its ``anchor`` and the ``level`` of its heading.
    ``in_the_end``: after all chapters, and left out where the report is a chapter itself.
    """

    name: str
    title: str
    template: str
    context: Mapping[str, Any] = field(default_factory=dict)
    charts: tuple[Chart, ...] = ()
    in_the_end: bool = False


@dataclass(frozen=True, slots=True, kw_only=True)
class Report:
    """What one run has to say. ``about`` names it first; ``verdicts`` count its cells; ``notices`` are loud.

    ``runtimes`` and ``resolutions_px`` are those whose rows a reader may hide; the page styles by their
    names, so that one with other characters than a word's is left out.
    """

    kind: str
    headline: str
    about: tuple[str, ...]
    commands: tuple[str, ...]
    environment: Environment
    answer: tuple[str, ...]
    sections: tuple[Section, ...]
    notices: tuple[str, ...] = ()
    verdicts: Mapping[str, int] = field(default_factory=dict)
    runtimes: tuple[str, ...] = ()
    resolutions_px: tuple[int, ...] = ()


@dataclass(frozen=True, slots=True, kw_only=True)
class Chapter:
    """A run of another kind on the same page; ``differs`` says what was otherwise when it was measured."""

    name: str
    title: str
    report: Report
    differs: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class MissingChapter:
    """What the page could say besides, and the command that measures it."""

    title: str
    command: str


@dataclass(frozen=True, slots=True)
class _Placed:
    """A section on its page, rendered."""

    anchor: str
    title: str
    body: Markup
    charts: tuple[Chart, ...]


@dataclass(frozen=True, slots=True)
class _PlacedChapter:
    chapter: Chapter
    sections: tuple[_Placed, ...]


def render(report: Report, chapters: Sequence[Chapter] = (), missing: Sequence[MissingChapter] = ()) -> str:
    """The page of ``report``; the same report and chapters give the same text."""
    templates = html_environment()
    sections = _placed(templates, [section for section in report.sections if not section.in_the_end])
    last_sections = _placed(templates, [section for section in report.sections if section.in_the_end])
    placed_chapters = [_placed_chapter(templates, chapter) for chapter in chapters]
    everywhere = [*sections, *(one for placed in placed_chapters for one in placed.sections), *last_sections]
    charts = [chart for section in everywhere for chart in section.charts]
    names = [chapter.name for chapter in chapters]
    _require_once([*(section.anchor for section in everywhere), *names, *(chart.name for chart in charts)])
    return templates.get_template("page.html").render(
        report=report,
        sections=sections,
        chapters=placed_chapters,
        last_sections=last_sections,
        missing=missing,
        charts=charts,
        notice=NOTICE,
        javascript=Markup(inside_a_script(plots.javascript())) if charts else "",
    )


def drawn_chart(name: str, title: str, described: str, spec: plots.Spec) -> Chart:
    """A chart with its picture, for browsers without JavaScript and for paper."""
    svg = plots.static_svg(spec, CHART_WIDTH_PX)
    return Chart(name=name, title=title, described=described, spec=spec, svg=Markup(svg))


def tables_section(name: str, title: str, tables: Sequence[WordTable], words: Sequence[str] = ()) -> Section:
    """Paragraphs, and tables below them; a single table needs no heading of its own."""
    return Section(name=name, title=title, template="tables.html", context={"tables": tables, "words": words})


def environment_section(
    report_facts: Mapping[str, object], note: str, commands: Sequence[str], on: Environment
) -> Section:
    """Where it was measured, and what to type to measure it again."""
    facts = {
        **report_facts,
        "processor": on.cpu_model,
        "cores available": on.cores,
        "memory": _gib(on.memory_bytes),
        "accelerator": on.accelerator or "none",
        "frequency governor": on.governor or "not visible",
        "system": on.system,
        "Python": on.python,
        **on.libraries,
    }
    return Section(
        name="environment",
        title="Environment, and how to repeat this",
        template="environment.html",
        context={"facts": facts, "note": note, "commands": commands},
        in_the_end=True,
    )


def inside_a_script(code: str) -> str:
    """``code`` such that no string in it ends the script element early; all else stays, ``/</g`` for one."""
    return re.sub(r"</(?=script)", r"<\\/", code, flags=re.IGNORECASE)


def html_environment() -> Templates:
    """The templates, with the filters that turn numbers into words."""
    templates = Templates(
        loader=FileSystemLoader(TEMPLATES),
        autoescape=True,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    templates.filters |= {
        "value": wording.value_of,
        "interval": wording.interval_of,
        "sample": wording.sample_of,
        "whole": wording.whole,
        "runtime": wording.runtime_name,
        "scenario": wording.scenario_name,
        "part": wording.part_name,
        "listed": _listed,
        "curve": curve_words,
        "difference": difference_words,
        "offered": offered_words,
        "steadiness": steadiness_words,
        "gib": _gib,
    }
    return templates


def _placed_chapter(templates: Templates, chapter: Chapter) -> _PlacedChapter:
    sections = [section for section in chapter.report.sections if not section.in_the_end]
    return _PlacedChapter(chapter, _placed(templates, sections, f"{chapter.name}-", level=3))


def _placed(templates: Templates, sections: Sequence[Section], prefix: str = "", level: int = 2) -> tuple[_Placed, ...]:
    return tuple(_place(templates, section, prefix, level) for section in sections)


def _place(templates: Templates, section: Section, prefix: str, level: int) -> _Placed:
    anchor = f"{prefix}{section.name}"
    charts = tuple(replace(chart, name=f"{prefix}{chart.name}") for chart in section.charts)
    body = templates.get_template(section.template).render(
        **section.context, charts=charts, anchor=anchor, title=section.title, level=level
    )
    return _Placed(anchor, section.title, Markup(body), charts)


def _require_once(names: Sequence[str]) -> None:
    """An address that two parts share would show one chart in the place of another."""
    if twice := [name for name, count in Counter(names).items() if count > 1]:
        raise ValueError(f"two parts of the page are called {twice[0]!r}")


def _listed(words: Iterable[object]) -> str:
    return wording.listed(list(words))


def _gib(size_bytes: int) -> str:
    return f"{size_bytes / 2**30:.1f} GiB"
