"""What is made of a run's records, of whatever kind it is: tables, JSON, Markdown, and report.html."""

from __future__ import annotations

import sys
from collections.abc import Sequence
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from commands.console import progress_bar, show, tell
from commands.options import CACHE, RESULTS, Baseline, Cache, Json, Page, Results

if TYPE_CHECKING:
    from analysis.telling import Told
    from contract.progress import Progress


def report(
    folder: Annotated[Path | None, typer.Argument(help="A run's folder. Default: the newest under results/.")] = None,
    chapters: Annotated[
        list[Path] | None,
        typer.Option(
            "--with",
            metavar="RUN",
            exists=True,
            file_okay=False,
            help="A run of another kind that becomes a chapter: compute, mistakes, training, referee, payloads, peers, "
            "a ladder of rates; repeat for several. They take the place of all chapters that the report has.",
            show_default=False,
        ),
    ] = None,
    alone: Annotated[bool, typer.Option("--alone", help="Without any chapter.")] = False,
    baseline: Baseline = None,
    page: Page = None,
    cache: Cache = CACHE,
    results: Results = RESULTS,
    as_json: Json = False,
) -> None:
    """Print a run's tables and write its report.html, from its raw records; other runs may be chapters of it."""
    from contract.errors import InvalidSettings

    if alone and chapters:
        raise InvalidSettings("--alone and --with exclude each other. Next: leave one of them out")
    joined = [] if alone else chapters or None
    conclude(folder or _newest(results), as_json, baseline=baseline, page=page, cache=cache, chapters=joined)


def conclude(
    folder: Path,
    as_json: bool,
    *,
    baseline: str | None = None,
    page: Path | None = None,
    cache: Path = CACHE,
    chapters: Sequence[Path] | None = None,
) -> None:
    """Report the run in ``folder`` in the terminal, as HTML, and as Markdown where ``page`` says so.

    ``chapters`` take the place of those that it has; None leaves them. Exit code 1 where something that was
    planned is missing, or may not be compared.
    """
    from analysis.chapters import join_chapters
    from analysis.chapters import tell as told_run
    from analysis.telling import Asked
    from contract.progress import part_of
    from contract.records.load import REPORT_FILE

    with progress_bar("the run keeps its records, its report is the one before. Next: repeat the command") as progress:
        joined = None if chapters is None else join_chapters(folder, chapters)
        told = told_run(folder, Asked(baseline=baseline, cache=cache, progress=part_of(progress, 0, 1, 2)))
        _keep(folder, told, joined, part_of(progress, 1, 1, 2))
        progress("report written", 2, 2)
    if page is not None:
        _keep_page(page, told)
    if as_json:
        typer.echo(told.numbers)
    else:
        show(told.tables)
    tell(f"report: {folder / REPORT_FILE}")
    if not told.sound:
        sys.exit(1)


def new_folder(results: Path, kind: str) -> Path:
    """Where a run of ``kind`` that begins now is to lie."""
    from loadtest.folders import new_run_name

    return results / new_run_name(kind, datetime.now(UTC))


def _keep(folder: Path, told: Told, joined: list[str] | None, progress: Progress) -> None:
    """Write the report, the numbers and what belongs to them into ``folder``, and take them into its seal."""
    from analysis.chapters import CHAPTERS_FOLDER, whole_page
    from contract.records.load import REPORT_FILE, SUMMARY_FILE
    from contract.records.seal import add_to_seal
    from contract.storage import write_atomically

    page = whole_page(folder, told, progress).encode()
    for name, content in told.files.items():
        write_atomically(folder / name, content)
    write_atomically(folder / REPORT_FILE, page)
    write_atomically(folder / SUMMARY_FILE, told.numbers.encode())
    derived = [REPORT_FILE, SUMMARY_FILE, *told.files, *(joined or ())]
    add_to_seal(folder, derived, in_place_of=None if joined is None else f"{CHAPTERS_FOLDER}/")


def _keep_page(page: Path, told: Told) -> None:
    """Write the Markdown and, beside it, the picture that it shows."""
    from contract.storage import write_atomically

    beside = None
    if told.picture is not None:
        beside = page.with_suffix(Path(told.picture).suffix)
        write_atomically(beside, told.files[told.picture])
    write_atomically(page, told.page(None if beside is None else beside.name).encode())


def _newest(results: Path) -> Path:
    from contract.errors import RunInvalid
    from contract.records.load import RUN_FILE

    runs = sorted(results.glob(f"*/{RUN_FILE}"), key=lambda plan: plan.stat().st_mtime)
    if not runs:
        raise RunInvalid(f"no run in {results}. Next: hemabench run")
    return runs[-1].parent
