"""Images, weights, artifacts: what there must be before anything is served."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from commands.console import NOTHING_WRITTEN, progress_bar, show, show_json, tell, typed_command, warn
from commands.evidence import conclude_verification
from commands.options import (
    ARTIFACTS,
    AUTO,
    CACHE,
    CHECKPOINTS,
    NATIVE_RUNTIMES,
    RESULTS,
    TRAINING_RESULTS,
    Artifacts,
    Cache,
    Checkpoints,
    Data,
    DataRoot,
    Device,
    Json,
    Model,
    Page,
    Resolutions,
    Results,
    Runtimes,
    Seeds,
    side_option,
)
from contract.blood_cells import RESOLUTIONS_PX

if TYPE_CHECKING:
    from train.dataset import DataSettings


def image_settings(
    source: str, root: Path | None, cache: Path, resolutions: Sequence[int], *, blood_cells: bool = False
) -> DataSettings:
    """One source for all resolutions, with ``blood_cells`` none of other sets; says so loudly when it is not real."""
    from train.dataset import DataSettings, choose_source, require_blood_cells

    choice = choose_source(DataSettings(source=source, root=root, cache=cache), resolutions)
    if blood_cells:
        require_blood_cells(choice.settings.source)
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
    source: Data = AUTO,
    root: DataRoot = None,
    cache: Cache = CACHE,
    resolutions: Resolutions = list(RESOLUTIONS_PX),  # noqa: B006 (typer copies it)
    rebuild: Annotated[bool, typer.Option("--rebuild", help="Make the cache anew.")] = False,
    as_json: Json = False,
) -> None:
    """Find images, download them if need be, and build the cache that training and load tests read."""
    from train.dataset import count_images, prepare_datasets

    settings = image_settings(source, root, cache, resolutions)
    with progress_bar("a set that was being built is not kept, the others are. Next: repeat the command") as progress:
        datasets = prepare_datasets(settings, resolutions, progress, rebuild=rebuild)
    first = next(iter(datasets.values()))
    counts = count_images(first)
    if as_json:
        facts = {px: dataset.facts for px, dataset in datasets.items()}
        show_json({"counts": counts, "facts": facts})
        return
    from analysis.terminal import counts_table

    show(counts_table(first.facts.description, counts))


Frameworks = Annotated[list[str], typer.Option("--framework", help="pytorch, keras, flax or all; repeat for several.")]
Fast = Annotated[
    bool, typer.Option("--fast", help="PyTorch only: bfloat16 and torch.compile, about 3 times as fast at 224 px.")
]
FromBelow = Annotated[
    bool, typer.Option("--from-below/--from-scratch", help="Start from the weights of the next lower resolution.")
]
FromCheckpoint = Annotated[
    Path | None,
    typer.Option(
        "--from-checkpoint",
        exists=True,
        dir_okay=False,
        help="Weights to start from instead, of the same data at any resolution: to train them longer, say.",
        show_default=False,
    ),
]
Teacher = Annotated[
    Path | None,
    typer.Option(
        "--teacher",
        exists=True,
        dir_okay=False,
        help="A checkpoint of a larger resolution to start from and to learn from.",
        show_default=False,
    ),
]


def train(
    resolutions: Resolutions = [28],  # noqa: B006 (typer copies it)
    frameworks: Frameworks = ["pytorch"],  # noqa: B006
    model: Model = "hemanet",
    seeds: Seeds = [0],  # noqa: B006
    seed_count: Annotated[
        int | None, typer.Option("--seeds", min=1, max=1_000, help="How many, from --seed on.", show_default=False)
    ] = None,
    epochs: Annotated[
        int | None, typer.Option("--epochs", min=1, max=10_000, help="Default: the recipe's.", show_default=False)
    ] = None,
    fast: Fast = False,
    from_below: FromBelow = True,
    from_checkpoint: FromCheckpoint = None,
    teacher: Teacher = None,
    campaign: Annotated[
        str | None,
        typer.Option("--campaign", help="Records go to results/training/NAME. Default: the time.", show_default=False),
    ] = None,
    resume: Annotated[bool, typer.Option("--resume", help="Go on where Ctrl-C or a crash stopped it.")] = False,
    source: Data = AUTO,
    root: DataRoot = None,
    cache: Cache = CACHE,
    checkpoints: Checkpoints = CHECKPOINTS,
    results: Results = RESULTS,
    as_json: Json = False,
) -> None:
    """Train the network, keep a record of each run, and write a checkpoint per resolution."""
    from train.campaign import CampaignSettings, default_campaign, train_campaign
    from train.dataset import model_for
    from train.frameworks import FRAMEWORKS
    from train.stages import TrainingPlan

    name = campaign or default_campaign()
    images = image_settings(source, root, cache, resolutions)
    plan = TrainingPlan(
        model=model_for(model, images.source),
        epochs=epochs,
        precision="bfloat16" if fast else "float32",
        compiled=fast,
        from_below=from_below,
        start=from_checkpoint,
        teacher=teacher,
        resume=resume,
        checkpoints=checkpoints,
    )
    settings = CampaignSettings(
        plan=plan,
        data=images,
        frameworks=tuple(FRAMEWORKS) if "all" in frameworks else tuple(frameworks),
        seeds=tuple(seeds) if seed_count is None else tuple(range(seeds[0], seeds[0] + seed_count)),
        resolutions_px=tuple(resolutions),
        folder=results / TRAINING_RESULTS / name,
        command=typed_command(),
    )
    with progress_bar(f"whole epochs are kept. Next: the same command with --resume --campaign {name}") as progress:
        records = train_campaign(settings, progress)
    _conclude_train(settings.folder, records, as_json)


def _conclude_train(folder: Path, records: list[Path], as_json: bool) -> None:
    from analysis.training.tables import trained_table
    from contract.records.training import load_training_record

    if as_json:
        show_json([load_training_record(record) for record in records])
    else:
        show(trained_table(records))
    tell(f"records: {folder}  Next: hemabench report {folder}")


def calibrate(
    resolutions: Resolutions = list(RESOLUTIONS_PX),  # noqa: B006 (typer copies it)
    model: Model = "hemanet",
    source: Data = AUTO,
    root: DataRoot = None,
    cache: Cache = CACHE,
    checkpoints: Checkpoints = CHECKPOINTS,
    as_json: Json = False,
) -> None:
    """Fit temperature and distribution of existing checkpoints anew, on the validation images; train does it itself."""
    from train.dataset import model_for
    from train.recalibration import recalibrate

    settings = image_settings(source, root, cache, resolutions)
    with progress_bar("checkpoints that were calibrated are kept. Next: repeat the command") as progress:
        calibrated = recalibrate(checkpoints, model_for(model, settings.source), settings, resolutions, progress)
    if as_json:
        show_json(
            {path.name: {"calibration": record.calibration, "metrics": record.metrics} for path, record in calibrated}
        )
        return
    for path, record in calibrated:
        assert record.calibration is not None  # just fitted
        fitted = record.calibration
        show(
            f"{path.name}: temperature {fitted.temperature:.3f}, distance threshold {fitted.distance_threshold:.1f}, "
            f"fitted on {fitted.images:,} validation images"
        )
        for score in record.metrics[-3:]:
            interval = f"{score.value:.2%} [{score.low:.2%}, {score.high:.2%}]"
            show(f"    {score.name}: {interval} of {score.images:,} {score.split} images")


def audit(
    resolution: Annotated[int, side_option("Side of the images that are compared.")] = 28,
    recorded: Annotated[
        Path | None,
        typer.Option(
            "--run",
            exists=True,
            file_okay=False,
            help="A training campaign: adds accuracies of the groups.",
            show_default=False,
        ),
    ] = None,
    page: Page = None,
    source: Data = AUTO,
    root: DataRoot = None,
    cache: Cache = CACHE,
    as_json: Json = False,
) -> None:
    """Does the split leak? Copies across it, and traces of how images were taken that could tell their class."""
    from commands.audit_tables import audit_page, audit_tables
    from contract.environment import describe_environment
    from contract.storage import write_atomically
    from train.audit.auditing import audit as audited
    from train.dataset import prepare_dataset

    settings = image_settings(source, root, cache, [resolution])
    with progress_bar("images that were built are, the comparison is not. Next: repeat the command") as progress:
        found = audited(prepare_dataset(settings, resolution, progress), settings, recorded, progress)
    if page is not None:
        created = datetime.now(UTC).isoformat(timespec="seconds")
        write_atomically(page, audit_page(found, typed_command(), describe_environment(), created).encode())
    if as_json:
        show_json(found)
        return
    for table in audit_tables(found):
        show(table)


def export(
    resolutions: Resolutions = list(RESOLUTIONS_PX),  # noqa: B006 (typer copies it)
    model: Model = "hemanet",
    force: Annotated[bool, typer.Option("--force", help="Export again what is up to date.")] = False,
    formats: Annotated[
        list[str] | None,
        typer.Option("--format", help="Repeat for several. Default: all that can be made here.", show_default=False),
    ] = None,
    cache: Cache = CACHE,
    checkpoints: Checkpoints = CHECKPOINTS,
    artifacts: Artifacts = ARTIFACTS,
    as_json: Json = False,
) -> None:
    """Write each framework's native artifact, ONNX, and ONNX in int8 where the training images are at hand."""
    from contract.manifest import FORMATS
    from train.export import ExportSettings, export_all
    from train.quantisation.making import quantise_all

    settings = ExportSettings(
        model=model,
        resolutions_px=tuple(resolutions),
        formats=tuple(formats or FORMATS),
        checkpoints=checkpoints,
        artifacts=own_artifacts(model, artifacts),
        force=force,
    )
    with progress_bar("artifacts that were proved are kept. Next: repeat the command") as progress:
        made = export_all(settings, progress)
        quantised = quantise_all(settings, cache, progress, required=bool(formats))
    if as_json:
        manifests = {str(artifact.folder): artifact.manifest for artifact in made + quantised.artifacts}
        show_json({"artifacts": manifests, "refusals": quantised.refusals})
        return
    from analysis.terminal import artifacts_table

    show(artifacts_table(made + quantised.artifacts))
    for artifact in quantised.artifacts:
        lost = artifact.manifest.metrics[-1]
        interval = f"{100 * lost.value:.2f} [{100 * lost.low:.2f}, {100 * lost.high:.2f}] points"
        show(f"{artifact.name}: {lost.name} {interval} of {lost.images:,} {lost.split} images")
    for refusal in quantised.refusals:
        warn(refusal)


def own_artifacts(model: str, artifacts: Path) -> Path:
    """Where artifacts of ``model`` go: those of other data sets have a folder below the usual one, unless told."""
    data_set = model.partition("-")[2]
    return artifacts / data_set if data_set and artifacts == ARTIFACTS else artifacts


def verify(
    run: Annotated[
        Path | None,
        typer.Argument(help="A run's folder or capsule. Default: the artifacts.", show_default=False),
    ] = None,
    runtimes: Runtimes = list(NATIVE_RUNTIMES),  # noqa: B006 (typer copies it)
    resolutions: Resolutions = list(RESOLUTIONS_PX),  # noqa: B006 (typer copies it)
    device: Device = "cpu",
    artifacts: Artifacts = ARTIFACTS,
    as_json: Json = False,
) -> None:
    """Prove artifacts: each gives the reference's logits in the runtime that serves it.

    Or a run: no byte has changed since it ended, and every number follows from its records.
    """
    if run is not None:
        conclude_verification(run, as_json)
        return
    from serving.inference.verify import verify_all

    with progress_bar(NOTHING_WRITTEN) as progress:
        proved = verify_all(runtimes, resolutions, artifacts, device=device, progress=progress)
    if as_json:
        show_json(proved)
        return
    from analysis.terminal import parity_table

    show(parity_table([(one.runtime, one.resolution_px, one.parity) for one in proved]))
