"""What each mistake does: the ranking with and without it, the factor it adds, the answers it changes."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np

from analysis.mistakes.recorded import Calls, MistakesRun
from analysis.mistakes.reported import (
    UTILISATION,
    Moved,
    how_moved,
    leaders,
    report,
    share_of_other_winners,
)
from analysis.statistics import Absent, Estimate, Figure, FloatColumn, across_runs, proportion
from contract.records.mistakes import CAREFUL, FRAMEWORKS, ONE_THREAD, Answers, Mistake, MistakesPlan


@dataclass(frozen=True, slots=True, kw_only=True)
class AnswersChange:
    """What a mistake does to one framework's answers; ``difference`` is the largest of a logit."""

    framework: str
    right_without: Figure
    right_with: Figure
    changed: Figure
    difference: float | None


@dataclass(frozen=True, slots=True, kw_only=True)
class Effect:
    """One mistake. Times are in ns by framework; a factor is time with the mistake ÷ time without."""

    mistake: Mistake
    without: dict[str, Figure]
    with_: dict[str, Figure]
    factors: dict[str, Figure]
    leaders_without: frozenset[str]
    leaders_with: frozenset[str]
    other_winners: float | None
    answers: tuple[AnswersChange, ...]

    @property
    def moved(self) -> Moved | None:
        """What became of the leaders; None where there is no ranking."""
        if not self.leaders_without or not self.leaders_with:
            return None
        return how_moved(self.leaders_without, self.leaders_with)


@dataclass(frozen=True, slots=True, kw_only=True)
class MistakesSummary:
    """All that is said about a run."""

    plan: MistakesPlan
    careful: dict[str, Figure]
    first_calls: dict[str, Figure]
    leaders: frozenset[str]
    effects: tuple[Effect, ...]
    warnings: tuple[str, ...]


def summarise_mistakes(run: MistakesRun, rng: np.random.Generator) -> MistakesSummary:
    """The summary of ``run``; ``rng`` resamples processes, draws tens of calls and arrivals."""
    careful = {name: report("median", _calls(run, name, ONE_THREAD.name, CAREFUL), 0, rng)[0] for name in FRAMEWORKS}
    return MistakesSummary(
        plan=run.plan,
        careful=careful,
        first_calls={name: _first_call(run, name, rng) for name in FRAMEWORKS},
        leaders=leaders(careful),
        effects=tuple(_effect(run, mistake, rng) for mistake in run.plan.mistakes),
        warnings=tuple(_warnings(run)),
    )


def _effect(run: MistakesRun, mistake: Mistake, rng: np.random.Generator) -> Effect:
    without: dict[str, Figure] = {}
    with_: dict[str, Figure] = {}
    factors: dict[str, Figure] = {}
    gap_ns = arrival_gap_ns(run)
    for name in FRAMEWORKS:
        if mistake.not_measured:
            without[name] = with_[name] = factors[name] = Absent(mistake.not_measured)
            continue
        reference = _calls(run, name, *mistake.reference(name))
        without[name], before = report(mistake.reference_statistic, reference, gap_ns, rng)
        if name in mistake.affected:
            mistaken = _calls(run, name, *mistake.way(name))
            with_[name], after = report(mistake.statistic, mistaken, gap_ns, rng)
            factors[name] = _factor(without[name], with_[name], before, after, rng)
        else:
            with_[name], factors[name] = without[name], Estimate(1.0, 1.0, 1.0, run.plan.processes, "processes")
    first = leaders(without)
    return Effect(
        mistake=mistake,
        without=without,
        with_=with_,
        factors=factors,
        leaders_without=first,
        leaders_with=leaders(with_),
        other_winners=_other_winners(run, mistake, first, rng),
        answers=tuple(_answers(run, mistake)),
    )


def _calls(run: MistakesRun, framework: str, setup: str, way: str) -> tuple[Calls, ...]:
    return run.calls.get((framework, setup, way), ())


def arrival_gap_ns(run: MistakesRun) -> float:
    """Between two arrivals of a replay on average: one for all, so that the slowest is busy 70 % of the time."""
    means = [
        float(np.mean(np.concatenate([one.measured_ns for one in calls])))
        for name in FRAMEWORKS
        if (calls := _calls(run, name, ONE_THREAD.name, CAREFUL))
    ]
    return max(means, default=0.0) / UTILISATION


def _factor(
    without: Figure, with_: Figure, before: FloatColumn, after: FloatColumn, rng: np.random.Generator
) -> Figure:
    """The ratio within each process where there is one, so that what a process has of its own cancels out."""
    if not isinstance(without, Estimate) or not isinstance(with_, Estimate):
        return without if isinstance(without, Absent) else with_
    if len(before) == 0 or len(after) != len(before):
        return with_.scaled(1 / without.value)
    ratio = across_runs((after / before).tolist(), rng)
    return Estimate(ratio.value, ratio.low, ratio.high, ratio.n, "processes")


def _other_winners(
    run: MistakesRun, mistake: Mistake, winners: frozenset[str], rng: np.random.Generator
) -> float | None:
    calls = {name: _calls(run, name, *mistake.way(name)) for name in FRAMEWORKS}
    if mistake.statistic != "mean_of_ten" or not winners or not all(calls.values()):
        return None
    return share_of_other_winners(calls, winners, rng)


def _first_call(run: MistakesRun, framework: str, rng: np.random.Generator) -> Figure:
    firsts = [one.first_ns for one in _calls(run, framework, ONE_THREAD.name, CAREFUL) if one.first_ns is not None]
    return across_runs(firsts, rng) if firsts else Absent("not measured")


def _answers(run: MistakesRun, mistake: Mistake) -> list[AnswersChange]:
    """One line per framework that makes ``mistake`` and was asked for its answers.

    Where the reference has no answers of its own, the photographs' careful preprocessing has the same input.
    """
    if not mistake.answers:
        return []
    found = []
    for name in mistake.affected:
        before = run.answers.get((name, mistake.reference(name)[1]))
        after = run.answers.get((name, mistake.way(name)[1]))
        if before is not None and after is not None:
            found.append(_change(name, before, after, _difference(run, name, mistake.way(name))))
    return found


def _change(framework: str, before: Answers, after: Answers, difference: float | None) -> AnswersChange:
    expected = np.array(before.expected)
    was, is_ = np.array(before.classes), np.array(after.classes)
    return AnswersChange(
        framework=framework,
        right_without=proportion(int((was == expected).sum()), len(expected)),
        right_with=proportion(int((is_ == expected).sum()), len(expected)),
        changed=proportion(int((was != is_).sum()), len(expected)),
        difference=difference,
    )


def _difference(run: MistakesRun, framework: str, key: tuple[str, str]) -> float | None:
    setup, way = key
    of = [one.largest_difference for one in run.processes if (one.framework, one.setup) == (framework, setup)]
    found: Mapping[str, float] = of[0] if of else {}
    return found.get(way)


def _warnings(run: MistakesRun) -> list[str]:
    plan = run.plan
    said = []
    if run.unfinished:
        said.append("The run was stopped before it was complete: intervals rest on what there is.")
    if plan.processes < 5:
        said.append(f"{plan.processes} processes per framework: intervals are too narrow. Next: --profile full")
    if plan.load_average > 0.5 * plan.environment.cores:
        said.append(
            f"The machine was busy when the run began (load average {plan.load_average:.1f} on "
            f"{plan.environment.cores} cores). Next: repeat it on a quiet machine"
        )
    if not plan.data_is_real:
        said.append("Synthetic images: time is measured, right answers are not.")
    return said
