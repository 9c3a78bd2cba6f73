"""The services behind the gateway: processes that are started, watched and ended, or services elsewhere."""

from __future__ import annotations

import asyncio
import os
import signal
import socket
import tempfile
import time
from abc import ABC, abstractmethod
from asyncio.subprocess import DEVNULL, STDOUT, Process
from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager, suppress
from enum import StrEnum
from pathlib import Path

import httpx

from contract.errors import HemaBenchError
from serving.gateway.settings import Elsewhere, GatewaySettings
from serving.process.launch import ROOT, prepare_launch
from serving.process.leash import leashed
from serving.settings import ServiceSettings

HOST = "127.0.0.1"
_LOOK_EVERY_S = 0.5
_LOOK_TIMEOUT_S = 2.0
_LOOKS_MISSED = 2  # a busy machine may miss one
_PROC = Path("/proc")


class State(StrEnum):
    """Whether a service would answer now."""

    STARTING = "starting"
    READY = "ready"
    DOWN = "down"


class Service(ABC):
    """One runtime's service: where it is, in what state and why.

    The reason is told over HTTP and names neither path nor address; ``next_step`` is for who runs the gateway.
    """

    def __init__(self, runtime: str, limits: GatewaySettings, next_step: str, url: str = "") -> None:
        self.runtime = runtime
        self.next_step = next_step
        self.url = url
        self.state = State.STARTING
        self.reason = ""
        self.restarts = 0
        self.was_ready = False
        self._limits = limits

    @abstractmethod
    async def keep_running(self, cache: Path, client: httpx.AsyncClient) -> None:
        """Until cancelled; ``cache`` is the home of what is started."""

    async def _answers(self, client: httpx.AsyncClient) -> bool:
        try:
            response = await client.get(f"{self.url}/readyz", timeout=_LOOK_TIMEOUT_S)
        except httpx.HTTPError:
            return False
        return response.is_success

    def _down(self, reason: str) -> None:
        self.state, self.reason = State.DOWN, reason


class ServiceElsewhere(Service):
    """One that somebody else runs: looked at, never started and never ended."""

    def __init__(self, runtime: str, limits: GatewaySettings, url: str) -> None:
        super().__init__(runtime, limits, f"curl -i {url}/readyz, which says 200 once it is ready", url)

    async def keep_running(self, cache: Path, client: httpx.AsyncClient) -> None:
        """Until cancelled. One that was never ready may be starting as well, for as long as one of our own may."""
        deadline_s = time.monotonic() + self._limits.start_deadline_s
        missed = 0
        while True:
            missed = 0 if await self._answers(client) else missed + 1
            if not missed:
                self.state, self.reason, self.was_ready = State.READY, "", True
            elif self.was_ready and missed >= _LOOKS_MISSED:
                self._down("it does not answer")
            elif not self.was_ready and time.monotonic() > deadline_s:
                self._down(f"it was not ready after {self._limits.start_deadline_s:g} s")
            elif not self.was_ready and self.state is State.STARTING:
                self.reason = "it is not ready yet, or not there"
            await asyncio.sleep(_LOOK_EVERY_S)


class OwnService(Service):
    """One in a process of the gateway's own."""

    def __init__(self, settings: ServiceSettings, limits: GatewaySettings) -> None:
        self.log = limits.logs / f"{settings.runtime}.log"
        super().__init__(settings.runtime, limits, f"read {self.log}; hemabench verify proves the artifacts")
        self._settings = settings

    async def keep_running(self, cache: Path, client: httpx.AsyncClient) -> None:
        """Until cancelled. A service that was ready once is started again when it ends; one that never was is not."""
        pause_s = self._limits.restart_pause_s
        self.log.write_bytes(b"")
        while True:
            began_s = time.monotonic()
            await self._run_once(cache, client)
            if not self.was_ready:
                return
            if time.monotonic() - began_s > self._limits.longest_restart_pause_s:
                pause_s = self._limits.restart_pause_s
            await asyncio.sleep(pause_s)
            pause_s = min(2 * pause_s, self._limits.longest_restart_pause_s)
            self.restarts += 1

    async def _run_once(self, cache: Path, client: httpx.AsyncClient) -> None:
        try:
            launch = prepare_launch(self._settings, host=HOST, port=_free_port(), cache=cache)
        except HemaBenchError as error:  # the artifacts may have gone since the last start
            self.log.write_text(f"{error}\n")
            self._down("it cannot be started")
            return
        self.url = launch.url
        with self.log.open("ab") as output:
            process = await asyncio.create_subprocess_exec(
                *leashed(launch.command),
                cwd=ROOT,
                env=launch.environment,
                stdin=DEVNULL,
                stdout=output,
                stderr=STDOUT,
                start_new_session=True,  # Ctrl-C reaches the gateway alone, which ends its services in turn
            )
        try:
            await self._watch(process, client)
        finally:
            await _end(process, self._limits.stop_deadline_s)

    async def _watch(self, process: Process, client: httpx.AsyncClient) -> None:
        deadline_s = time.monotonic() + self._limits.start_deadline_s
        missed = 0
        while process.returncode is None:
            missed = 0 if await self._answers(client) else missed + 1
            if not missed:
                self.state, self.reason, self.was_ready = State.READY, "", True
            elif self.state is State.READY and missed >= _LOOKS_MISSED:
                self._down("its worker is gone or busy; it is being started again")
            elif not self.was_ready and time.monotonic() > deadline_s:
                self._down(f"it was not ready after {self._limits.start_deadline_s:g} s")
                return
            with suppress(TimeoutError):
                await asyncio.wait_for(process.wait(), _LOOK_EVERY_S)
        when = "it is being started again" if self.was_ready else "it never got ready"
        self._down(f"its process ended with status {process.returncode}; {when}")


@asynccontextmanager
async def running_services(settings: GatewaySettings, client: httpx.AsyncClient) -> AsyncIterator[dict[str, Service]]:
    """The services by runtime, being started; all of their processes have ended when the block is left."""
    services = {service.runtime: _service(service, settings) for service in settings.services}
    settings.logs.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(prefix="hemabench-", ignore_cleanup_errors=True) as cache:
        tasks = [asyncio.create_task(service.keep_running(Path(cache), client)) for service in services.values()]
        try:
            yield services
        finally:
            for task in tasks:
                task.cancel()
            await asyncio.gather(*tasks, return_exceptions=True)


def _service(settings: ServiceSettings | Elsewhere, limits: GatewaySettings) -> Service:
    if isinstance(settings, Elsewhere):
        return ServiceElsewhere(settings.runtime, limits, settings.url)
    return OwnService(settings, limits)


def awaited(services: Mapping[str, Service]) -> list[str]:
    """The runtimes whose start is not decided and worth a wait.

    One elsewhere that did not answer may never do: the others do not wait for it once one of them is ready.
    """
    starting = [service for service in services.values() if service.state is State.STARTING]
    one_is_ready = any(service.state is State.READY for service in services.values())
    return [service.runtime for service in starting if not (one_is_ready and service.reason)]


async def _end(process: Process, deadline_s: float) -> None:
    """Ask the service to end, and kill its family where it does not."""
    family = _family(process.pid)
    if process.returncode is None:
        with suppress(ProcessLookupError):
            process.terminate()
    try:
        await asyncio.wait_for(process.wait(), deadline_s)
    except TimeoutError:
        family = _family(process.pid) or family
        for pid in family:
            with suppress(ProcessLookupError):
                os.kill(pid, signal.SIGKILL)
        await process.wait()


def _family(pid: int) -> list[int]:
    """``pid`` and its descendants, of which each has a session of its own; elsewhere than on Linux only ``pid``."""
    found = [pid]
    for member in found:
        with suppress(OSError):
            children = (_PROC / str(member) / "task" / str(member) / "children").read_text()
            found += map(int, children.split())
    return found


def _free_port() -> int:
    with socket.socket() as probe:
        probe.bind((HOST, 0))
        return int(probe.getsockname()[1])
