"""Every mistake and the careful way beside it: fresh processes, their ways in random order, round after round."""

from __future__ import annotations

import os
import random
import tempfile
from collections.abc import Iterator, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from datetime import UTC, datetime
from importlib.util import find_spec
from pathlib import Path

import numpy as np

from contract.architecture import ModelSpec, spec_named
from contract.dataset import Dataset, load_dataset
from contract.environment import describe_environment
from contract.errors import InvalidSettings, RuntimeUnavailable
from contract.progress import Progress, silent
from contract.records.journal import JournalWriter
from contract.records.mistakes import (
    ANSWERS_FILE,
    BURSTS_FILE,
    CAREFUL,
    FRAMEWORKS,
    ONE_THREAD,
    PLAN_FILE,
    PROCESSES_FILE,
    SETUPS,
    Answers,
    Burst,
    Mistake,
    MistakesPlan,
    Phase,
    ProcessRecord,
    Setup,
)
from contract.records.seal import seal_folder
from contract.reference import reference_logits
from contract.storage import sha256_of_file, write_json
from contract.timing import NS_PER_S
from contract.weights import Weights, load_weights
from loadtest.compute.link import Link, linked_process
from loadtest.folders import create_folder, new_run_name
from loadtest.mistakes.sample import preprocess
from loadtest.mistakes.table import BURST_CALLS, answering_ways, chosen_mistakes, ways_of
from loadtest.mistakes.worker import Command, Reply, WorkerSettings
from loadtest.service.processes import own_cores

CHECKED = 2  # images whose logits are held against the reference
WARMUP_CALLS = 20
LOOP_LIMIT_S = 2.0  # of a loop whose length is part of the mistake: enough for its queue to fill at any size
PACKAGES = {"pytorch": ("torch", "pytorch"), "tensorflow": ("tensorflow", "tensorflow"), "jax": ("flax", "jax")}


@dataclass(frozen=True, slots=True, kw_only=True)
class MistakesProfile:
    """How much is measured: fresh processes per framework, rounds in each, calls of a burst, images classified."""

    name: str
    processes: int
    rounds: int
    careful_calls: int
    careful_limit_s: float
    other_limit_s: float
    images: int


PROFILES = {
    "full": MistakesProfile(
        name="full", processes=5, rounds=5, careful_calls=200, careful_limit_s=1.0, other_limit_s=0.1, images=1_000
    ),
    "quick": MistakesProfile(
        name="quick", processes=2, rounds=1, careful_calls=700, careful_limit_s=1.0, other_limit_s=0.05, images=100
    ),
    "smoke": MistakesProfile(
        name="smoke", processes=1, rounds=1, careful_calls=60, careful_limit_s=0.2, other_limit_s=0.05, images=20
    ),
}


@dataclass(frozen=True, slots=True, kw_only=True)
class MistakesSettings:
    """What to measure. ``photographs`` is a data set folder, of images no smaller than ``resolution_px``."""

    profile: MistakesProfile
    resolution_px: int
    photographs: Path
    weights: Path
    results: Path = Path("results")
    model: str = "hemanet"
    names: tuple[str, ...] = ()
    seed: int = 0
    command: str = ""


def profile_named(name: str) -> MistakesProfile:
    """The profile called ``name``; `InvalidSettings` names the ones there are."""
    if name not in PROFILES:
        raise InvalidSettings(f"no profile is called {name!r}; choose one of: {', '.join(PROFILES)}")
    return PROFILES[name]


def measure_mistakes(settings: MistakesSettings, progress: Progress = silent) -> Path:
    """The folder of a new run with its records, complete; raises `RunInvalid` with what a worker said last."""
    mistakes = chosen_mistakes(settings.names)
    require_frameworks()
    spec = spec_named(settings.model)
    weights = load_weights(settings.weights, spec)
    dataset = load_dataset(settings.photographs)
    positions = choose_images(dataset, settings.profile.images, settings.seed)
    plan = _plan(settings, mistakes, dataset, len(positions))
    folder = create_folder(settings.results, plan.run, PLAN_FILE, plan)
    reference = _reference(spec, weights, dataset, positions, settings.resolution_px)
    measuring = _Measuring(settings, mistakes, positions, reference, folder, progress)
    with measuring.journals():
        for process in range(settings.profile.processes):
            measuring.repeat(process)
    seal_folder(folder)
    progress("measured", 1, 1)
    return folder


def require_frameworks() -> None:
    """Raise `RuntimeUnavailable` unless all three are installed: a ranking of two would be another one."""
    for framework, (package, extra) in PACKAGES.items():
        if find_spec(package) is None:
            raise RuntimeUnavailable(
                f"{framework} is compared and {package!r} is not installed. "
                f"Next: pip install -c constraints.txt -e '.[{extra}]'"
            )


def choose_images(dataset: Dataset, images: int, seed: int) -> tuple[int, ...]:
    """Up to ``images`` positions of test images, drawn without replacement, in random order."""
    test = dataset.indices("test")
    return tuple(int(position) for position in np.random.default_rng(seed).permutation(test)[:images])


def _plan(settings: MistakesSettings, mistakes: tuple[Mistake, ...], dataset: Dataset, images: int) -> MistakesPlan:
    now = datetime.now(UTC)
    if dataset.facts.resolution_px < settings.resolution_px:
        raise InvalidSettings(
            f"photographs of {dataset.facts.resolution_px} px are smaller than the model's {settings.resolution_px} px"
        )
    return MistakesPlan(
        run=new_run_name(f"mistakes-{settings.profile.name}", now),
        created=now.isoformat(timespec="seconds"),
        profile=settings.profile.name,
        command=settings.command,
        environment=describe_environment(),
        resolution_px=settings.resolution_px,
        photograph_px=dataset.facts.resolution_px,
        data_description=dataset.facts.description,
        data_is_real=dataset.facts.real,
        images=images,
        weights_digest=sha256_of_file(settings.weights),
        processes=settings.profile.processes,
        load_average=os.getloadavg()[0],
        seed=settings.seed,
        mistakes=mistakes,
    )


def _reference(
    spec: ModelSpec, weights: Weights, dataset: Dataset, positions: Sequence[int], resolution_px: int
) -> tuple[tuple[float, ...], ...]:
    images = np.concatenate([preprocess(dataset.images[position], resolution_px) for position in positions[:CHECKED]])
    return tuple(tuple(map(float, row)) for row in reference_logits(spec, weights, images))


def fresh_caches(folder: Path) -> dict[str, str]:
    """Variables under which a first call is one that nobody has compiled for before.

    PyTorch compiles in its own process, not in a pool that would live beside what is measured.
    """
    return {"TORCHINDUCTOR_CACHE_DIR": str(folder / "inductor"), "TORCHINDUCTOR_COMPILE_THREADS": "1"}


@dataclass(frozen=True, slots=True, kw_only=True)
class Contestant:
    """One living worker and what it has to time."""

    framework: str
    setup: Setup
    process: int
    ways: tuple[str, ...]
    link: Link[Reply]


class _Measuring:
    """One run while it is measured."""

    def __init__(
        self,
        settings: MistakesSettings,
        mistakes: tuple[Mistake, ...],
        positions: tuple[int, ...],
        reference: tuple[tuple[float, ...], ...],
        folder: Path,
        progress: Progress,
    ) -> None:
        self._settings = settings
        self._profile = settings.profile
        self._mistakes = mistakes
        self._positions = positions
        self._reference = reference
        self._folder = folder
        self._progress = progress
        self._random = random.Random(settings.seed)

    @contextmanager
    def journals(self) -> Iterator[None]:
        """Open for the block, and on the disk when it is left."""
        with (
            JournalWriter(self._folder / PROCESSES_FILE) as self._processes,
            JournalWriter(self._folder / BURSTS_FILE) as self._bursts,
            JournalWriter(self._folder / ANSWERS_FILE) as self._answers,
        ):
            yield

    def repeat(self, process: int) -> None:
        """Fresh processes of all frameworks, living side by side; only the one that is asked computes."""
        with tempfile.TemporaryDirectory(prefix="hemabench-") as scratch, ExitStack() as running:
            contestants = [self._start(key, process, Path(scratch), running) for key in self._keys()]
            for number, contestant in enumerate(contestants):
                self._tell(process, number / (2 * len(contestants)), f"{contestant.framework}: first calls")
                self._begin(contestant)
            for round_ in range(self._profile.rounds):
                self._tell(process, (1 + round_ / self._profile.rounds) / 2, f"round {round_ + 1}")
                self._round(contestants, round_)
            if process == 0:
                for contestant in contestants:
                    self._classify(contestant)

    def _keys(self) -> list[tuple[str, Setup]]:
        pairs = [(framework, setup) for setup in SETUPS.values() for framework in FRAMEWORKS]
        return [(framework, setup) for framework, setup in pairs if ways_of(self._mistakes, framework, setup)]

    def _start(self, key: tuple[str, Setup], process: int, scratch: Path, running: ExitStack) -> Contestant:
        framework, setup = key
        folder = scratch / f"{framework}-{setup.name}"
        write_json(folder / "settings.json", self._worker_settings(framework, setup))
        link = running.enter_context(
            linked_process(
                f"{framework}, {setup.name}",
                ["loadtest.mistakes.worker", str(folder / "settings.json")],
                Reply,
                threads=setup.threads,
                cores=own_cores()[: setup.threads],
                log=self._folder / "logs" / f"{framework}-{setup.name}-{process}.log",
                environment=fresh_caches(folder),
            )
        )
        ways = ways_of(self._mistakes, framework, setup)
        return Contestant(framework=framework, setup=setup, process=process, ways=ways, link=link)

    def _worker_settings(self, framework: str, setup: Setup) -> WorkerSettings:
        settings = self._settings
        return WorkerSettings(
            framework=framework,
            threads=setup.threads,
            model=settings.model,
            weights=str(settings.weights.absolute()),
            resolution_px=settings.resolution_px,
            photographs=str(settings.photographs.absolute()),
            positions=self._positions,
            reference=self._reference,
            other_answers=tuple(one.ways[framework] for one in self._mistakes if one.answers and framework in one.ways),
        )

    def _begin(self, contestant: Contestant) -> None:
        """First call, warm-up and check of every way; the careful one first, while nothing is warm."""
        described = contestant.link.ask(Command(kind="describe"))
        differences = {}
        for way in contestant.ways:
            self._burst(contestant, way, "first", 0, calls=1, limit_s=0)
            self._burst(contestant, way, "warmup", 0, calls=WARMUP_CALLS, limit_s=self._profile.other_limit_s)
            differences[way] = contestant.link.ask(Command(kind="difference", way=way)).difference
        self._processes.append(
            ProcessRecord(
                framework=contestant.framework,
                setup=contestant.setup.name,
                process=contestant.process,
                import_ns=described.import_ns,
                build_ns=described.build_ns,
                cores=described.cores,
                facts=described.facts,
                largest_difference=differences,
            )
        )

    def _round(self, contestants: Sequence[Contestant], round_: int) -> None:
        turns = [(contestant, way) for contestant in contestants for way in contestant.ways]
        self._random.shuffle(turns)
        for contestant, way in turns:
            calls, limit_s = self._length(way)
            self._burst(contestant, way, "measured", round_, calls=calls, limit_s=limit_s)

    def _length(self, way: str) -> tuple[int, float]:
        if way in BURST_CALLS:
            return BURST_CALLS[way], LOOP_LIMIT_S
        profile = self._profile
        return profile.careful_calls, profile.careful_limit_s if way == CAREFUL else profile.other_limit_s

    def _burst(
        self, contestant: Contestant, way: str, phase: Phase, round_: int, *, calls: int, limit_s: float
    ) -> None:
        reply = contestant.link.ask(Command(kind="time", way=way, calls=calls, limit_ns=round(limit_s * NS_PER_S)))
        self._bursts.append(
            Burst(
                framework=contestant.framework,
                setup=contestant.setup.name,
                process=contestant.process,
                way=way,
                phase=phase,
                round=round_,
                started_ns=reply.started_ns,
                finished_ns=reply.finished_ns,
            )
        )

    def _classify(self, contestant: Contestant) -> None:
        if contestant.setup != ONE_THREAD:
            return
        expected = load_dataset(self._settings.photographs).labels[list(self._positions)]
        for way in answering_ways(self._mistakes, contestant.framework):
            self._tell(0, 1.0, f"{contestant.framework}: answers, {way}")
            classes = contestant.link.ask(Command(kind="answers", way=way)).classes
            self._answers.append(
                Answers(framework=contestant.framework, way=way, classes=classes, expected=tuple(map(int, expected)))
            )

    def _tell(self, process: int, done: float, what: str) -> None:
        self._progress(
            f"process {process + 1} of {self._profile.processes}: {what}", process + done, self._profile.processes
        )
