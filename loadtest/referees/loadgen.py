"""MLPerf's LoadGen as a referee: it draws the schedule, reads the clock and gives the verdict; we carry its requests.

It runs in a process of its own, because it is a C++ library with threads:

    python -m loadtest.referees.loadgen <folder>

reads `LoadGenPlan` from that folder and leaves LoadGen's own logs and `LoadGenCount` there.
"""

from __future__ import annotations

import re
import socket
import subprocess
import sys
from collections.abc import Sequence
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from queue import SimpleQueue
from threading import Lock, Thread
from time import monotonic
from typing import Any

from contract.errors import RunInvalid, ServiceFailed
from contract.records.referees import SERVER, RefereeScenario
from contract.storage import read_json, write_json
from loadtest.peers.wire import answer_length
from loadtest.service.processes import guarded_process, last_lines

PLAN_FILE, COUNT_FILE, REQUEST_FILE = "plan.json", "count.json", "request.bin"
SUMMARY_FILE, LOG_FILE = "mlperf_log_summary.txt", "loadgen.log"
PACKAGE = "mlperf_loadgen"
# MLPerf's limit for images: what makes LoadGen's verdict on a server's schedule.
LATENCY_LIMIT_NS = 15_000_000
_CONNECTIONS = 32
_TIMEOUT_S = 10.0
_START_ALLOWANCE_S = 30.0
_CHUNK_BYTES = 65_536
_RESULT = re.compile(r"^Result is : (\w+)", re.MULTILINE)
_UNMET = re.compile(r"^\s*(\S.* : NO)\s*$", re.MULTILINE)
_SHARES = (r"50\.00", r"99\.00")


@dataclass(frozen=True, slots=True, kw_only=True)
class LoadGenPlan:
    """What LoadGen is to measure; the request itself lies beside it, as it goes over the wire."""

    host: str
    port: int
    scenario: RefereeScenario
    rate_per_s: float
    warmup_s: float
    duration_s: float
    seed: int


@dataclass(frozen=True, slots=True, kw_only=True)
class LoadGenCount:
    """How many requests it issued, and how many of them were not answered with 200."""

    requests: int
    failures: int


@dataclass(frozen=True, slots=True, kw_only=True)
class LoadGenResult:
    """What LoadGen's summary says; ``said`` quotes its verdict with its reasons."""

    count: LoadGenCount
    p50_ns: int
    p99_ns: int
    said: str


def run_loadgen(plan: LoadGenPlan, request: bytes, folder: Path, *, cores: Sequence[int] = ()) -> LoadGenResult:
    """Let LoadGen measure, on ``cores``; its logs stay in ``folder``. Raises `RunInvalid` when it breaks off."""
    folder.mkdir(parents=True, exist_ok=True)
    write_json(folder / PLAN_FILE, plan)
    (folder / REQUEST_FILE).write_bytes(request)
    log = folder / LOG_FILE
    command = [sys.executable, "-m", "loadtest.referees.loadgen", str(folder.absolute())]
    with guarded_process(command, log=log, cores=cores) as process:
        try:
            # A service that cannot keep up has its whole queue worked off first.
            status: int | str = process.wait(plan.warmup_s + plan.duration_s * 4 + _START_ALLOWANCE_S)
        except subprocess.TimeoutExpired:
            status = "unknown, for it did not end in time"
    if status != 0:
        raise RunInvalid(f"LoadGen ended with status {status}. Its last lines:\n{last_lines(log)}\nNext: repeat it")
    return read_summary((folder / SUMMARY_FILE).read_text(), read_json(folder / COUNT_FILE, LoadGenCount))


def read_summary(text: str, count: LoadGenCount) -> LoadGenResult:
    """The numbers and the verdict of ``mlperf_log_summary.txt``; `RunInvalid` where it holds none."""
    verdict = _RESULT.search(text)
    p50, p99 = (re.search(rf"^{share} percentile latency \(ns\)\s*:\s*(\d+)", text, re.MULTILINE) for share in _SHARES)
    if verdict is None or p50 is None or p99 is None:
        raise RunInvalid("LoadGen's summary has no verdict or no percentiles. Next: read mlperf_log_summary.txt")
    said = "; ".join([verdict[0], *_UNMET.findall(text)])
    return LoadGenResult(count=count, p50_ns=int(p50[1]), p99_ns=int(p99[1]), said=said)


class Carrier:
    """One kept connection; after a failure the next request opens another."""

    def __init__(self, host: str, port: int, request: bytes) -> None:
        self._address, self._request = (host, port), request
        self._socket: socket.socket | None = None

    def ask(self) -> bool:
        """Send the request and take in its whole answer; whether it was 200."""
        try:
            return self._exchange()
        except (OSError, ServiceFailed, ValueError):
            self.close()
            return False

    def close(self) -> None:
        """End the connection, if there is one."""
        if self._socket is not None:
            self._socket.close()
            self._socket = None

    def _exchange(self) -> bool:
        if self._socket is None:
            self._socket = socket.create_connection(self._address, _TIMEOUT_S)
            self._socket.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        self._socket.sendall(self._request)
        received, length = bytearray(), None
        while length is None or len(received) < length:
            piece = self._socket.recv(_CHUNK_BYTES)
            if not piece:
                raise ConnectionResetError("closed before the answer was whole")
            received += piece
            length = answer_length(received)
        return received[9:12] == b"200"


class Crew:
    """Answers LoadGen's queries: at once in a single stream, by as many threads as connections in a schedule.

    Every query is completed, failed ones too, because LoadGen waits for each for ever.
    """

    def __init__(self, plan: LoadGenPlan, request: bytes) -> None:
        self.requests = self.failures = 0
        self._lock = Lock()
        self._queries: SimpleQueue[int | None] = SimpleQueue()
        count = _CONNECTIONS if plan.scenario == SERVER else 1
        self._carriers = [Carrier(plan.host, plan.port, request) for _ in range(count)]
        self._threads = [Thread(target=self._work, args=(carrier,)) for carrier in self._carriers if count > 1]

    def warm_up(self, duration_s: float) -> None:
        """Open every connection, and ask for so long."""
        end_s = monotonic() + duration_s
        for carrier in self._carriers:
            carrier.ask()
        while monotonic() < end_s:
            self._carriers[0].ask()

    def start(self) -> None:
        """Start the threads."""
        for thread in self._threads:
            thread.start()

    def issue(self, samples: Sequence[Any]) -> None:
        """LoadGen's call for each query."""
        for sample in samples:
            if self._threads:
                self._queries.put(sample.id)
            else:
                self._answer(self._carriers[0], sample.id)

    def stop(self) -> None:
        """End the threads and the connections."""
        for _ in self._threads:
            self._queries.put(None)
        for thread in self._threads:
            thread.join()
        for carrier in self._carriers:
            carrier.close()

    def _work(self, carrier: Carrier) -> None:
        while (query := self._queries.get()) is not None:
            self._answer(carrier, query)

    def _answer(self, carrier: Carrier, query: int) -> None:
        import mlperf_loadgen

        ok = carrier.ask()
        mlperf_loadgen.QuerySamplesComplete([mlperf_loadgen.QuerySampleResponse(query, 0, 0)])
        with self._lock:
            self.requests += 1
            self.failures += not ok


def measure(folder: Path) -> None:
    """Carry out the plan in ``folder``."""
    import mlperf_loadgen

    plan = read_json(folder / PLAN_FILE, LoadGenPlan)
    crew = Crew(plan, (folder / REQUEST_FILE).read_bytes())
    crew.warm_up(plan.warmup_s)
    crew.start()
    under_test = mlperf_loadgen.ConstructSUT(crew.issue, lambda: None)
    library = mlperf_loadgen.ConstructQSL(1, 1, lambda samples: None, lambda samples: None)
    try:
        mlperf_loadgen.StartTestWithLogSettings(under_test, library, _settings(plan), _log_settings(folder))
    finally:
        crew.stop()
        mlperf_loadgen.DestroyQSL(library)
        mlperf_loadgen.DestroySUT(under_test)
    write_json(folder / COUNT_FILE, LoadGenCount(requests=crew.requests, failures=crew.failures))


def _settings(plan: LoadGenPlan) -> Any:
    import mlperf_loadgen

    settings = mlperf_loadgen.TestSettings()
    settings.mode = mlperf_loadgen.TestMode.PerformanceOnly
    settings.min_duration_ms = round(plan.duration_s * 1_000)
    settings.min_query_count = 1
    settings.qsl_rng_seed = settings.sample_index_rng_seed = settings.schedule_rng_seed = plan.seed
    if plan.scenario == SERVER:
        settings.scenario = mlperf_loadgen.TestScenario.Server
        settings.server_target_qps = plan.rate_per_s
        settings.server_target_latency_ns = LATENCY_LIMIT_NS
        settings.server_target_latency_percentile = 0.99
    else:
        settings.scenario = mlperf_loadgen.TestScenario.SingleStream
    return settings


def _log_settings(folder: Path) -> Any:
    import mlperf_loadgen

    output = mlperf_loadgen.LogOutputSettings()
    output.outdir, output.copy_summary_to_stdout = str(folder), False
    settings = mlperf_loadgen.LogSettings()
    settings.log_output, settings.enable_trace = output, False
    return settings


if __name__ == "__main__":
    with suppress(KeyboardInterrupt):
        measure(Path(sys.argv[1]))
