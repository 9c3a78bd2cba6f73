"""A compute run: fresh processes of all runtimes side by side, their turns in random order, round after round.

Only the process that is asked computes; the others are blocked in a read, and what they use
of the processor meanwhile is recorded.
"""

from __future__ import annotations

import os
import random
import tempfile
from collections.abc import Iterator, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from pathlib import Path

from contract.errors import RunInvalid
from contract.progress import Progress, part_of, silent
from contract.records.compute import (
    BLOCKS_FILE,
    COMPUTE_FILE,
    FIRST_CALLS_FILE,
    LIMITS_FILE,
    SITTING_FILE,
    STARTS_FILE,
    CallBlock,
    ComputePlan,
    FirstCall,
    MachineLimits,
    ProcessStart,
    Shape,
    Sitting,
)
from contract.records.journal import JournalWriter
from contract.records.load import NULL_RUNTIME
from contract.records.seal import open_seal, seal_folder
from contract.storage import read_json, write_json
from loadtest.compute.limits import measure_limits
from loadtest.compute.link import Link, linked_process
from loadtest.compute.planning import ComputeSettings, plan_compute
from loadtest.compute.threads import thread_times_ns, used_ns
from loadtest.compute.worker import Command, Reply, WorkerSettings
from loadtest.folders import create_folder, require_same_plan, set_aside
from loadtest.service.processes import own_cores

SETTLING_CALLS = 3
# A call this long refills its caches many times over, and is not made for nothing.
LONG_CALL_NS = 50_000_000
EVENT_CALLS = 20

WorkerLink = Link[Reply]


def measure_compute(settings: ComputeSettings, progress: Progress = silent) -> Path:
    """The folder of a run, complete. Raises before anything is timed where logits are not right.

    What is finished is kept whatever happens: ``settings`` with ``resume`` go on with the next sitting. Ctrl-C
    is raised again with what was kept as its message.
    """
    plan = plan_compute(settings)
    folder = (_resume if settings.resume else _create)(settings.results, plan)
    open_seal(folder)
    try:
        _measure_limits(folder, plan, progress)
        for number, sitting in enumerate(plan.sittings):
            if not (_folder_of(folder, sitting) / SITTING_FILE).is_file():
                _Measuring(settings, plan, folder, sitting, part_of(progress, number, 1, len(plan.sittings))).measure()
    except KeyboardInterrupt:
        raise KeyboardInterrupt(_what_was_kept(folder, plan)) from None
    seal_folder(folder)
    progress("measured", len(plan.sittings), len(plan.sittings))
    return folder


def _what_was_kept(folder: Path, plan: ComputePlan) -> str:
    finished = sum((_folder_of(folder, sitting) / SITTING_FILE).is_file() for sitting in plan.sittings)
    return (
        f"{finished} of {len(plan.sittings)} sittings are finished and kept in {folder}. "
        f"Next: the same command with --resume {folder.name}"
    )


@dataclass(frozen=True, slots=True)
class _Journals:
    starts: JournalWriter
    first_calls: JournalWriter
    blocks: JournalWriter


@dataclass(frozen=True, slots=True)
class _Measuring:
    """One sitting while it is measured."""

    settings: ComputeSettings
    plan: ComputePlan
    folder: Path
    sitting: Sitting
    progress: Progress

    def measure(self) -> None:
        """Start, prove, time; `SITTING_FILE` comes last."""
        folder = _folder_of(self.folder, self.sitting)
        set_aside(self.folder, folder)
        with (
            _journals(folder) as journals,
            tempfile.TemporaryDirectory(prefix="hemabench-") as scratch,
            ExitStack() as running,
        ):
            links = [self._start(runtime, Path(scratch), journals, running) for runtime in self.plan.runtimes]
            expected = {link.name: self._first_calls(link, number, journals) for number, link in enumerate(links)}
            self._rounds(links, expected, journals)
        write_json(folder / SITTING_FILE, self.sitting)

    def _start(self, runtime: str, scratch: Path, journals: _Journals, running: ExitStack) -> WorkerLink:
        self.progress(f"{self.sitting.name}: starting {runtime}", 0, 1)
        settings = scratch / f"{runtime}.json"
        sides = tuple(sorted({shape.resolution_px for shape in self.plan.shapes}))
        write_json(
            settings,
            WorkerSettings(
                runtime=runtime,
                threads=self.sitting.threads,
                device="cpu" if runtime == NULL_RUNTIME else self.plan.device,
                artifacts=str(self.settings.artifacts.absolute()),
                resolutions_px=sides,
                input=self.plan.input,
            ),
        )
        link: WorkerLink = running.enter_context(
            linked_process(
                runtime,
                ["loadtest.compute.worker", str(settings)],
                Reply,
                threads=self.sitting.threads,
                cores=own_cores()[: self.sitting.threads],
                log=self.folder / "logs" / f"{runtime}-{self.sitting.name}.log",
                environment=_caches(scratch / runtime),
            )
        )
        described = link.ask(Command(kind="describe"))
        journals.starts.append(
            ProcessStart(
                runtime=runtime,
                sitting=self.sitting,
                cores=described.cores,
                import_ns=described.import_ns,
                load_ns=described.load_ns,
                facts=described.facts,
                load_average=os.getloadavg()[0],
            )
        )
        return link

    def _first_calls(self, link: WorkerLink, number: int, journals: _Journals) -> dict[Shape, int]:
        """Every shape once, the smallest first, and again: what the second call took is what the next may take."""
        expected: dict[Shape, int] = {}
        for shape in self.plan.shapes:
            self.progress(f"{self.sitting.name}: first calls of {link.name}", 0.3 * number / len(self.plan.runtimes), 1)
            reply = link.ask(Command(kind="first", shape=shape))
            # The first call may compile for a minute; the second, which is not recorded, says what a call takes.
            expected[shape] = link.ask(Command(kind="time", shape=shape)).took_ns[0]
            journals.first_calls.append(
                FirstCall(
                    runtime=link.name,
                    sitting=self.sitting,
                    shape=shape,
                    took_ns=reply.took_ns[0],
                    compilations=reply.compilations,
                    largest_difference=reply.largest_difference,
                    peak_memory_bytes=reply.peak_memory_bytes,
                )
            )
        return expected

    def _rounds(self, links: Sequence[WorkerLink], expected: dict[str, dict[Shape, int]], journals: _Journals) -> None:
        order = random.Random(f"{self.plan.seed}/{self.sitting.name}")
        for round_ in range(1, self.plan.rounds + 1):
            turns = [(link, shape) for link in links for shape in self.plan.shapes]
            order.shuffle(turns)
            for number, (link, shape) in enumerate(turns):
                done = 0.3 + 0.7 * (round_ - 1 + number / len(turns)) / self.plan.rounds
                self.progress(f"{self.sitting.name}: round {round_}, {link.name}", done, 1)
                block = self._block(link, shape, round_, expected[link.name][shape], links)
                expected[link.name][shape] = min(block.took_ns)
                journals.blocks.append(block)

    def _block(
        self, link: WorkerLink, shape: Shape, round_: int, expected_ns: int, links: Sequence[WorkerLink]
    ) -> CallBlock:
        sleepers = [other.pid for other in links if other is not link]
        before = [thread_times_ns(pid) for pid in sleepers]
        reply = link.ask(
            Command(
                kind="time",
                shape=shape,
                settling=0 if expected_ns > LONG_CALL_NS else SETTLING_CALLS,
                fewest=self.plan.fewest_calls,
                most=self.plan.most_calls,
                limit_ns=self.plan.block_ns,
                event_calls=event_calls(self.plan, expected_ns),
            )
        )
        after = [thread_times_ns(pid) for pid in sleepers]
        return CallBlock(
            runtime=link.name,
            sitting=self.sitting,
            shape=shape,
            round=round_,
            settling_ns=reply.settling_ns,
            took_ns=reply.took_ns,
            wall_ns=reply.wall_ns,
            cpu_ns=reply.cpu_ns,
            busy_threads=reply.busy_threads,
            compilations=reply.compilations,
            sleepers_cpu_ns=sum(used_ns(one, other) for one, other in zip(before, after, strict=True)),
            event_ns=reply.event_ns,
            to_card_ns=reply.to_card_ns,
            to_host_ns=reply.to_host_ns,
            energy_mj=reply.energy_mj,
        )


def event_calls(plan: ComputePlan, expected_ns: int) -> int:
    """For the card's own clock, and as many copies: no more than a block holds, or they would outlast it many times."""
    return max(plan.fewest_calls, min(EVENT_CALLS, plan.block_ns // expected_ns))


@contextmanager
def _journals(folder: Path) -> Iterator[_Journals]:
    with (
        JournalWriter(folder / STARTS_FILE) as starts,
        JournalWriter(folder / FIRST_CALLS_FILE) as first_calls,
        JournalWriter(folder / BLOCKS_FILE) as blocks,
    ):
        yield _Journals(starts, first_calls, blocks)


def _caches(folder: Path) -> dict[str, str]:
    """Compiled code of this process alone: a first call is one that nobody has compiled for before."""
    return {"TORCHINDUCTOR_CACHE_DIR": str(folder / "inductor"), "TRITON_CACHE_DIR": str(folder / "triton")}


def _measure_limits(folder: Path, plan: ComputePlan, progress: Progress) -> None:
    """Once per number of threads, on the same cores, of the device that is measured."""
    path = folder / LIMITS_FILE
    if path.is_file():
        return
    limits: list[MachineLimits] = []
    for threads in dict.fromkeys(sitting.threads for sitting in plan.sittings):
        progress(f"limits of the machine, threads: {threads}", 0, 1)
        limits.append(measure_limits(plan.device, threads, own_cores()[:threads], folder / "logs" / "limits.log"))
    write_json(path, limits)


def _create(results: Path, plan: ComputePlan) -> Path:
    return create_folder(results, plan.run, COMPUTE_FILE, plan)


def _resume(results: Path, plan: ComputePlan) -> Path:
    """The folder of an earlier run that set out to measure the same; `RunInvalid` names the field that differs."""
    folder = (results / plan.run).absolute()
    if not (folder / COMPUTE_FILE).is_file():
        raise RunInvalid(f"no compute run in {folder}. Next: hemabench compute")
    require_same_plan(folder, read_json(folder / COMPUTE_FILE, ComputePlan), plan)
    return folder


def _folder_of(folder: Path, sitting: Sitting) -> Path:
    return folder / "sittings" / sitting.name
