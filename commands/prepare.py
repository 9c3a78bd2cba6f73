"""Images, weights, artifacts: what there must be before anything is served."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from commands.console import progress_bar, show, show_json, tell, warn
from commands.options import (
    ARTIFACTS,
    CACHE,
    CHECKPOINTS,
    NATIVE_RUNTIMES,
    Artifacts,
    Cache,
    Checkpoints,
    Data,
    DataRoot,
    DataSource,
    Device,
    Json,
    Model,
    Resolutions,
    Runtimes,
    Seed,
)
from contract.blood_cells import RESOLUTIONS_PX

if TYPE_CHECKING:
    from contract.manifest import Metric
    from train.dataset import DataSettings


def image_settings(source: DataSource, root: Path | None, cache: Path, resolutions: Sequence[int]) -> DataSettings:
    """One source for all resolutions; says so loudly when it is not real cells."""
    from train.dataset import DataSettings, choose_source

    choice = choose_source(DataSettings(source=source.value, root=root, cache=cache), resolutions)
    if choice.notice:
        warn(choice.notice)
    return choice.settings


def info(model: Model = "hemanet", as_json: Json = False) -> None:
    """What the network costs: layers, parameters and FLOPs per resolution."""
    from contract.architecture import spec_named

    spec = spec_named(model)
    flops = {resolution_px: spec.flops(resolution_px) for resolution_px in RESOLUTIONS_PX}
    if as_json:
        show_json({"model": spec.name, "digest": spec.digest, "parameters": spec.parameter_count, "flops": flops})
        return
    from analysis.terminal import network_table

    show(network_table(spec))


def data(
    source: Data = DataSource.AUTO,
    root: DataRoot = None,
    cache: Cache = CACHE,
    resolutions: Resolutions = list(RESOLUTIONS_PX),  # noqa: B006 (typer copies it)
    rebuild: Annotated[bool, typer.Option("--rebuild", help="Make the cache anew.")] = False,
    as_json: Json = False,
) -> None:
    """Find images, download them if need be, and build the cache that training and load tests read."""
    from train.dataset import count_images, prepare_datasets

    settings = image_settings(source, root, cache, resolutions)
    with progress_bar() as progress:
        datasets = prepare_datasets(settings, resolutions, progress, rebuild=rebuild)
    first = next(iter(datasets.values()))
    counts = count_images(first)
    if as_json:
        facts = {px: dataset.facts for px, dataset in datasets.items()}
        show_json({"counts": counts, "facts": facts})
        return
    from analysis.terminal import counts_table

    show(counts_table(first.facts.description, counts))


def train(
    resolutions: Resolutions = [28],  # noqa: B006 (typer copies it)
    framework: Annotated[str, typer.Option("--framework", help="pytorch, keras or flax.")] = "pytorch",
    model: Model = "hemanet",
    seed: Seed = 0,
    epochs: Annotated[int | None, typer.Option("--epochs", min=1, help="Default: the recipe's.")] = None,
    fast: Annotated[
        bool, typer.Option("--fast", help="PyTorch only: bfloat16 and torch.compile, about 3 times as fast at 224 px.")
    ] = False,
    from_below: Annotated[
        bool, typer.Option("--from-below/--from-scratch", help="Start from the weights of the next lower resolution.")
    ] = True,
    resume: Annotated[bool, typer.Option("--resume", help="Go on where Ctrl-C or a crash stopped it.")] = False,
    source: Data = DataSource.AUTO,
    root: DataRoot = None,
    cache: Cache = CACHE,
    checkpoints: Checkpoints = CHECKPOINTS,
) -> None:
    """Train the network and write a checkpoint per resolution."""
    from train.dataset import prepare_datasets
    from train.stages import TrainingPlan, train_resolutions

    plan = TrainingPlan(
        model=model,
        framework=framework,
        seed=seed,
        epochs=epochs,
        precision="bfloat16" if fast else "float32",
        compiled=fast,
        from_below=from_below,
        resume=resume,
        checkpoints=checkpoints,
    )
    settings = image_settings(source, root, cache, resolutions)
    with progress_bar() as progress:
        datasets = prepare_datasets(settings, resolutions, progress)
        try:
            finished = list(train_resolutions(plan, datasets, progress))
        except KeyboardInterrupt:
            tell("\nstopped; whole epochs are kept. Next: the same command with --resume")
            raise typer.Exit(130) from None
    for path, trained in finished:
        for score in trained.record.metrics[:2]:
            show(f"{path.name}: {score.name} {_share(score)} on {score.images:,} {score.split} images ({score.data})")


def export(
    resolutions: Resolutions = list(RESOLUTIONS_PX),  # noqa: B006 (typer copies it)
    model: Model = "hemanet",
    force: Annotated[bool, typer.Option("--force", help="Export again what is up to date.")] = False,
    checkpoints: Checkpoints = CHECKPOINTS,
    artifacts: Artifacts = ARTIFACTS,
) -> None:
    """Write each framework's native artifact and ONNX, and prove parity of each."""
    from train.export import ExportSettings, export_all

    settings = ExportSettings(
        model=model, resolutions_px=tuple(resolutions), checkpoints=checkpoints, artifacts=artifacts, force=force
    )
    with progress_bar() as progress:
        made = export_all(settings, progress)
    from analysis.terminal import artifacts_table

    show(artifacts_table(made))


def verify(
    runtimes: Runtimes = list(NATIVE_RUNTIMES),  # noqa: B006 (typer copies it)
    resolutions: Resolutions = list(RESOLUTIONS_PX),  # noqa: B006 (typer copies it)
    device: Device = "cpu",
    artifacts: Artifacts = ARTIFACTS,
    as_json: Json = False,
) -> None:
    """Prove that every artifact, in the runtime that serves it, gives the reference's logits."""
    from serving.verify import verify_all

    with progress_bar() as progress:
        proved = verify_all(runtimes, resolutions, artifacts, device=device, progress=progress)
    if as_json:
        show_json(proved)
        return
    from analysis.terminal import parity_table

    show(parity_table([(one.runtime, one.resolution_px, one.parity) for one in proved]))


def _share(metric: Metric) -> str:
    return f"{metric.value:.2%} [{metric.low:.2%}, {metric.high:.2%}]"
