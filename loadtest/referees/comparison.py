"""The same service measured by our generator and by others, in random order, round after round.

Each client measures two services: one with a model, and the null service, which is the
same door without one. What a client says of the second is its own floor.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterator
from contextlib import AbstractContextManager, ExitStack
from dataclasses import dataclass
from datetime import UTC, datetime
from importlib.util import find_spec
from math import inf
from pathlib import Path
from urllib.parse import urlsplit

import numpy as np

from contract.environment import describe_environment
from contract.errors import InvalidSettings, RunInvalid
from contract.progress import Progress, silent
from contract.records.journal import read_journal
from contract.records.load import NULL_RUNTIME, REQUESTS_FILE, RequestRecord, Scenario
from contract.records.referees import (
    COMPARISON_FILE,
    LOADGEN,
    LOCUST,
    SERVER,
    SINGLE_STREAM,
    WIRE,
    WRK,
    GeneratorStep,
    RefereeComparison,
    RefereeScenario,
    RefereeWindow,
)
from contract.records.seal import seal_folder
from contract.storage import write_json
from contract.timing import TOTAL
from loadtest.generator.launch import offer
from loadtest.generator.payloads import MEDIA_TYPE, encode_png, one_image
from loadtest.generator.plan import LoadPlan
from loadtest.peers.wire import closed_loop, request_bytes
from loadtest.referees.loadgen import PACKAGE, LoadGenPlan, run_loadgen
from loadtest.referees.wrk import run_wrk, why_missing
from loadtest.service.processes import CoreSplit, split_cores
from loadtest.service.server import RunningService, running_service, serve_command
from loadtest.service.turns import all_stopped, family_of, on_cores, running_alone

# Who can do what: a closed loop cannot keep to a schedule.
CLIENTS: dict[str, tuple[RefereeScenario, ...]] = {
    LOCUST: (SINGLE_STREAM, SERVER),
    LOADGEN: (SINGLE_STREAM, SERVER),
    WRK: (SINGLE_STREAM,),
    WIRE: (SINGLE_STREAM,),
}


@dataclass(frozen=True, slots=True, kw_only=True)
class RefereePlan:
    """What to measure. A round takes two windows per client and scenario, one for each service.

    ``dataset`` holds images at ``resolution_px``; all clients send the same one.
    """

    artifacts: Path
    dataset: Path
    runtime: str = "onnx"
    resolution_px: int = 64
    rounds: int = 3
    single_stream_s: float = 1.0
    server_s: float = 5.0
    warmup_s: float = 0.3
    arrival_rate_per_s: float = 150.0
    ladder_from_per_s: float = 500.0
    ladder_step_s: float = 2.0
    seed: int = 0

    def __post_init__(self) -> None:
        if self.rounds < 1:
            raise InvalidSettings(f"rounds ({self.rounds}) must be at least 1")
        for name in ("single_stream_s", "server_s", "arrival_rate_per_s", "ladder_from_per_s", "ladder_step_s"):
            if not 0 < getattr(self, name) < inf:  # false for NaN, as it must be
                raise InvalidSettings(f"{name} ({getattr(self, name)}) must be > 0 and finite")
        if not 0 <= self.warmup_s < inf:
            raise InvalidSettings(f"warmup_s ({self.warmup_s}) must be >= 0 and finite")
        if self.runtime == NULL_RUNTIME:
            raise InvalidSettings("the null service is every client's floor; --runtime needs one with a model")


@dataclass(frozen=True, slots=True, kw_only=True)
class _Window:
    client: str
    scenario: RefereeScenario
    service: str


@dataclass(frozen=True, slots=True, kw_only=True)
class _Seen:
    requests: int
    failures: int
    p50_ns: int
    p99_ns: int
    said: str | None = None
    service_p50_ns: int | None = None


class _Bench:
    """The services, the image, and how each client is asked; what the clients write lies in ``folder``."""

    def __init__(
        self, plan: RefereePlan, services: dict[str, RunningService], image: bytes, folder: Path, cores: CoreSplit
    ) -> None:
        self.plan, self.services, self.image, self.folder, self.cores = plan, services, image, folder, cores
        self.path = f"/v1/classify?resolution={plan.resolution_px}"
        self._ask = {LOCUST: self._locust, LOADGEN: self._loadgen, WRK: self._wrk, WIRE: self._wire}

    def measure(self, window: _Window, round_: int) -> RefereeWindow:
        """One client's turn at one service. Raises `RunInvalid` where a request failed: its time says nothing."""
        folder = self.folder / f"{window.client}-{window.scenario}-{window.service}-r{round_ + 1}"
        with running_alone(family_of(self.services[window.service])):
            self._warm_up(window.service)
            seen = self._ask[window.client](window, folder, round_)
        if seen.failures or not seen.requests:
            raise RunInvalid(
                f"{window.client} saw {seen.failures} of {seen.requests} requests fail at {window.service}. "
                f"Next: read {folder} and {self.services[window.service].log}"
            )
        return RefereeWindow(
            client=window.client,
            scenario=window.scenario,
            service=window.service,
            round=round_,
            requests=seen.requests,
            failures=seen.failures,
            p50_ns=seen.p50_ns,
            p99_ns=seen.p99_ns,
            said=seen.said,
            service_p50_ns=seen.service_p50_ns,
        )

    def climb(self) -> tuple[GeneratorStep, ...]:
        """Ever higher rates from one process of our generator, until the null service no longer keeps up."""
        plan, folder = self.plan, self.folder / "ladder"
        scenario = Scenario(
            kind="ladder",
            warmup_s=plan.warmup_s,
            duration_s=plan.ladder_step_s,
            seed=plan.seed,
            arrival_rate_per_s=plan.ladder_from_per_s,
            rate_growth=1.25,
        )
        with running_alone(family_of(self.services[NULL_RUNTIME])):
            self._warm_up(NULL_RUNTIME)
            load = self._load_plan(scenario, folder, plan.seed)
            tally = offer(self.services[NULL_RUNTIME].url, load, cores=self.cores.generator)
        of_step: dict[int, list[RequestRecord]] = defaultdict(list)
        for record in _measured(folder):
            of_step[record.step].append(record)
        return tuple(
            GeneratorStep(
                rate_per_s=step.rate_per_s or 0.0,
                requests=len(records := of_step[step.step]),
                failures=sum(not record.ok for record in records),
                dropped=step.dropped,
                send_delay_p99_ns=round(np.percentile([record.send_delay_ns for record in records], 99)),
            )
            for step in tally.steps
            if of_step[step.step]
        )

    def _warm_up(self, service: str) -> None:
        host, port = self._address(service)
        closed_loop(host, port, self._request(service), connections=1, duration_s=self.plan.warmup_s)

    def _locust(self, window: _Window, folder: Path, round_: int) -> _Seen:
        plan, seed = self.plan, self.plan.seed + round_
        if window.scenario == SERVER:
            kind = {"kind": "open_loop", "duration_s": plan.server_s, "arrival_rate_per_s": plan.arrival_rate_per_s}
        else:
            kind = {"kind": "closed_loop", "duration_s": plan.single_stream_s}
        scenario = Scenario(**({"warmup_s": plan.warmup_s, "seed": seed} | kind))  # type: ignore[arg-type]
        offer(
            self.services[window.service].url,
            self._load_plan(scenario, folder, plan.seed),
            cores=self.cores.generator,
        )
        records = _measured(folder)
        if not records:
            return _Seen(requests=0, failures=0, p50_ns=0, p99_ns=0)
        times = [
            record.response_time_ns if window.scenario == SERVER else record.round_trip_time_ns for record in records
        ]
        inside = [record.parts_ns[TOTAL] for record in records if TOTAL in record.parts_ns]
        return _seen(times, inside, failures=sum(not record.ok for record in records))

    def _loadgen(self, window: _Window, folder: Path, round_: int) -> _Seen:
        plan, (host, port) = self.plan, self._address(window.service)
        result = run_loadgen(
            LoadGenPlan(
                host=host,
                port=port,
                scenario=window.scenario,
                rate_per_s=plan.arrival_rate_per_s,
                warmup_s=plan.warmup_s,
                duration_s=plan.server_s if window.scenario == SERVER else plan.single_stream_s,
                seed=plan.seed + round_,
            ),
            self._request(window.service),
            folder,
            cores=self.cores.generator,
        )
        return _Seen(
            requests=result.count.requests,
            failures=result.count.failures,
            p50_ns=result.p50_ns,
            p99_ns=result.p99_ns,
            said=result.said,
        )

    def _wrk(self, window: _Window, folder: Path, round_: int) -> _Seen:
        url = self.services[window.service].url + self.path
        seconds, cores = self.plan.single_stream_s, self.cores.generator
        result = run_wrk(url, self.image, MEDIA_TYPE, folder, duration_s=seconds, cores=cores)
        return _Seen(requests=result.requests, failures=result.failures, p50_ns=result.p50_ns, p99_ns=result.p99_ns)

    def _wire(self, window: _Window, folder: Path, round_: int) -> _Seen:
        host, port = self._address(window.service)
        request, duration_s = self._request(window.service), self.plan.single_stream_s
        with on_cores(self.cores.generator):
            loop = closed_loop(host, port, request, connections=1, duration_s=duration_s)
        return _seen(loop.round_trips_ns, loop.service_ns(), failures=loop.failures)

    def _load_plan(self, scenario: Scenario, folder: Path, image_seed: int) -> LoadPlan:
        return LoadPlan(
            scenario=scenario,
            resolution_px=self.plan.resolution_px,
            dataset=str(self.plan.dataset),
            record_to=str(folder),
            images=1,
            image_seed=image_seed,
        )

    def _address(self, service: str) -> tuple[str, int]:
        address = urlsplit(self.services[service].url)
        return str(address.hostname), int(address.port or 80)

    def _request(self, service: str) -> bytes:
        return request_bytes(*self._address(service), self.path, MEDIA_TYPE, self.image)


def compare_referees(
    plan: RefereePlan, folder: Path, *, command: str, progress: Progress = silent
) -> RefereeComparison:
    """Let every client that is installed measure; ``folder`` gets raw records, logs and the comparison.

    Raises `ServiceFailed` where a service does not start, `RunInvalid` where a client breaks
    off or a request fails.
    """
    cores, missing, now = split_cores(threads=1), missing_clients(), datetime.now(UTC)
    image = encode_png(one_image(plan.dataset, plan.resolution_px, plan.seed))
    with ExitStack() as running:
        progress("start the services", 0, plan.rounds)
        services = {
            name: running.enter_context(_service(name, plan, folder, cores)) for name in (plan.runtime, NULL_RUNTIME)
        }
        running.enter_context(all_stopped(services))
        bench = _Bench(plan, services, image, folder, cores)
        windows = tuple(_measure(bench, [name for name in CLIENTS if name not in missing], progress))
        progress("how much one generator core can hold", plan.rounds, plan.rounds)
        steps = bench.climb()
    comparison = RefereeComparison(
        environment=describe_environment(),
        measured_at=now.isoformat(timespec="seconds"),
        command=command,
        runtime=plan.runtime,
        resolution_px=plan.resolution_px,
        image_bytes=len(image),
        arrival_rate_per_s=plan.arrival_rate_per_s,
        service_cores=cores.service,
        client_cores=cores.generator,
        windows=windows,
        generator_steps=steps,
        missing=missing,
    )
    write_json(folder / COMPARISON_FILE, comparison)
    seal_folder(folder)
    return comparison


def missing_clients() -> dict[str, str]:
    """Clients that are not installed, and what installs them."""
    loadgen = None if find_spec(PACKAGE) else "is not installed: pip install -c constraints.txt -e '.[referee]'"
    return {name: why for name, why in ((LOADGEN, loadgen), (WRK, why_missing())) if why is not None}


def _service(name: str, plan: RefereePlan, folder: Path, cores: CoreSplit) -> AbstractContextManager[RunningService]:
    command = serve_command(runtime=name, resolution_px=plan.resolution_px, artifacts=plan.artifacts)
    return running_service(command, log=folder / f"{name}.log", cores=cores.service)


def _measure(bench: _Bench, clients: list[str], progress: Progress) -> Iterator[RefereeWindow]:
    rng, rounds = np.random.default_rng(bench.plan.seed), bench.plan.rounds
    cells = [
        _Window(client=client, scenario=scenario, service=service)
        for client in clients
        for scenario in CLIENTS[client]
        for service in bench.services
    ]
    for round_ in range(rounds):
        for position in rng.permutation(len(cells)):
            cell = cells[position]
            progress(f"round {round_ + 1}: {cell.client}, {cell.scenario}, {cell.service}", round_, rounds)
            yield bench.measure(cell, round_)


def _measured(folder: Path) -> list[RequestRecord]:
    records = read_journal(folder / REQUESTS_FILE, RequestRecord).records
    return [record for record in records if record.phase == "measured"]


def _seen(times_ns: list[int], inside_ns: list[int], *, failures: int) -> _Seen:
    p50, p99 = np.percentile(times_ns, [50, 99])
    return _Seen(
        requests=len(times_ns),
        failures=failures,
        p50_ns=round(p50),
        p99_ns=round(p99),
        service_p50_ns=round(np.median(inside_ns)) if inside_ns else None,
    )
