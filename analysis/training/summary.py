"""A training campaign as figures: every run, the frameworks over seeds, and the frameworks beside each other."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from itertools import combinations, groupby
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from analysis.statistics import Absent, Estimate, Figure, across_runs, holm
from analysis.training import scores
from contract.dataset import Split
from contract.errors import RunInvalid
from contract.records.training import Predictions, TrainingRun, load_training_run, training_run_folders
from contract.timing import NS_PER_S

TARGET_ACCURACY = 0.97  # the study that this project answers reports "above 97 %"
Network = tuple[str, int]  # model, resolution_px


@dataclass(frozen=True, slots=True, kw_only=True)
class RunFigures:
    """One run. Times in seconds; ``to_target_s`` is None where validation never reached 97 %."""

    run: TrainingRun
    test: Predictions
    accuracy: Figure
    validation_accuracy: Figure
    auc: Figure
    calibration_error: Figure
    calibrated_error: Figure
    confusion: NDArray[np.int64]
    recalls: tuple[Figure, ...]
    first_step_s: float
    loop_s: float
    to_target_s: float | None


@dataclass(frozen=True, slots=True, kw_only=True)
class FrameworkFigures:
    """One framework's runs of one network, over seeds."""

    framework: str
    runs: tuple[RunFigures, ...]
    accuracy: Figure
    validation_accuracy: Figure
    auc: Figure
    calibration_error: Figure
    calibrated_error: Figure
    steps_images_per_s: Figure
    loop_images_per_s: Figure
    first_step_s: Figure
    to_target_s: Figure
    peak_memory_bytes: Figure
    recalls: tuple[Figure, ...]

    @property
    def confusion(self) -> NDArray[np.int64]:
        """Counts (true class, answered class) of all seeds together."""
        return np.asarray(sum(figures.confusion for figures in self.runs))


@dataclass(frozen=True, slots=True, kw_only=True)
class Comparison:
    """Two frameworks on the same test images; the p-values are McNemar's, plain and after Holm's correction."""

    model: str
    resolution_px: int
    seed: int
    first: str
    second: str
    images: int
    only_first_right: int
    only_second_right: int
    chance: float
    corrected_chance: float


@dataclass(frozen=True, slots=True, kw_only=True)
class NetworkFigures:
    """All frameworks of one network on one data set."""

    model: str
    resolution_px: int
    frameworks: tuple[FrameworkFigures, ...]

    @property
    def runs(self) -> tuple[RunFigures, ...]:
        """Every run, framework by framework."""
        return tuple(run for framework in self.frameworks for run in framework.runs)

    @property
    def test_images(self) -> int:
        """How many images each run was tested on."""
        return len(self.runs[0].test.labels)


@dataclass(frozen=True, slots=True, kw_only=True)
class TrainingSummary:
    """A campaign: its networks, lowest resolution first, and all comparisons, corrected as one family."""

    name: str
    networks: tuple[NetworkFigures, ...]
    comparisons: tuple[Comparison, ...]

    @property
    def runs(self) -> tuple[RunFigures, ...]:
        """Every run of the campaign."""
        return tuple(run for network in self.networks for run in network.runs)

    @property
    def frameworks(self) -> tuple[FrameworkFigures, ...]:
        """Every framework of every network."""
        return tuple(framework for network in self.networks for framework in network.frameworks)

    @property
    def is_real(self) -> bool:
        """Whether every run saw real cells."""
        return all(figures.run.data_is_real for figures in self.runs)


def summarise_training(folder: Path) -> TrainingSummary:
    """The figures of the finished runs in ``folder``; raises `RunInvalid`."""
    folders = training_run_folders(folder)
    if not folders:
        raise RunInvalid(f"no finished training run in {folder}. Next: hemabench train")
    runs = [run_figures(*load_training_run(place)) for place in folders]
    networks = tuple(_networks(runs))
    comparisons = _corrected([pair for network in networks for pair in _comparisons(network)])
    return TrainingSummary(name=folder.resolve().name, networks=networks, comparisons=comparisons)


def run_figures(run: TrainingRun, predictions: Mapping[Split, Predictions]) -> RunFigures:
    """What one run's record and predictions say."""
    test, validation = predictions["test"], predictions["validation"]
    confused = scores.confusion(test.logits, test.labels)
    return RunFigures(
        run=run,
        test=test,
        accuracy=scores.accuracy(test.logits, test.labels),
        validation_accuracy=scores.accuracy(validation.logits, validation.labels),
        auc=scores.mean_auc(test.logits, test.labels),
        calibration_error=scores.calibration_error(test.logits, test.labels),
        calibrated_error=_calibrated_error(run, test),
        confusion=confused,
        recalls=scores.recalls(confused),
        first_step_s=(run.startup_ns + run.first_step_ns) / NS_PER_S,
        loop_s=sum(epoch.loop_ns for epoch in run.epochs) / NS_PER_S,
        to_target_s=_to_target_s(run),
    )


def _calibrated_error(run: TrainingRun, test: Predictions) -> Figure:
    if run.temperature is None:
        return Absent("not calibrated")
    return scores.calibration_error(test.logits, test.labels, run.temperature)


def _to_target_s(run: TrainingRun) -> float | None:
    """From the start to the end of the first epoch that validated at 97 %; validating itself is not counted."""
    spent_ns = run.startup_ns
    for epoch in run.epochs:
        spent_ns += epoch.loop_ns
        if epoch.validation_accuracy >= TARGET_ACCURACY:
            return spent_ns / NS_PER_S
    return None


def _networks(runs: Sequence[RunFigures]) -> Iterable[NetworkFigures]:
    for (model, resolution_px), group in groupby(sorted(runs, key=_place), key=_network):
        members = list(group)
        _require_same_images(members)
        yield NetworkFigures(
            model=model,
            resolution_px=resolution_px,
            frameworks=tuple(
                _framework(name, tuple(own)) for name, own in groupby(members, key=lambda one: one.run.framework)
            ),
        )


def _network(figures: RunFigures) -> Network:
    return figures.run.model, figures.run.resolution_px


def _place(figures: RunFigures) -> tuple[str, int, str, int]:
    return (*_network(figures), figures.run.framework, figures.run.seed)


def _require_same_images(runs: Sequence[RunFigures]) -> None:
    """Raise `RunInvalid` where runs of one network were trained or tested on other images."""
    first = runs[0]
    for other in runs[1:]:
        same_test = np.array_equal(first.test.positions, other.test.positions)
        if not same_test or first.run.data_digest != other.run.data_digest:
            raise RunInvalid(
                f"{other.run.name} was tested on other images than {first.run.name} and cannot be compared with it. "
                "Next: keep them in campaigns of their own"
            )


def _framework(name: str, runs: tuple[RunFigures, ...]) -> FrameworkFigures:
    return FrameworkFigures(
        framework=name,
        runs=runs,
        accuracy=_mean_share([figures.accuracy for figures in runs]),
        validation_accuracy=_mean_share([figures.validation_accuracy for figures in runs]),
        auc=_mean_share([figures.auc for figures in runs]),
        calibration_error=_mean_share([figures.calibration_error for figures in runs]),
        calibrated_error=_mean_share([figures.calibrated_error for figures in runs]),
        steps_images_per_s=_throughput(runs, loop=False),
        loop_images_per_s=_throughput(runs, loop=True),
        first_step_s=scores.mean_over_seeds([figures.first_step_s for figures in runs]),
        to_target_s=_time_to_target(runs),
        peak_memory_bytes=scores.mean_over_seeds([figures.run.peak_memory_bytes for figures in runs]),
        recalls=tuple(
            _mean_share([figures.recalls[index] for figures in runs]) for index in range(len(runs[0].run.labels))
        ),
    )


def _mean_share(shares: Sequence[Figure]) -> Figure:
    """The mean over seeds; absent where one of them is, for its reason."""
    absent = next((figure for figure in shares if isinstance(figure, Absent)), None)
    found = [figure.value for figure in shares if isinstance(figure, Estimate)]
    return absent or scores.mean_over_seeds(found, share=True)


def _time_to_target(runs: Sequence[RunFigures]) -> Figure:
    reached = [figures.to_target_s for figures in runs if figures.to_target_s is not None]
    if len(reached) < len(runs):
        return Absent(f"{len(reached)} of {len(runs)} runs reached {TARGET_ACCURACY:.0%}", len(reached))
    return scores.mean_over_seeds(reached)


def _throughput(runs: Sequence[RunFigures], *, loop: bool) -> Figure:
    """The median over runs of each run's median epoch, in images per second, the first step left out.

    Whole runs are resampled: epochs of one process share its pace. Of a single run it is its epochs.
    """
    rates = [list(_rates(figures.run, loop=loop)) for figures in runs]
    if not all(rates):
        return Absent("no epoch beside the first step")
    if len(rates) > 1:
        return across_runs([float(np.median(one)) for one in rates], np.random.default_rng(0))
    if len(rates[0]) < 2:
        return Absent("1 epoch gives no interval", 1)
    return replace(across_runs(rates[0], np.random.default_rng(0)), of="epochs")


def _rates(run: TrainingRun, *, loop: bool) -> Iterable[float]:
    for epoch in run.epochs:
        images, spent_ns = epoch.images, epoch.loop_ns if loop else epoch.step_ns
        if epoch.epoch == 0:  # compiling is reported as the time to the first step
            images, spent_ns = images - run.batch_images, spent_ns - run.first_step_ns
        if images > 0 and spent_ns > 0:
            yield images / spent_ns * NS_PER_S


def _comparisons(network: NetworkFigures) -> Iterable[Comparison]:
    """Every pair of frameworks, seed by seed: what they share is the initial weights and the batches."""
    seeds = sorted({figures.run.seed for figures in network.runs})
    for seed in seeds:
        of_seed = [figures for figures in network.runs if figures.run.seed == seed]
        for first, second in combinations(of_seed, 2):
            right = [one.test.logits.argmax(axis=1) == one.test.labels for one in (first, second)]
            only_first, only_second = int((right[0] & ~right[1]).sum()), int((right[1] & ~right[0]).sum())
            chance = scores.exact_mcnemar(only_first, only_second)
            yield Comparison(
                model=network.model,
                resolution_px=network.resolution_px,
                seed=seed,
                first=first.run.framework,
                second=second.run.framework,
                images=len(right[0]),
                only_first_right=only_first,
                only_second_right=only_second,
                chance=chance,
                corrected_chance=chance,
            )


def _corrected(comparisons: Sequence[Comparison]) -> tuple[Comparison, ...]:
    corrected = holm([pair.chance for pair in comparisons])
    return tuple(replace(pair, corrected_chance=chance) for pair, chance in zip(comparisons, corrected, strict=True))
