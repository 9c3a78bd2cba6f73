"""The command line ``hemabench``: a table of contents. Each command imports its stage when it is called."""

from __future__ import annotations

import sys
from collections.abc import Iterator
from contextlib import contextmanager
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
    from rich.table import Table

    table = Table("layer", "output at 28 px", "parameters", *(f"MFLOP at {px} px" for px in flops), title=spec.name)
    for costs in zip(*(spec.costs(px) for px in flops), strict=True):
        shape = "×".join(map(str, costs[0].output_shape))
        table.add_row(costs[0].name, shape, f"{costs[0].parameters:,}", *(f"{cost.flops / 1e6:,.1f}" for cost in costs))
    table.add_section()
    table.add_row("sum", "", f"{spec.parameter_count:,}", *(f"{total / 1e6:,.1f}" for total in flops.values()))
    _print(table)


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
    from rich.table import Table

    table = Table("class", *counts, title=first.facts.description)
    for label in first.facts.labels:
        table.add_row(label, *(f"{of_split[label]:,}" for of_split in counts.values()))
    table.add_section()
    table.add_row("sum", *(f"{sum(of_split.values()):,}" for of_split in counts.values()))
    _print(table)


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
    checkpoints: Annotated[
        Path, typer.Option("--checkpoints", help="Where weights are read and written.")
    ] = CHECKPOINTS,
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
    checkpoints: Annotated[Path, typer.Option("--checkpoints")] = CHECKPOINTS,
    artifacts: Annotated[Path, typer.Option("--artifacts")] = ARTIFACTS,
) -> None:
    """Write each framework's native artifact and ONNX, and prove parity of each."""
    from train.export import ExportSettings, export_all

    settings = ExportSettings(
        model=model, resolutions_px=tuple(resolutions), checkpoints=checkpoints, artifacts=artifacts, force=force
    )
    with _progress() as progress:
        made = export_all(settings, progress)
    from rich.table import Table

    table = Table("artifact", "digest", "largest logit difference", "golden images", title="Artifacts")
    for artifact in made:
        parity = artifact.manifest.parity
        table.add_row(artifact.name, artifact.digest[:12], f"{parity.largest_difference:.1e}", str(parity.images))
    _print(table)


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
    from rich.table import Table

    table = Table("runtime", "px", "largest logit difference", "golden images", "batches", title="Parity")
    for one in proved:
        batches = ", ".join(map(str, one.parity.batches))
        difference = f"{one.parity.largest_difference:.1e}"
        table.add_row(one.runtime, str(one.resolution_px), difference, str(one.parity.images), batches)
    _print(table)


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
    os.execve(launch.command[0], launch.command, launch.environment)  # noqa: S606 (our own interpreter)


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
    from serving.classify import classify_at, classify_file
    from serving.settings import ServiceSettings

    if url:
        answer = classify_at(image, url, resolution)
    else:
        answer = classify_file(image, ServiceSettings(runtime=runtime, artifacts=artifacts), resolution)
    if as_json:
        _print_json(answer)
        return
    _print(_answer_table(answer))
    timing = "  ".join(f"{part} {duration:.3f}" for part, duration in answer.timing_ms.items())
    _print(f"{answer.model.name} at {answer.model.resolution} px on {answer.model.runtime}; ms: {timing}")
    _print(f"[dim]{answer.notice}[/dim]")


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


def _answer_table(answer: Any) -> object:
    from rich.progress_bar import ProgressBar
    from rich.table import Table

    table = Table(box=None, show_header=False, title=f"[bold]{answer.label}[/bold]", title_justify="left")
    for name, probability in sorted(answer.probabilities.items(), key=lambda pair: -pair[1]):
        table.add_row(name, ProgressBar(total=1, completed=probability, width=40), f"{probability:.1%}")
    return table


def _data_settings(source: DataSource, root: Path | None, cache: Path, resolutions: list[int]) -> Any:
    """One source for all resolutions; says so loudly when it is not real cells."""
    from train.dataset import DataSettings, choose_source

    choice = choose_source(DataSettings(source=source.value, root=root, cache=cache), resolutions)
    if choice.notice:
        typer.secho(choice.notice, fg="yellow", bold=True, err=True)
    return choice.settings


@contextmanager
def _progress() -> Iterator[Progress]:
    """A bar with what is running now and the time left; plain lines where there is no terminal."""
    if not sys.stderr.isatty():
        yield _PlainProgress()
        return
    from rich.console import Console
    from rich.progress import BarColumn, TextColumn, TimeElapsedColumn, TimeRemainingColumn
    from rich.progress import Progress as Bars

    columns = (TextColumn("{task.description}"), BarColumn(), TimeElapsedColumn(), TimeRemainingColumn())
    with Bars(*columns, console=Console(stderr=True)) as bars:
        task = bars.add_task("", total=None)
        yield lambda what, done, total: bars.update(task, description=what, completed=done, total=total)


class _PlainProgress:
    """One line whenever the whole percentage or the step's name changes, and at most one a second."""

    def __init__(self) -> None:
        self._last_s = 0.0

    def __call__(self, what: str, done: float, total: float) -> None:
        from time import monotonic

        if monotonic() - self._last_s >= 1 or done >= total:
            self._last_s = monotonic()
            typer.echo(f"[{done / total if total else 0:4.0%}] {what}", err=True)


if __name__ == "__main__":
    main()
