"""The mistakes that pick winners, made one at a time."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from commands.console import progress_bar, show, tell, typed_command
from commands.options import (
    AUTO,
    CACHE,
    CHECKPOINTS,
    RESULTS,
    Cache,
    Checkpoints,
    Data,
    DataRoot,
    Json,
    Results,
    Seed,
)
from commands.prepare import image_settings
from contract.blood_cells import RESOLUTIONS_PX

# Photographs are at least this much wider than the model's input, where there are such images.
SHRINK = 4


def mistakes(
    profile: Annotated[str, typer.Option("--profile", help="quick or full.")] = "full",
    resolution: Annotated[int, typer.Option("--resolution", "-r")] = 28,
    only: Annotated[
        list[str] | None, typer.Option("--only", help="A mistake's name; repeat for several.", show_default=False)
    ] = None,
    seed: Seed = 0,
    source: Data = AUTO,
    root: DataRoot = None,
    cache: Cache = CACHE,
    checkpoints: Checkpoints = CHECKPOINTS,
    results: Results = RESULTS,
    page: Annotated[Path | None, typer.Option("--page", help="Write it as Markdown with its chart, too.")] = None,
    as_json: Json = False,
) -> None:
    """What a benchmark says when it is done wrong: one mistake at a time, and who wins then."""
    from loadtest.mistakes.measure import MistakesSettings, measure_mistakes, profile_named
    from loadtest.mistakes.table import chosen_mistakes
    from train.checkpoints import checkpoint_path, load_checkpoint
    from train.dataset import prepare_folders

    chosen, names = profile_named(profile), tuple(only or ())
    chosen_mistakes(names)
    weights = checkpoint_path(checkpoints, "hemanet", resolution)
    load_checkpoint(weights)
    side = photograph_side(resolution)
    with progress_bar() as progress:
        folders = prepare_folders(image_settings(source, root, cache, [side], blood_cells=True), [side], progress)
        settings = MistakesSettings(
            profile=chosen,
            resolution_px=resolution,
            photographs=folders[side],
            weights=weights,
            results=results,
            names=names,
            seed=seed,
            command=typed_command(),
        )
        try:
            folder = measure_mistakes(settings, progress)
        except KeyboardInterrupt:
            tell(f"\nstopped; what was measured is kept. Next: hemabench report with its folder under {results}")
            raise typer.Exit(130) from None
    conclude_mistakes(folder, page, as_json)


def photograph_side(resolution_px: int) -> int:
    """The side of the images that preprocessing starts from: the first `SHRINK` times as wide, or the widest."""
    return next((side for side in RESOLUTIONS_PX if side >= SHRINK * resolution_px), max(RESOLUTIONS_PX))


def conclude_mistakes(folder: Path, page: Path | None, as_json: bool) -> None:
    """Report a run in the terminal, as HTML with its chart, and as Markdown where ``page`` says so."""
    import numpy as np

    from analysis.mistakes.page import mistakes_page
    from analysis.mistakes.recorded import load_mistakes
    from analysis.mistakes.report import save_mistakes_report
    from analysis.mistakes.summary import summarise_mistakes
    from analysis.mistakes.tables import mistakes_as_json, mistakes_tables
    from contract.records.load import REPORT_FILE, SUMMARY_FILE
    from contract.records.mistakes import CHART_FILE
    from contract.records.seal import add_to_seal
    from contract.storage import write_atomically

    run = load_mistakes(folder)
    summary = summarise_mistakes(run, np.random.default_rng(run.plan.seed))
    path, picture = save_mistakes_report(summary, folder), folder / CHART_FILE
    write_atomically(folder / SUMMARY_FILE, (numbers := mistakes_as_json(summary)).encode())
    add_to_seal(folder, [REPORT_FILE, SUMMARY_FILE, *([CHART_FILE] if picture.is_file() else [])])
    if page is not None:
        beside = page.with_suffix(picture.suffix) if picture.is_file() else None
        if beside is not None:
            write_atomically(beside, picture.read_bytes())
        write_atomically(page, mistakes_page(summary, None if beside is None else beside.name).encode())
    if as_json:
        typer.echo(numbers)
    else:
        show(mistakes_tables(summary))
    tell(f"report: {path}")
