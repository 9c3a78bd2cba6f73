"""The gateway from start to end: door open, services up, a signal, everything down.

The gateway is a plain ASGI application under uvicorn, in the process of the command: it holds no framework, and
the door, the limits and the guarded connections are the service's own.
"""

from __future__ import annotations

import asyncio
import signal
import socket
from collections.abc import AsyncIterator, Callable, Iterator, Mapping
from contextlib import AbstractContextManager, asynccontextmanager, contextmanager
from typing import Any

import httpx
import uvicorn

from contract.errors import ServiceFailed
from contract.progress import Progress
from serving.gateway.endpoints import GatewayEndpoints
from serving.gateway.services import Service, State, awaited, running_services
from serving.gateway.settings import GatewaySettings
from serving.http.connections import GuardedProtocol
from serving.http.door import Door
from serving.process.launch import address_of, require_free, url_of

Waiting = Callable[[], AbstractContextManager[Progress]]
Announce = Callable[[str, Mapping[str, Service]], None]
_STEP_S = 0.1
_CONNECTIONS_KEPT = 32
_IDLE_CONNECTION_S = 2.0  # a service closes an idle one after 5 s; ours must go first, or a request meets the closing


def run_gateway(settings: GatewaySettings, waiting: Waiting, announce: Announce) -> signal.Signals:
    """Serve until SIGINT or SIGTERM, which is returned.

    ``waiting()`` hears how far the start is, during which the door says who is starting; ``announce`` is called
    once, with the URL, when a service is ready and no start is worth a wait any more.

    Raises `InvalidSettings` for a host that is no address, `ServiceFailed` for a port in use, or where no service
    gets ready. Whatever happens, no process is left.
    """
    return asyncio.run(_run(settings, waiting, announce))


async def _run(settings: GatewaySettings, waiting: Waiting, announce: Announce) -> signal.Signals:
    address = address_of(settings.host)
    stop = _signal_received()
    limits = httpx.Limits(max_keepalive_connections=_CONNECTIONS_KEPT, keepalive_expiry=_IDLE_CONNECTION_S)
    # trust_env: the services are on this machine, and a proxy of the environment has no part in asking them.
    client = httpx.AsyncClient(limits=limits, timeout=settings.answer_deadline_s, trust_env=False)
    with _bound(address, settings.port) as listener:
        async with client, running_services(settings, client) as services:
            url = url_of(address, listener.getsockname()[1])
            async with _opened(Door(GatewayEndpoints(settings, services, client).routes()), listener) as serving:
                with waiting() as progress:
                    await _until_settled(services, progress, stop)
                if not stop.done():
                    _require_one(services)
                    announce(url, services)
                ends: tuple[asyncio.Future[Any], ...] = (stop, serving)
                await asyncio.wait(ends, return_when=asyncio.FIRST_COMPLETED)
    if not stop.done():
        raise ServiceFailed("the gateway ended by itself. Next: start it again, and report what it printed")
    return stop.result()


class _Server(uvicorn.Server):
    """uvicorn, whose signals are the gateway's business: it ends with the services, not before them."""

    @contextmanager
    def capture_signals(self) -> Iterator[None]:
        """Leaves them alone."""
        yield


@asynccontextmanager
async def _opened(app: Door, listener: socket.socket) -> AsyncIterator[asyncio.Task[None]]:
    """``app`` answers at ``listener`` until the block is left, by the task that is given."""
    server = _server(app)
    serving = asyncio.create_task(server.serve(sockets=[listener]))
    try:
        await _until_open(server, serving)
        yield serving
    finally:
        server.should_exit = True
        await serving


def _server(app: Door) -> _Server:
    return _Server(
        uvicorn.Config(
            app,
            http=GuardedProtocol,
            ws="none",
            lifespan="off",
            log_config=None,
            access_log=False,
            server_header=False,
            timeout_graceful_shutdown=2,
        )
    )


def _signal_received() -> asyncio.Future[signal.Signals]:
    """Done with the first SIGINT or SIGTERM."""
    loop = asyncio.get_running_loop()
    received: asyncio.Future[signal.Signals] = loop.create_future()

    def take(number: signal.Signals) -> None:
        if not received.done():
            received.set_result(number)

    for number in (signal.SIGINT, signal.SIGTERM):
        loop.add_signal_handler(number, take, number)
    return received


@contextmanager
def _bound(address: str, port: int) -> Iterator[socket.socket]:
    """The gateway's own port, held before a service is started."""
    require_free(address, port)
    with socket.socket(socket.AF_INET6 if ":" in address else socket.AF_INET) as listener:
        listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        listener.bind((address, port))
        yield listener


async def _until_settled(
    services: Mapping[str, Service], progress: Progress, stop: asyncio.Future[signal.Signals]
) -> None:
    """Return when every start has succeeded or failed, or is not to be waited for any more."""
    while not stop.done():
        starting = awaited(services)
        words = f"waiting for {', '.join(starting)}" if starting else "started"
        progress(words, len(services) - len(starting), len(services))
        if not starting:
            return
        await asyncio.wait({stop}, timeout=_STEP_S)


def _require_one(services: Mapping[str, Service]) -> None:
    if not any(service.state is State.READY for service in services.values()):
        reasons = "\n".join(
            f"  {runtime}: {service.reason}. Next: {service.next_step}" for runtime, service in services.items()
        )
        raise ServiceFailed(f"no service got ready:\n{reasons}")


async def _until_open(server: uvicorn.Server, serving: asyncio.Task[None]) -> None:
    while not server.started and not serving.done():
        await asyncio.sleep(_STEP_S / 10)
    if serving.done():
        await serving  # which raises what went wrong
