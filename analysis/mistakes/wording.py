"""The words of a mistakes run, the same in terminal, page and report."""

from __future__ import annotations

from collections.abc import Iterable

from analysis.mistakes.summary import AnswersChange, Effect, MistakesSummary
from analysis.statistics import Absent, Estimate, Figure
from analysis.wording import NONE, interval_of, listed, runtime_name, value_of
from contract.records.mistakes import FRAMEWORKS

STATISTICS = {
    "median": "median",
    "mean": "mean",
    "p99": "p99",
    "first_call_in_mean": "mean of 100, the first call in it",
    "mean_of_ten": "mean of ten",
    "closed_p99": "p99, closed loop",
    "open_p99": "p99, open loop (replayed)",
}
EXPECTATIONS = {
    "slower": "looks slower than it is",
    "faster": "looks faster than it is",
    "scatters": "scatters",
    "either": "depends on size and machine",
}


def leaders_name(names: Iterable[str]) -> str:
    """``JAX``, or ``tie of JAX and PyTorch``."""
    known = [runtime_name(name) for name in FRAMEWORKS if name in set(names)]
    if not known:
        return NONE
    return known[0] if len(known) == 1 else f"tie of {listed(known)}"


def winner_text(effect: Effect) -> str:
    """What became of the winner."""
    if effect.moved is None:
        return "no ranking"
    if effect.moved == "same":
        text = f"{leaders_name(effect.leaders_with)}, as without"
    else:
        text = f"{leaders_name(effect.leaders_without)} → {leaders_name(effect.leaders_with)}"
    return text if effect.other_winners is None else f"{text}; {effect.other_winners:.0%} of draws name another"


def moved_text(effect: Effect) -> str:
    """One word for the table."""
    return {"moved": "MOVED", "blurred": "blurred", "same": "stays", None: NONE}[effect.moved]


def time_text(figure: Figure) -> str:
    """``0.331 (0.329–0.334)`` in ms."""
    interval = interval_of(figure, "bare_ms")
    return f"{value_of(figure, 'bare_ms')} ({interval})" if interval else NONE


def factor_text(effect: Effect, framework: str) -> str:
    """``× 43.1 (42.0–45.2)``; a dash for those who do not make the mistake."""
    figure = effect.factors[framework]
    if framework not in effect.mistake.affected or not isinstance(figure, Estimate):
        return NONE
    value, interval = value_of(figure, "plain"), interval_of(figure, "plain").replace(" to ", "–")
    return f"× {value} ({interval})"


def statistics_text(effect: Effect) -> str:
    """How the side with the mistake and the one without are reported."""
    mistake = effect.mistake
    with_, without = STATISTICS[mistake.statistic], STATISTICS[mistake.reference_statistic]
    return with_ if with_ == without else f"{with_}, against {without}"


def reason_text(effect: Effect) -> str | None:
    """Why there are no numbers, or not all."""
    if effect.mistake.not_measured:
        return f"not measured: {effect.mistake.not_measured}"
    absent = [figure for figure in (*effect.without.values(), *effect.with_.values()) if isinstance(figure, Absent)]
    return absent[0].reason if absent else None


def share_text(figure: Figure) -> str:
    """A share with its interval."""
    interval = interval_of(figure, "percent").replace(" to ", "–")
    return f"{value_of(figure, 'percent')} ({interval})" if interval else NONE


def difference_text(change: AnswersChange) -> str:
    """The largest difference of a logit."""
    return NONE if change.difference is None else f"{change.difference:.2g}"


def answer_sentences(summary: MistakesSummary) -> list[str]:
    """The result in a few sentences."""
    ranked = [effect for effect in summary.effects if effect.moved is not None]
    moved = [effect for effect in ranked if effect.moved == "moved"]
    careful = ", ".join(f"{runtime_name(name)} {time_text(summary.careful[name])}" for name in FRAMEWORKS)
    found = [
        f"Measured carefully at {summary.plan.resolution_px} px, one image, one thread: {careful} ms. "
        f"Fastest: {leaders_name(summary.leaders)}.",
        f"{len(moved)} of {len(ranked)} mistakes, each made alone, name another winner"
        + (f": {'; '.join(effect.mistake.title for effect in moved)}." if moved else "."),
    ]
    factors = [
        (abs_factor, effect, name)
        for effect in ranked
        for name in effect.mistake.affected
        if isinstance(figure := effect.factors[name], Estimate)
        and figure.value > 0
        and (abs_factor := max(figure.value, 1 / figure.value)) > 1
    ]
    if factors:
        _, effect, name = max(factors, key=lambda found: found[0])
        found.append(
            f"The largest factor is {factor_text(effect, name)} for {runtime_name(name)}: {effect.mistake.title}."
        )
    return found
