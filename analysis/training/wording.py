"""Training figures as people read them."""

from __future__ import annotations

from collections.abc import Iterable

from analysis.statistics import Absent, Figure
from analysis.training.common_errors import CommonErrors
from analysis.training.summary import Comparison, FrameworkFigures, NetworkFigures, RunFigures
from analysis.wording import listed, plain
from contract.records.training import TrainingRun

FRAMEWORK_NAMES = {"pytorch": "PyTorch", "keras": "TensorFlow/Keras", "flax": "JAX/Flax"}
# As train/frameworks/ writes their steps; PyTorch's runs choose, and their settings say so.
STEPS = {"keras": "a tf.function without XLA", "flax": "nnx.jit (XLA)"}
GIB = 2**30
RUN_HEADINGS = (
    "network",
    "framework",
    "seed",
    "validation accuracy",
    "test accuracy",
    "AUC",
    "ECE, %",
    "ECE calibrated, %",
    "first step, s",
    "to 97 %, s",
    "all epochs, s",
    "peak, GiB",
)
FRAMEWORK_HEADINGS = (
    "network",
    "framework",
    "seeds",
    "validation accuracy",
    "test accuracy",
    "AUC",
    "ECE, %",
    "ECE calibrated, %",
)
SPEED_HEADINGS = (
    "network",
    "framework",
    "images/s, steps alone",
    "images/s, loop",
    "first step, s",
    "to 97 %, s",
    "peak, GiB",
)
COMPARISON_HEADINGS = (
    "network",
    "seed",
    "frameworks",
    "only the first right",
    "only the second right",
    "p",
    "p, Holm",
)
COMMON_ERRORS_HEADINGS = (
    "network",
    "runs",
    "test images",
    "wrong in every run",
    "wrong in some run",
    "accuracy of all runs together",
)
COMMON_ERRORS_NOTE = (
    "All runs of a network, whatever their framework; together: the class with the largest mean of their calibrated "
    "probabilities, with Wilson's interval. What every run gets wrong another seed will hardly mend: the network "
    "cannot tell it, or its label is in doubt."
)


def network_name(model: str, resolution_px: int) -> str:
    """``hemanet, 28 px``."""
    return f"{model}, {resolution_px} px"


def framework_name(framework: str) -> str:
    """``JAX/Flax`` for ``flax``."""
    return FRAMEWORK_NAMES.get(framework, framework)


def shares(figures: Iterable[Figure]) -> list[str]:
    """Every one of them as `share` says it."""
    return list(map(share, figures))


def share(figure: Figure) -> str:
    """``98.34 % [97.85, 98.73]``, or why there is no number."""
    if isinstance(figure, Absent):
        return figure.reason
    return f"{100 * figure.value:.2f} % [{100 * figure.low:.2f}, {100 * figure.high:.2f}]"


def number(figure: Figure, factor: float = 1.0) -> str:
    """``512 [498, 521]`` in units of ``1 / factor``, or why there is no number."""
    if isinstance(figure, Absent):
        return figure.reason
    value, interval = plain(figure.scaled(factor))
    return f"{value} [{interval.replace(' to ', ', ')}]"


def area(figure: Figure) -> str:
    """``0.99912 [0.99850, 0.99951]``, or why there is no number."""
    if isinstance(figure, Absent):
        return figure.reason
    return f"{figure.value:.5f} [{figure.low:.5f}, {figure.high:.5f}]"


def error_rate(figure: Figure) -> str:
    """``0.82 [0.61, 1.24]`` in per cent, or why there is no number."""
    if isinstance(figure, Absent):
        return figure.reason
    return f"{100 * figure.value:.2f} [{100 * figure.low:.2f}, {100 * figure.high:.2f}]"


def chance(p: float) -> str:
    """A p-value; nothing below a thousandth is told apart."""
    return "< 0.001" if p < 0.001 else f"{p:.3f}"


def run_row(figures: RunFigures) -> tuple[str, ...]:
    """The cells under `RUN_HEADINGS`."""
    run = figures.run
    return (
        network_name(run.model, run.resolution_px),
        framework_name(run.framework),
        f"{run.seed}",
        share(figures.validation_accuracy),
        share(figures.accuracy),
        area(figures.auc),
        error_rate(figures.calibration_error),
        error_rate(figures.calibrated_error),
        f"{figures.first_step_s:.1f}",
        "never" if figures.to_target_s is None else f"{figures.to_target_s:.0f}",
        f"{figures.loop_s:.0f}",
        f"{run.peak_memory_bytes / GIB:.2f}",
    )


def framework_row(figures: FrameworkFigures) -> tuple[str, ...]:
    """The cells under `FRAMEWORK_HEADINGS`."""
    return (
        _network_of(figures),
        framework_name(figures.framework),
        f"{len(figures.runs)}",
        share(figures.validation_accuracy),
        share(figures.accuracy),
        area(figures.auc),
        error_rate(figures.calibration_error),
        error_rate(figures.calibrated_error),
    )


def _network_of(figures: FrameworkFigures) -> str:
    first = figures.runs[0].run
    return network_name(first.model, first.resolution_px)


def steps_as_run(runs: Iterable[RunFigures]) -> str:
    """Which framework's steps were compiled, and by what: a speed belongs to that as much as to the framework."""
    ways = dict.fromkeys(f"{framework_name(figures.run.framework)} {_step(figures.run)}" for figures in runs)
    return f"Speeds are of frameworks as their steps are run here: {listed(ways)}."


def _step(run: TrainingRun) -> str:
    if run.framework == "pytorch":
        return "through torch.compile" if run.settings.get("compiled", False) else "eager"
    return STEPS.get(run.framework, "in a way that this page does not know")


def speed_row(figures: FrameworkFigures) -> tuple[str, ...]:
    """The cells under `SPEED_HEADINGS`."""
    return (
        _network_of(figures),
        framework_name(figures.framework),
        number(figures.steps_images_per_s),
        number(figures.loop_images_per_s),
        number(figures.first_step_s),
        number(figures.to_target_s),
        number(figures.peak_memory_bytes, 1 / GIB),
    )


def comparison_row(pair: Comparison) -> tuple[str, ...]:
    """The cells under `COMPARISON_HEADINGS`."""
    return (
        network_name(pair.model, pair.resolution_px),
        f"{pair.seed}",
        f"{framework_name(pair.first)}, {framework_name(pair.second)}",
        f"{pair.only_first_right}",
        f"{pair.only_second_right}",
        chance(pair.chance),
        chance(pair.corrected_chance),
    )


def common_errors_row(network: NetworkFigures, errors: CommonErrors) -> tuple[str, ...]:
    """The cells under `COMMON_ERRORS_HEADINGS`."""
    return (
        network_name(network.model, network.resolution_px),
        f"{errors.runs}",
        f"{network.test_images:,}",
        f"{errors.wrong_in_every_run:,}",
        f"{errors.wrong_in_some_run:,}",
        share(errors.together),
    )


def reproducibility(runs: Iterable[RunFigures]) -> dict[str, list[str]]:
    """Names of runs by what their record says of a repetition."""
    said: dict[str, list[str]] = {}
    for figures in runs:
        said.setdefault(figures.run.reproducible, []).append(figures.run.name)
    return said
