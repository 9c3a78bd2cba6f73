"""Numbers as people read them: three significant digits, the interval in the digits of the value."""

from __future__ import annotations

from collections.abc import Iterable

from analysis.statistics import Absent, Estimate, Figure
from contract.timing import NS_PER_MS

NONE = "–"

# What resampling whole runs gives for a median, in the long run and of many runs 93 % or more: too little where few can
# be drawn in few ways. Odd numbers are exact: their interval is between order statistics.
PROMISED = {2: 0.5, 3: 0.75, 4: 0.88, 5: 0.94, 7: 0.88}
FEW_PROMISE = "Over two of them an interval promises 50 % in place of 95 %, over three 75 %, over four or seven 88 %."

# Where a runtime's own way of writing its name is not the word in the command line.
RUNTIME_NAMES = {
    "pytorch": "PyTorch",
    "tensorflow": "TensorFlow",
    "jax": "JAX",
    "onnx": "ONNX Runtime",
    "null": "null service",
}
SCENARIO_NAMES = {
    "closed_loop": "Closed loop",
    "open_loop": "Open loop",
    "soak": "Soak",
    "spike": "Spike",
    "offline": "Offline",
    "ladder": "Ladder of rates",
    "find_rate": "Highest rate within the limit",
}
PART_NAMES = {"infer": "inference", "network": "network and framework"}


def runtime_name(runtime: str) -> str:
    """``PyTorch`` for ``pytorch``; a runtime that is not listed keeps its word."""
    return RUNTIME_NAMES.get(runtime, runtime)


def scenario_name(scenario: str) -> str:
    """``Closed loop`` for ``closed_loop``."""
    return SCENARIO_NAMES.get(scenario, scenario.replace("_", " ").capitalize())


def part_name(part: str) -> str:
    """``inference`` for ``infer``."""
    return PART_NAMES.get(part, part)


def milliseconds(estimate: Estimate) -> tuple[str, str]:
    """A time in nanoseconds as ``("1.23 ms", "1.20 to 1.26")``."""
    value, interval = plain(estimate.scaled(1 / NS_PER_MS))
    return f"{value} ms", interval


def percent(estimate: Estimate) -> tuple[str, str]:
    """A share as ``("98.4 %", "97.9 to 98.8")``, with one decimal."""
    return f"{100 * estimate.value:.1f} %", f"{100 * estimate.low:.1f} to {100 * estimate.high:.1f}"


def plain(estimate: Estimate) -> tuple[str, str]:
    """Value and interval without unit."""
    decimals = _decimals(estimate.value)
    value, low, high = (f"{number:,.{decimals}f}" for number in (estimate.value, estimate.low, estimate.high))
    return value, f"{low} to {high}"


def times(estimate: Estimate) -> tuple[str, str]:
    """A ratio as ``("1.83 ×", "1.80 to 1.86")``."""
    value, interval = plain(estimate)
    return f"{value} ×", interval


def per_second(estimate: Estimate) -> tuple[str, str]:
    """A rate as ``("512 /s", "498 to 521")``."""
    value, interval = plain(estimate)
    return f"{value} /s", interval


def bare_milliseconds(estimate: Estimate) -> tuple[str, str]:
    """As `milliseconds`, for a column whose heading names the unit."""
    value, interval = plain(estimate.scaled(1 / NS_PER_MS))
    return value, interval.replace(" to ", "–")


FORMS = {
    "plain": plain,
    "ms": milliseconds,
    "bare_ms": bare_milliseconds,
    "percent": percent,
    "times": times,
    "per_s": per_second,
}


def value_of(figure: Figure | None, form: str) -> str:
    """The value alone, in one of `FORMS`; a dash where there is none."""
    return FORMS[form](figure)[0] if isinstance(figure, Estimate) else NONE


def interval_of(figure: Figure | None, form: str) -> str:
    """The interval alone; empty where there is no estimate."""
    return FORMS[form](figure)[1] if isinstance(figure, Estimate) else ""


def sample_of(figure: Figure | None) -> str:
    """``n = 1,204 requests``, or why there is no number."""
    if figure is None:
        return ""
    return figure.reason if isinstance(figure, Absent) else f"n = {figure.n:,} {figure.of}"


def whole(figure: Figure | None, form: str) -> str:
    """``1.23 ms (1.20 to 1.26, n = 1,204 requests)``, or why there is no number."""
    if not isinstance(figure, Estimate):
        return sample_of(figure) or NONE
    return f"{value_of(figure, form)} ({interval_of(figure, form)}, {sample_of(figure)})"


def listed(words: Iterable[object]) -> str:
    """``a, b and c``."""
    *head, last = map(str, words)
    return f"{', '.join(head)} and {last}" if head else last


def _decimals(value: float) -> int:
    """How many decimals leave three significant digits, three at most: below a microsecond nothing is said."""
    magnitude = abs(value)
    for decimals, from_ in ((0, 99.95), (1, 9.995), (2, 0.9995)):
        if magnitude >= from_:
            return decimals
    return 3
