"""Options that several commands share."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

CHECKPOINTS = Path("exported_models/checkpoints")
ARTIFACTS = Path("exported_models/artifacts")
RESULTS = Path("results")
TRAINING_RESULTS = "training"  # the folder below it that holds training campaigns
NATIVE_RUNTIMES = ("pytorch", "tensorflow", "jax", "onnx")
CACHE = Path(".cache/datasets")
AUTO = "auto"  # the first source of images that is there


Resolutions = Annotated[
    list[int], typer.Option("--resolution", "-r", help="Side of the model's input in pixels; repeat for several.")
]
Data = Annotated[
    str,
    typer.Option(
        "--data",
        help="auto (PBC images if found, else BloodMNIST, else rendered), pbc, bloodmnist, synthetic or another flat "
        "MedMNIST set, such as pathmnist.",
    ),
]
DataRoot = Annotated[Path | None, typer.Option("--data-root", help="Folder that holds pbc/.", show_default=False)]
Cache = Annotated[Path, typer.Option("--cache", help="Where data sets are kept once built.")]
Model = Annotated[str, typer.Option("--model", help="hemanet or resnet18; of another data set, hemanet-pathmnist.")]
Seed = Annotated[int, typer.Option("--seed", min=0)]
Runtimes = Annotated[list[str], typer.Option("--runtime", help="Repeat for several.")]
Device = Annotated[str, typer.Option("--device", help="cpu, cuda or cuda:N.")]
Threads = Annotated[int, typer.Option("--threads", min=1, help="Threads of one inference.")]
Artifacts = Annotated[Path, typer.Option("--artifacts", help="Where exported models lie.")]
Checkpoints = Annotated[Path, typer.Option("--checkpoints", help="Where weights lie.")]
Results = Annotated[Path, typer.Option("--results", help="Where runs are kept.")]
Json = Annotated[bool, typer.Option("--json", help="Print JSON instead of a table.")]
