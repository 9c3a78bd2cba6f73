"""What the machine does while a cell is measured: who uses its cores, and how fast their clock runs."""

from __future__ import annotations

import os
import resource
import time
from collections.abc import Iterable, Sequence
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path

from contract.records.load import MachineUse
from contract.timing import NS_PER_S
from loadtest.service.processes import CoreSplit, own_cores

PROC_STAT = Path("/proc/stat")
CPUS = Path("/sys/devices/system/cpu")
_CLOCK_EVERY_S = 1.0
# Columns of a line of /proc/stat after its name; guests are counted in user and nice.
_BUSY = ("user", "nice", "system", "irq", "softirq")
_COLUMNS = ("user", "nice", "system", "idle", "iowait", "irq", "softirq", "steal")


class MachineWatch:
    """Watches from its making until `finish`; `tick` in between samples the clock, once a second at most.

    ``cores`` are those of service and generator, all of the machine's where nothing is
    pinned. ``service`` is the id of the process that the service's family descends from.
    """

    def __init__(self, cores: CoreSplit, service: int | None = None) -> None:
        self._cores = tuple(sorted({*cores.service, *cores.generator})) or own_cores()
        self._service_cores = cores.service or self._cores
        self._service = service
        self._clock_hz: list[int] = []
        self._clock_due = 0.0
        self._before = self._look()

    def tick(self) -> None:
        """Sample the clock, if it is time and the kernel tells."""
        if (now := time.monotonic()) < self._clock_due:
            return
        self._clock_due = now + _CLOCK_EVERY_S
        if clock := clock_hz(self._service_cores):
            self._clock_hz.append(clock)

    def finish(self) -> MachineUse | None:
        """What happened; None where the kernel has no ``/proc/stat``."""
        before, after = self._before, self._look()
        if before.busy_ns is None or after.busy_ns is None:
            return None
        own = None if before.own_ns is None or after.own_ns is None else after.own_ns - before.own_ns
        counted = before.throttled is not None and after.throttled is not None
        return MachineUse(
            cores=self._cores,
            elapsed_ns=after.at_ns - before.at_ns,
            busy_ns=after.busy_ns - before.busy_ns,
            own_ns=own,
            stolen_ns=after.stolen_ns - before.stolen_ns,
            clock_hz=tuple(self._clock_hz),
            throttled=(after.throttled or 0) - (before.throttled or 0) if counted else None,
        )

    def _look(self) -> _Look:
        busy_ns, stolen_ns = used_ns(PROC_STAT, self._cores) or (None, 0)
        return _Look(
            at_ns=time.monotonic_ns(),
            busy_ns=busy_ns,
            stolen_ns=stolen_ns,
            own_ns=None if self._service is None else _own_ns(self._service),
            throttled=times_throttled(self._service_cores),
        )


@dataclass(frozen=True, slots=True)
class _Look:
    at_ns: int
    busy_ns: int | None
    stolen_ns: int
    own_ns: int | None
    throttled: int | None


def used_ns(stat: Path, cores: Sequence[int]) -> tuple[int, int] | None:
    """Time that ``cores`` were busy and that a host kept them, since the machine's start; None if nobody counts."""
    try:
        lines = stat.read_text().splitlines()
    except OSError:
        return None
    names = {f"cpu{core}" for core in cores}
    busy = stolen = 0
    found = False
    for name, *numbers in filter(None, map(str.split, lines)):
        if name in names:
            ticks = dict(zip(_COLUMNS, map(int, numbers), strict=False))
            busy += sum(ticks.get(column, 0) for column in _BUSY)
            stolen += ticks.get("steal", 0)
            found = True
    tick_ns = NS_PER_S // os.sysconf("SC_CLK_TCK")
    return (busy * tick_ns, stolen * tick_ns) if found else None


def clock_hz(cores: Sequence[int], cpus: Path = CPUS) -> int | None:
    """The slowest clock of ``cores`` now; None where the kernel does not tell, as in most virtual machines."""
    clocks = _numbers(cpus / f"cpu{core}/cpufreq/scaling_cur_freq" for core in cores)
    return min(clocks) * 1_000 if clocks else None


def times_throttled(cores: Sequence[int], cpus: Path = CPUS) -> int | None:
    """How often the processor slowed ``cores`` down because of heat; None where nobody counts."""
    counts = _numbers(cpus / f"cpu{core}/thermal_throttle/core_throttle_count" for core in cores)
    return sum(counts) if counts else None


def _numbers(paths: Iterable[Path]) -> list[int]:
    found = []
    for path in paths:
        with suppress(OSError, ValueError):
            found.append(int(path.read_text()))
    return found


def _own_ns(service: int) -> int:
    """Processor time of the service's family, of this process, and of its children that have ended."""
    import psutil  # here: it belongs to the extra of load tests, and the watch to those alone

    total_s = 0.0
    with suppress(psutil.Error):
        root = psutil.Process(service)
        for process in (root, *root.children(recursive=True)):
            with suppress(psutil.Error):
                times = process.cpu_times()
                total_s += times.user + times.system
    for who in (resource.RUSAGE_SELF, resource.RUSAGE_CHILDREN):
        usage = resource.getrusage(who)
        total_s += usage.ru_utime + usage.ru_stime
    return int(total_s * NS_PER_S)
