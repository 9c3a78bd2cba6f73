"""The command line ``hemabench``: a table of contents. Each command imports its stage when it is called."""

from __future__ import annotations

import sys
from contextlib import AbstractContextManager
from enum import StrEnum
from pathlib import Path
from typing import Annotated, Any

import typer

from contract.blood_cells import NOTICE, RESOLUTIONS_PX
from contract.errors import HemaBenchError, InvalidSettings
from contract.progress import Progress

app = typer.Typer(
    help=f"The same blood-cell network in PyTorch, TensorFlow and JAX, served alike and timed. {NOTICE}",
    no_args_is_help=True,
    pretty_exceptions_enable=False,
    context_settings={"help_option_names": ["-h", "--help"]},
)

CHECKPOINTS = Path("exported_models/checkpoints")
ARTIFACTS = Path("exported_models/artifacts")
RESULTS = Path("results")
NATIVE_RUNTIMES = ("pytorch", "tensorflow", "jax", "onnx")
CACHE = Path(".cache/datasets")


class DataSource(StrEnum):
    """Where images come from."""

    AUTO = "auto"
    PBC = "pbc"
    BLOODMNIST = "bloodmnist"
    SYNTHETIC = "synthetic"


Resolutions = Annotated[
    list[int], typer.Option("--resolution", "-r", help="Side of the model's input in pixels; repeat for several.")
]
Data = Annotated[DataSource, typer.Option("--data", help="auto: PBC images if found, else BloodMNIST, else rendered.")]
DataRoot = Annotated[Path | None, typer.Option("--data-root", help="Folder that holds pbc/.", show_default=False)]
Cache = Annotated[Path, typer.Option("--cache", help="Where data sets are kept once built.")]
Model = Annotated[str, typer.Option("--model", help="hemanet or resnet18.")]
Seed = Annotated[int, typer.Option("--seed", min=0)]
Runtimes = Annotated[list[str], typer.Option("--runtime", help="Repeat for several.")]
Device = Annotated[str, typer.Option("--device", help="cpu, cuda or cuda:N.")]
Threads = Annotated[int, typer.Option("--threads", min=1, help="Threads of one inference.")]
Artifacts = Annotated[Path, typer.Option("--artifacts", help="Where exported models lie.")]
Checkpoints = Annotated[Path, typer.Option("--checkpoints", help="Where weights lie.")]
Results = Annotated[Path, typer.Option("--results", help="Where runs are kept.")]
Json = Annotated[bool, typer.Option("--json", help="Print JSON instead of a table.")]


@app.command()
def info(model: Model = "hemanet", as_json: Json = False) -> None:
    """What the network costs: layers, parameters and FLOPs per resolution."""
    from contract.architecture import spec_named

    spec = spec_named(model)
    flops = {resolution_px: spec.flops(resolution_px) for resolution_px in RESOLUTIONS_PX}
    if as_json:
        _print_json({"model": spec.name, "digest": spec.digest, "parameters": spec.parameter_count, "flops": flops})
        return
    from analysis.terminal import network_table

    _print(network_table(spec))


@app.command()
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

    settings = _data_settings(source, root, cache, resolutions)
    with _progress() as progress:
        datasets = prepare_datasets(settings, resolutions, progress, rebuild=rebuild)
    first = next(iter(datasets.values()))
    counts = count_images(first)
    if as_json:
        facts = {px: dataset.facts for px, dataset in datasets.items()}
        _print_json({"counts": counts, "facts": facts})
        return
    from analysis.terminal import counts_table

    _print(counts_table(first.facts.description, counts))


@app.command()
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
        checkpoints=checkpoints,
    )
    settings = _data_settings(source, root, cache, resolutions)
    with _progress() as progress:
        datasets = prepare_datasets(settings, resolutions, progress)
        finished = list(train_resolutions(plan, datasets, progress))
    for path, trained in finished:
        for score in trained.record.metrics[:2]:
            _print(f"{path.name}: {score.name} {_share(score)} on {score.images:,} {score.split} images ({score.data})")


@app.command()
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
    with _progress() as progress:
        made = export_all(settings, progress)
    from analysis.terminal import artifacts_table

    _print(artifacts_table(made))


@app.command()
def verify(
    runtimes: Runtimes = list(NATIVE_RUNTIMES),  # noqa: B006 (typer copies it)
    resolutions: Resolutions = list(RESOLUTIONS_PX),  # noqa: B006 (typer copies it)
    device: Device = "cpu",
    artifacts: Artifacts = ARTIFACTS,
    as_json: Json = False,
) -> None:
    """Prove that every artifact, in the runtime that serves it, gives the reference's logits."""
    from serving.verify import verify_all

    with _progress() as progress:
        proved = verify_all(runtimes, resolutions, artifacts, device=device, progress=progress)
    if as_json:
        _print_json(proved)
        return
    from analysis.terminal import parity_table

    _print(parity_table([(one.runtime, one.resolution_px, one.parity) for one in proved]))


@app.command()
def serve(
    runtime: Annotated[str, typer.Option("--runtime", help="pytorch, tensorflow, jax, onnx or null.")] = "onnx",
    resolutions: Annotated[
        list[int] | None, typer.Option("--resolution", "-r", help="Default: all that are exported.", show_default=False)
    ] = None,
    host: Annotated[
        str, typer.Option("--host", help="0.0.0.0 for every interface; there is no authentication.")
    ] = "127.0.0.1",
    port: Annotated[int, typer.Option("--port", min=1, max=65535)] = 3000,
    device: Device = "cpu",
    threads: Threads = 1,
    artifacts: Artifacts = ARTIFACTS,
) -> None:
    """Serve one runtime over HTTP until Ctrl-C."""
    import os

    from serving.launch import prepare_launch
    from serving.settings import ServiceSettings

    settings = ServiceSettings(
        runtime=runtime, device=device, resolutions_px=tuple(resolutions or ()), artifacts=artifacts, threads=threads
    )
    launch = prepare_launch(settings, host=host, port=port)
    typer.echo(f"{runtime} at {launch.url}  ({NOTICE})", err=True)
    os.execve(launch.command[0], launch.command, launch.environment)


@app.command()
def classify(
    image: Annotated[Path, typer.Argument(help="A PNG, JPEG, WebP, TIFF or BMP of one cell.")],
    url: Annotated[str | None, typer.Option("--url", help="Ask a running service instead of this process.")] = None,
    runtime: Annotated[str, typer.Option("--runtime", help="In this process only.")] = "onnx",
    resolution: Annotated[
        int | None, typer.Option("--resolution", "-r", help="Default: the smallest there is.")
    ] = None,
    artifacts: Artifacts = ARTIFACTS,
    as_json: Json = False,
) -> None:
    """Which cell is this? Label, probabilities and where the time went."""
    from analysis.terminal import probabilities_table
    from serving.classify import classify_at, classify_file
    from serving.settings import ServiceSettings

    if url:
        answer = classify_at(image, url, resolution)
    else:
        answer = classify_file(image, ServiceSettings(runtime=runtime, artifacts=artifacts), resolution)
    if as_json:
        _print_json(answer)
        return
    _print(probabilities_table(answer.label, answer.probabilities))
    timing = "  ".join(f"{part} {duration:.3f}" for part, duration in answer.timing_ms.items())
    _print(f"{answer.model.name} at {answer.model.resolution} px on {answer.model.runtime}; ms: {timing}")
    _print(f"[dim]{answer.notice}[/dim]")


@app.command()
def load(
    url: Annotated[str, typer.Option("--url", help="A service that is running.")] = "http://127.0.0.1:3000",
    resolution: Annotated[int, typer.Option("--resolution", "-r")] = 28,
    users: Annotated[int, typer.Option("--users", min=1, help="Closed loop: how many wait for answers at once.")] = 1,
    arrival_rate: Annotated[
        float | None, typer.Option("--arrival-rate", help="Open loop: requests per second.", show_default=False)
    ] = None,
    duration_s: Annotated[float, typer.Option("--duration", help="Seconds that are measured.")] = 10.0,
    warmup_s: Annotated[float, typer.Option("--warmup", help="Seconds before that.")] = 2.0,
    seed: Seed = 0,
    source: Data = DataSource.AUTO,
    root: DataRoot = None,
    cache: Cache = CACHE,
    results: Results = RESULTS,
    as_json: Json = False,
) -> None:
    """Load a running service and report what its users would have waited."""
    from contract.records import Scenario
    from loadtest.single import offer_load

    scenario = Scenario(
        kind="closed_loop" if arrival_rate is None else "open_loop",
        users=users,
        arrival_rate_per_s=arrival_rate,
        warmup_s=warmup_s,
        duration_s=duration_s,
        seed=seed,
    )
    with _progress() as progress:
        datasets = _datasets(source, root, cache, [resolution], progress)
        folder = datasets[resolution]
        result = offer_load(url, scenario, resolution, folder, results, command=_command(), progress=progress)
    _conclude(result.folder, as_json)


@app.command()
def run(
    profile: Annotated[str, typer.Option("--profile", help="quick or full.")] = "full",
    runtimes: Runtimes = list(NATIVE_RUNTIMES),  # noqa: B006 (typer copies it)
    device: Device = "cpu",
    threads: Threads = 1,
    seed: Seed = 0,
    source: Data = DataSource.AUTO,
    root: DataRoot = None,
    cache: Cache = CACHE,
    train_anew: Annotated[bool, typer.Option("--train", help="Train the weights anew.")] = False,
    checkpoints: Checkpoints = CHECKPOINTS,
    artifacts: Artifacts = ARTIFACTS,
    results: Results = RESULTS,
    resume: Annotated[str | None, typer.Option("--resume", help="Name of a run under results/ to finish.")] = None,
    as_json: Json = False,
) -> None:
    """Images, weights, artifacts, parity, load tests, report: the whole chain."""
    from loadtest.campaign import run_campaign
    from loadtest.planning import CampaignSettings
    from loadtest.scenarios import profile_named

    chosen = profile_named(profile)
    resolutions = list(chosen.resolutions_px)
    with _progress() as progress:
        datasets = _datasets(source, root, cache, resolutions, progress)
        _make_sure_of_weights(source, root, cache, resolutions, checkpoints, progress, anew=train_anew)
        formats = _make_sure_of_artifacts(runtimes, resolutions, checkpoints, artifacts, progress)
        _prove(runtimes, resolutions, artifacts, device, progress)
        settings = CampaignSettings(
            profile=chosen,
            formats=formats,
            datasets=datasets,
            artifacts=artifacts,
            results=results,
            run=resume,
            resume=resume is not None,
            seed=seed,
            threads=threads,
            device=device,
            command=_command(),
        )
        folder = run_campaign(settings, progress)
    _conclude(folder, as_json)


@app.command()
def report(
    folder: Annotated[Path | None, typer.Argument(help="A run's folder. Default: the newest under results/.")] = None,
    baseline: Annotated[str | None, typer.Option("--baseline", help="The runtime that ratios refer to.")] = None,
    results: Results = RESULTS,
    as_json: Json = False,
) -> None:
    """Print a run's table and write its report.html, from its raw records."""
    _conclude(folder or _newest(results), as_json, baseline)


def main() -> None:
    """Run a command. Exit codes: 0 done, 1 failed with a message, 2 wrong usage or settings, 130 interrupted."""
    try:
        app()
    except InvalidSettings as error:
        _fail(error, 2)
    except HemaBenchError as error:
        _fail(error, 1)


def _fail(error: HemaBenchError, code: int) -> None:
    typer.secho(f"error: {error}", fg="red", err=True)
    sys.exit(code)


def _print(renderable: object) -> None:
    from rich.console import Console

    Console().print(renderable)


def _print_json(value: object) -> None:
    import msgspec

    typer.echo(msgspec.json.format(msgspec.json.encode(value), indent=2))


def _share(metric: Any) -> str:
    return f"{metric.value:.2%} [{metric.low:.2%}, {metric.high:.2%}]"


def _datasets(
    source: DataSource, root: Path | None, cache: Path, resolutions: list[int], progress: Progress
) -> dict[int, Path]:
    """The cache folder of each resolution, built where it was missing."""
    from contract.dataset import dataset_folder
    from train.dataset import prepare_datasets

    settings = _data_settings(source, root, cache, resolutions)
    prepare_datasets(settings, resolutions, progress)
    return {side: dataset_folder(settings.cache, settings.source, side) for side in resolutions}


def _make_sure_of_weights(
    source: DataSource,
    root: Path | None,
    cache: Path,
    resolutions: list[int],
    checkpoints: Path,
    progress: Progress,
    *,
    anew: bool,
) -> None:
    from train.dataset import prepare_datasets
    from train.stages import TrainingPlan, missing_checkpoints, train_resolutions

    plan = TrainingPlan(checkpoints=checkpoints)
    wanted = resolutions if anew else missing_checkpoints(plan, resolutions)
    if wanted:
        datasets = prepare_datasets(_data_settings(source, root, cache, wanted), wanted, progress)
        for path, _ in train_resolutions(plan, datasets, progress):
            progress(f"trained {path.name}", 1, 1)


def _make_sure_of_artifacts(
    runtimes: list[str], resolutions: list[int], checkpoints: Path, artifacts: Path, progress: Progress
) -> dict[str, str]:
    """The format that each runtime loads, exported where it was missing or outdated."""
    from serving.runtimes import entry_of
    from train.export import ExportSettings, export_all

    formats = {name: format_ for name in runtimes if (format_ := entry_of(name).format)}
    settings = ExportSettings(
        resolutions_px=tuple(resolutions),
        formats=tuple(dict.fromkeys(formats.values())),
        checkpoints=checkpoints,
        artifacts=artifacts,
    )
    export_all(settings, progress)
    return formats


def _prove(runtimes: list[str], resolutions: list[int], artifacts: Path, device: str, progress: Progress) -> None:
    from serving.verify import verify_all

    verify_all(runtimes, resolutions, artifacts, device=device, progress=progress)


def _conclude(folder: Path, as_json: bool, baseline: str | None = None) -> None:
    """Report a run in the terminal and as HTML; exit code 1 where a cell has no valid numbers."""
    from analysis.report import write_report
    from analysis.runs import load_run
    from analysis.summary import summarise
    from analysis.tables import summary_as_json, summary_tables

    summary = summarise(load_run(folder), baseline=baseline)
    path = write_report(folder, baseline=baseline)
    if as_json:
        typer.echo(summary_as_json(summary))
    else:
        _print(summary_tables(summary))
    typer.echo(f"report: {path}", err=True)
    if any(cell.verdict.status != "valid" for cell in summary.cells):
        sys.exit(1)


def _newest(results: Path) -> Path:
    from contract.errors import RunInvalid
    from contract.records import RUN_FILE

    runs = sorted(results.glob(f"*/{RUN_FILE}"), key=lambda plan: plan.stat().st_mtime)
    if not runs:
        raise RunInvalid(f"no run in {results}. Next: hemabench run")
    return runs[-1].parent


def _command() -> str:
    """What a person would type to repeat this."""
    import shlex

    return shlex.join(["hemabench", *sys.argv[1:]])


def _data_settings(source: DataSource, root: Path | None, cache: Path, resolutions: list[int]) -> Any:
    """One source for all resolutions; says so loudly when it is not real cells."""
    from train.dataset import DataSettings, choose_source

    choice = choose_source(DataSettings(source=source.value, root=root, cache=cache), resolutions)
    if choice.notice:
        typer.secho(choice.notice, fg="yellow", bold=True, err=True)
    return choice.settings


def _progress() -> AbstractContextManager[Progress]:
    from rich.console import Console

    from analysis.terminal import progress_on

    return progress_on(Console(stderr=True))


if __name__ == "__main__":
    main()
