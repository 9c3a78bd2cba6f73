"""The mistakes that pick winners, made one at a time."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from commands.console import progress_bar, typed_command
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
    Resolution,
    Results,
    Seed,
)
from commands.prepare import image_settings
from commands.report import conclude
from contract.blood_cells import RESOLUTIONS_PX

# Photographs are at least this much wider than the model's input, where there are such images.
SHRINK = 4


def mistakes(
    profile: Annotated[str, typer.Option("--profile", help="quick or full.")] = "full",
    resolution: Resolution = 28,
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
    kept = f"what was measured is kept. Next: hemabench report with its folder under {results}"
    with progress_bar(kept) as progress:
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
        folder = measure_mistakes(settings, progress)
    conclude(folder, as_json, page=page)


def photograph_side(resolution_px: int) -> int:
    """The side of the images that preprocessing starts from: the first `SHRINK` times as wide, or the widest."""
    return next((side for side in RESOLUTIONS_PX if side >= SHRINK * resolution_px), max(RESOLUTIONS_PX))
