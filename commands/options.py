"""Options that several commands share."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Any

import typer

from contract.architecture import spec_named
from contract.blood_cells import RESOLUTIONS_PX
from contract.errors import InvalidSettings

ROOT = Path(__file__).parents[1]


def beside_the_code(folder: str) -> Path:
    """``folder`` of the repository that the program runs from, wherever it is called; of an installed one, of here."""
    elsewhere = Path.cwd() != ROOT and (ROOT / folder).parent.is_dir()
    return ROOT / folder if elsewhere else Path(folder)


CHECKPOINTS = beside_the_code("exported_models/checkpoints")
ARTIFACTS = beside_the_code("exported_models/artifacts")
RESULTS = Path("results")
TRAINING_RESULTS = "training"  # the folder below it that holds training campaigns
NATIVE_RUNTIMES = ("pytorch", "tensorflow", "jax", "onnx")
CACHE = Path(".cache/datasets")
LARGEST_SEED = 2**32 - 1  # what every framework takes
MOST_THREADS = 1_024
AUTO = "auto"  # the first source of images that is there


def _known_sides(sides: int | list[int] | None) -> int | list[int] | None:
    for side in [sides] if isinstance(sides, int) else sides or ():
        if side not in RESOLUTIONS_PX:
            known = ", ".join(map(str, RESOLUTIONS_PX))
            raise InvalidSettings(f"no model is made for {side} px; choose from: {known}")
    return sides


def _known_network(model: str) -> str:
    spec_named(model.partition("-")[0])
    return model


def side_option(text: str, **more: Any) -> Any:
    """An option for sides of images, refused at once where no model is made for them."""
    return typer.Option("--resolution", "-r", callback=_known_sides, autocompletion=_sides, help=text, **more)


def _sides() -> list[str]:
    return list(map(str, RESOLUTIONS_PX))


def _runtimes() -> list[str]:
    from serving.runtimes import RUNTIMES

    return list(RUNTIMES)


def _known_runtime(runtime: str) -> str:
    from serving.runtimes import entry_of

    entry_of(runtime)
    return runtime


def _sources() -> list[str]:
    from train.dataset import SOURCES

    return [AUTO, *SOURCES]


Resolution = Annotated[int, side_option("Side of the model's input in pixels.")]
Resolutions = Annotated[list[int], side_option("Side of the model's input in pixels; repeat for several.")]
Data = Annotated[
    str,
    typer.Option(
        "--data",
        autocompletion=_sources,
        help="auto (PBC images if found, else BloodMNIST, else rendered), pbc, bloodmnist, synthetic or another flat "
        "MedMNIST set, such as pathmnist.",
    ),
]
DataRoot = Annotated[Path | None, typer.Option("--data-root", help="Folder that holds pbc/.", show_default=False)]
Cache = Annotated[Path, typer.Option("--cache", help="Where data sets are kept once built.")]
Model = Annotated[
    str,
    typer.Option(
        "--model", callback=_known_network, help="hemanet or resnet18; of another data set, hemanet-pathmnist."
    ),
]
Seed = Annotated[int, typer.Option("--seed", min=0, max=LARGEST_SEED, help="What chance is drawn from.")]
Seeds = Annotated[list[int], typer.Option("--seed", min=0, max=LARGEST_SEED, help="Repeat for several.")]
Runtimes = Annotated[list[str], typer.Option("--runtime", autocompletion=_runtimes, help="Repeat for several.")]
Runtime = Annotated[
    str,
    typer.Option(
        "--runtime", callback=_known_runtime, autocompletion=_runtimes, help="The one whose service is measured."
    ),
]
Device = Annotated[str, typer.Option("--device", help="cpu, cuda or cuda:N.")]
Threads = Annotated[int, typer.Option("--threads", min=1, max=MOST_THREADS, help="Threads of one inference.")]
Rounds = Annotated[
    int, typer.Option("--rounds", min=2, max=1_000, help="Each measures everything once; one has no interval.")
]
Artifacts = Annotated[
    Path, typer.Option("--artifacts", envvar="HEMABENCH_ARTIFACTS", help="Where exported models lie.")
]
Checkpoints = Annotated[Path, typer.Option("--checkpoints", help="Where weights lie.")]
Results = Annotated[Path, typer.Option("--results", help="Where runs are kept.")]
Resume = Annotated[
    str | None, typer.Option("--resume", help="Name of a run under results/ to finish.", show_default=False)
]
Baseline = Annotated[
    str | None, typer.Option("--baseline", help="The runtime that ratios refer to.", show_default=False)
]
Page = Annotated[
    Path | None, typer.Option("--page", help="Write the result as Markdown, too.", show_default=False, dir_okay=False)
]
Json = Annotated[bool, typer.Option("--json", help="Print JSON instead of a table.")]


def require_run(results: Path, run: str | None) -> None:
    """Raise `InvalidSettings` for a run to resume that is not there: before images and artifacts are made for it."""
    if run is not None and not (run and (results / run).is_dir()):
        raise InvalidSettings(f"no run {run!r} is under {results}. Next: ls {results}, or leave --resume away")
