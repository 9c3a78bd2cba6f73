"""Every number of a report, derived from the raw records of one run folder."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from itertools import groupby

from analysis.differences import MINIMUM_EFFECT, Difference, compared_with, differences_from, medians_of_runs
from analysis.load.confusion import Confusion, confusions
from analysis.load.curve import Curve, curve_of
from analysis.load.figures import Figures, Key, figures_of, recorded, stream
from analysis.load.judging.findings import Limits
from analysis.load.judging.stationarity import Windows, windows_of
from analysis.load.runs import RecordedCell, Requests, Run
from analysis.load.verdicts import Status, Verdict, judge
from analysis.statistics import Absent, Estimate, Figure, ResampledMedian, ratio_of_medians, resample_median
from analysis.wording import RUNTIME_NAMES, SCENARIO_NAMES
from contract.errors import InvalidSettings
from contract.progress import Progress, counted, silent
from contract.records.load import NULL_RUNTIME, STEPPED_KINDS, Cell, RunPlan, Scenario

USUAL_BASELINE = "pytorch"


@dataclass(frozen=True, slots=True, kw_only=True)
class CellSummary:
    """One planned cell: its verdict and how much was recorded, whatever the verdict."""

    cell: Cell
    verdict: Verdict
    scenario: Scenario | None
    recorded: int
    answered: int
    start_up_s: float | None
    load_average: float | None
    generator_cpu_share: float | None
    windows: Windows | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Contender:
    """A runtime at a resolution under a scenario, over all its repetitions; ``figures`` come from the valid ones.

    A ladder and a search have a ``curve`` instead. ``difference`` says what the response
    ratio to the baseline shows; None for the baseline, and where there is nothing to compare.
    """

    runtime: str
    resolution_px: int
    scenario: str
    cells: tuple[CellSummary, ...]
    figures: Figures | None
    response_ratio: Figure
    infer_ratio: Figure
    difference: Difference | None = None
    curve: Curve | None = None

    @property
    def status(self) -> Status:
        """Valid when any repetition is; missing when all are."""
        statuses = {summary.verdict.status for summary in self.cells}
        if "valid" in statuses:
            return "valid"
        return "invalid" if "invalid" in statuses else "missing"

    @property
    def requests(self) -> int:
        """Answered, measured requests of the valid repetitions."""
        return sum(summary.answered for summary in self.cells if summary.verdict.status == "valid")


@dataclass(frozen=True, slots=True, kw_only=True)
class Lead:
    """Who has the shortest median response time at one resolution, and by how much.

    ``level_with`` are those that cannot be told from the fastest: by the test of `compared_with`, or by the interval of
    their ratio where the ``starts`` of each service are too few for it. ``ratio`` is the median of
    ``versus`` (the baseline, or the runner-up where the baseline leads) over the fastest's.
    """

    scenario: str
    resolution_px: int
    fastest: str
    level_with: tuple[str, ...]
    starts: int
    versus: str | None
    ratio: Figure


@dataclass(frozen=True, slots=True, kw_only=True)
class RunSummary:
    """A run in numbers, its contenders by resolution, runtime and scenario.

    ``confusions`` say which classes were taken for which, by resolution; ``damage`` and
    ``unlisted`` are what the run's folder holds besides.
    """

    plan: RunPlan
    baseline: str
    limits: Limits
    contenders: tuple[Contender, ...]
    leads: tuple[Lead, ...]
    confusions: tuple[Confusion, ...]
    damage: tuple[str, ...]
    unlisted: tuple[str, ...]

    @property
    def runtimes(self) -> tuple[str, ...]:
        """In the order that every table and chart keeps, whatever the order of measuring was."""
        return tuple(dict.fromkeys(contender.runtime for contender in sorted(self.contenders, key=_runtime_place)))

    @property
    def resolutions_px(self) -> tuple[int, ...]:
        """Ascending."""
        return tuple(sorted({contender.resolution_px for contender in self.contenders}))

    @property
    def scenarios(self) -> tuple[str, ...]:
        """The first is the one the answer is about."""
        return tuple(dict.fromkeys(contender.scenario for contender in sorted(self.contenders, key=_scenario_place)))

    @property
    def cells(self) -> tuple[CellSummary, ...]:
        """Every planned cell."""
        return tuple(cell for contender in self.contenders for cell in contender.cells)

    def count(self, status: Status) -> int:
        """How many cells got that verdict."""
        return sum(cell.verdict.status == status for cell in self.cells)

    def of_scenario(self, scenario: str) -> tuple[Contender, ...]:
        """Contenders under ``scenario``, by resolution, then in the order of `runtimes`."""
        return tuple(contender for contender in self.contenders if contender.scenario == scenario)


def summarise(
    run: Run, *, baseline: str | None = None, limits: Limits | None = None, progress: Progress = silent
) -> RunSummary:
    """Judge every cell of ``run`` and derive the figures of the valid ones.

    Resampling is seeded by the run's own seed: the same folder gives the same numbers.
    Raises `InvalidSettings` where the run holds no runtime called ``baseline``.
    """
    limits = limits or Limits()
    baseline = _baseline(run.plan, baseline)
    judged = [
        (recording, judge(run, recording, limits)) for recording in counted(run.cells, progress, "judge the cells")
    ]
    answers = _valid_answers(judged)
    differences = differences_from(baseline, answers)
    medians = {key: _resampled(run.plan, key, requests) for key, requests in answers.items()}
    return RunSummary(
        plan=run.plan,
        baseline=baseline,
        limits=limits,
        contenders=tuple(
            replace(
                _contender(run, key, cells, answers.get(key, []), medians, baseline),
                difference=differences.get(key),
                curve=_curve(cells, limits),
            )
            for key, cells in sorted(_by_contender(judged).items(), key=_reading_order)
        ),
        leads=_leads(answers, medians, baseline),
        confusions=confusions(run.plan, answers),
        damage=run.damage,
        unlisted=run.unlisted,
    )


Judged = tuple[RecordedCell, Verdict]


@dataclass(frozen=True, slots=True)
class _Medians:
    response: ResampledMedian
    infer: ResampledMedian | None


def _baseline(plan: RunPlan, wanted: str | None) -> str:
    runtimes = sorted({cell.runtime for cell in plan.cells}, key=lambda runtime: _place(RUNTIME_NAMES, runtime))
    if wanted is not None and wanted not in runtimes:
        raise InvalidSettings(f"no runtime {wanted!r} in run {plan.run}; choose one of: {', '.join(runtimes)}")
    if wanted is None and USUAL_BASELINE not in runtimes:
        models = [runtime for runtime in runtimes if runtime != NULL_RUNTIME]
        return (models or runtimes or [USUAL_BASELINE])[0]
    return wanted or USUAL_BASELINE


Place = tuple[int, str]


def _place(table: Iterable[str], name: str) -> Place:
    """Known names in the order of their table, others by name after them."""
    known = list(table)
    return (known.index(name) if name in known else len(known), name)


def _runtime_place(contender: Contender) -> Place:
    return _place(RUNTIME_NAMES, contender.runtime)


def _scenario_place(contender: Contender) -> Place:
    return _place(SCENARIO_NAMES, contender.scenario)


def _reading_order(item: tuple[Key, object]) -> tuple[int, Place, Place]:
    runtime, resolution_px, scenario = item[0]
    return resolution_px, _place(RUNTIME_NAMES, runtime), _place(SCENARIO_NAMES, scenario)


def _key(cell: Cell) -> Key:
    return cell.runtime, cell.resolution_px, cell.scenario


def _by_contender(judged: Sequence[Judged]) -> dict[Key, list[Judged]]:
    groups: dict[Key, list[Judged]] = {}
    for recording, verdict in judged:
        groups.setdefault(_key(recording.cell), []).append((recording, verdict))
    return groups


def _valid_answers(judged: Sequence[Judged]) -> dict[Key, list[Requests]]:
    return {
        key: valid
        for key, cells in _by_contender(judged).items()
        if key[2] not in STEPPED_KINDS
        and (valid := [recording.requests.answers() for recording, verdict in cells if verdict.status == "valid"])
    }


def _curve(cells: Sequence[Judged], limits: Limits) -> Curve | None:
    """Of the first valid cell."""
    valid = [recording for recording, verdict in cells if verdict.status == "valid" and recording.outcome]
    if not valid or valid[0].outcome is None:
        return None
    return curve_of(valid[0].outcome, valid[0].requests, limits.send_delay_p99_ms)


def _resampled(plan: RunPlan, key: Key, runs: Sequence[Requests]) -> _Medians:
    infer = [times for run in runs if len(times := recorded(run.parts_ns["infer"]))]
    return _Medians(
        response=resample_median([run.response_time_ns for run in runs], stream(plan, "response", *key)),
        infer=resample_median(infer, stream(plan, "infer", *key)) if infer else None,
    )


def _contender(
    run: Run,
    key: Key,
    cells: Sequence[Judged],
    answers: Sequence[Requests],
    medians: dict[Key, _Medians],
    baseline: str,
) -> Contender:
    runtime, resolution_px, scenario = key
    base = (baseline, resolution_px, scenario)
    response = {place: found.response for place, found in medians.items()}
    infer = {place: found.infer for place, found in medians.items() if found.infer}
    return Contender(
        runtime=runtime,
        resolution_px=resolution_px,
        scenario=scenario,
        cells=tuple(_cell_summary(recording, verdict) for recording, verdict in cells),
        figures=figures_of(run, key, answers) if answers else None,
        response_ratio=_ratio(response.get(key), response.get(base), baseline),
        infer_ratio=_ratio(infer.get(key), infer.get(base), baseline),
    )


def _ratio(own: ResampledMedian | None, base: ResampledMedian | None, baseline: str) -> Figure:
    if own is None:
        return Absent("nothing was measured to compare")
    if base is None:
        return Absent(f"the baseline {baseline} has nothing to compare with")
    if own is base:
        return Estimate(1.0, 1.0, 1.0, own.n, own.of)
    return ratio_of_medians(own, base)


def _cell_summary(recording: RecordedCell, verdict: Verdict) -> CellSummary:
    outcome = recording.outcome
    return CellSummary(
        cell=recording.cell,
        verdict=verdict,
        scenario=outcome.scenario if outcome else None,
        recorded=len(recording.requests),
        answered=len(recording.requests.answers()),
        start_up_s=outcome.start_up_s if outcome else None,
        load_average=outcome.load_average if outcome else None,
        generator_cpu_share=outcome.generator_cpu_share if outcome else None,
        windows=windows_of(recording.requests),
    )


def _leads(answers: Mapping[Key, Sequence[Requests]], medians: dict[Key, _Medians], baseline: str) -> tuple[Lead, ...]:
    runtimes = [key for key in medians if key[0] != NULL_RUNTIME]  # the floor competes with nobody
    places = sorted(runtimes, key=lambda key: (key[2], key[1]))
    return tuple(
        _lead(place, {key[0]: medians[key].response for key in keys}, answers, baseline)
        for place, keys in groupby(places, key=lambda key: (key[2], key[1]))
    )


def _lead(
    place: tuple[str, int],
    medians: dict[str, ResampledMedian],
    answers: Mapping[Key, Sequence[Requests]],
    baseline: str,
) -> Lead:
    scenario, resolution_px = place
    fastest, *others = sorted(medians, key=lambda runtime: medians[runtime].value)
    ratios = {other: ratio_of_medians(medians[other], medians[fastest]) for other in others}
    runs = {name: medians_of_runs(answers[name, resolution_px, scenario]) for name in (fastest, *others)}
    tested = compared_with(runs[fastest], [runs[other] for other in others])
    # Starts that are too few for a test leave the interval; of one start it is the scatter of its requests.
    slower = {
        other: _is_slower(ratios[other]) if tested is None else tested[number].says == "slower"
        for number, other in enumerate(others)
    }
    versus = baseline if baseline in ratios else others[0] if others else None
    return Lead(
        scenario=scenario,
        resolution_px=resolution_px,
        fastest=fastest,
        level_with=tuple(other for other in others if not slower[other]),
        starts=min(map(len, runs.values())),
        versus=versus,
        ratio=ratios[versus] if versus else Absent("only one runtime has a valid cell"),
    )


def _is_slower(ratio: Figure) -> bool:
    return isinstance(ratio, Estimate) and ratio.low > MINIMUM_EFFECT
