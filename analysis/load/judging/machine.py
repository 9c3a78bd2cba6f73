"""Did anything but the service have a hand in a cell's times: other programs, other guests, the clock, a compiler?"""

from __future__ import annotations

from collections.abc import Iterator

from analysis.load.judging.findings import Evidence, Finding
from contract.records.load import MachineUse


def compilations(evidence: Evidence) -> Iterator[Finding]:
    """A program that is compiled while requests wait is a request's long wait, and no steady state."""
    if count := evidence.outcome.compilations:
        yield Finding(
            True,
            f"the service compiled {count} program{'s' if count != 1 else ''} while it was measured",
            "repeat the cell; if it happens again, report it as a bug of the service's warm-up",
        )


def other_programs(evidence: Evidence) -> Iterator[Finding]:
    """Programs that are neither service nor load generator, on the cores of either."""
    use, limits = evidence.outcome.machine, evidence.limits
    if use is None or use.own_ns is None:
        return
    share = _share(use.busy_ns - use.own_ns, use)
    if share > limits.foreign_to_name:
        yield Finding(
            share > limits.foreign_to_refuse,
            f"other programs took {share:.0%} of the cores that were measured on",
            "stop other work and repeat the cell",
        )


def other_guests(evidence: Evidence) -> Iterator[Finding]:
    """Time that a virtual machine was kept waiting for its cores."""
    use, limits = evidence.outcome.machine, evidence.limits
    if use is None:
        return
    share = _share(use.stolen_ns, use)
    if share > limits.foreign_to_name:
        yield Finding(
            share > limits.foreign_to_refuse,
            f"the host kept {share:.0%} of the cores that were measured on for itself or for others",
            "measure on a machine of its own",
        )


def clock(evidence: Evidence) -> Iterator[Finding]:
    """A processor that was slowed down, by its own count or by its clock."""
    use, limits = evidence.outcome.machine, evidence.limits
    if use is None:
        return
    todo = "let the machine cool down, fix its governor, and repeat the cell"
    if use.throttled:
        yield Finding(True, f"the processor throttled its clock {use.throttled} times", todo)
    fall = _clock_fall(use.clock_hz)
    if fall > limits.clock_fall_to_name:
        highest = max(use.clock_hz) / 1e9
        yield Finding(
            fall > limits.clock_fall_to_refuse,
            f"the clock of the service's cores fell by {fall:.0%} from {highest:.2f} GHz",
            todo,
        )


def busy_machine(evidence: Evidence) -> Iterator[Finding]:
    """A machine that had more to do than it has cores before anything was sent."""
    if evidence.outcome.load_average > evidence.cores:
        yield Finding(
            False,
            # Without the figure itself, so that cells with the same trouble share one line in the terminal.
            f"the machine was busy when the cell began: its load average was above its {evidence.cores} cores",
            "stop other work and repeat the cell",
        )


def _share(used_ns: int, use: MachineUse) -> float:
    return used_ns / max(use.elapsed_ns * len(use.cores), 1)


def _clock_fall(clock_hz: tuple[int, ...]) -> float:
    """How far the lowest clock after the highest is below it: a clock that rises as work comes is no fall."""
    if not clock_hz:
        return 0.0
    highest = max(clock_hz)
    return 1 - min(clock_hz[clock_hz.index(highest) :]) / highest
