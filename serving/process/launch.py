"""The exact command and environment of a service, checked before it is run."""

from __future__ import annotations

import ipaddress
import os
import socket
import sys
from dataclasses import dataclass
from importlib.util import find_spec
from pathlib import Path

from contract.errors import InvalidSettings, RuntimeUnavailable, ServiceFailed
from serving.inference.classifier import require_servable
from serving.settings import ServiceSettings

SERVICE = "serving.service:HemaBench"
ROOT = Path(__file__).parents[2]
GRACEFUL_SHUTDOWN_S = 3


@dataclass(frozen=True, slots=True)
class Launch:
    """``os.execve(command[0], command, environment)`` becomes the service; no process stands between."""

    command: tuple[str, ...]
    environment: dict[str, str]
    url: str


def prepare_launch(
    settings: ServiceSettings, *, host: str = "127.0.0.1", port: int = 3000, cache: Path = Path(".cache")
) -> Launch:
    """How to run a service of ``settings`` at ``host:port``.

    Raises `InvalidSettings` for a host that is no address, `ServiceFailed` for a port in
    use, and what `require_servable` raises. ``cache`` holds a folder per port: services
    that share BentoML's home wipe each other's files.
    """
    address = address_of(host)
    require_free(address, port)
    require_servable(settings)
    _require_bentoml()
    home = cache.absolute() / "services" / f"{address.replace(':', '_')}-{port}"
    home.mkdir(parents=True, exist_ok=True)
    return Launch(_command(address, port), _environment(settings, home), url_of(address, port))


def _require_bentoml() -> None:
    if find_spec("bentoml") is None:
        raise RuntimeUnavailable(
            "a service needs the package 'bentoml', which is not installed. "
            "Next: pip install -c constraints.txt -e '.[serving]'"
        )


def require_free(address: str, port: int) -> None:
    """Raise `ServiceFailed` unless a service can listen at ``address:port``."""
    family = socket.AF_INET6 if ":" in address else socket.AF_INET
    with socket.socket(family, socket.SOCK_STREAM) as probe:
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            probe.bind((address, port))
        except OSError as error:
            raise ServiceFailed(
                f"cannot listen at {address}:{port}: {error.strerror}. Next: choose another with --port"
            ) from error


def address_of(host: str) -> str:
    """``host`` as an IP address; raises `InvalidSettings` for a name other than localhost."""
    try:
        return str(ipaddress.ip_address("127.0.0.1" if host == "localhost" else host))
    except ValueError as error:
        raise InvalidSettings(f"host {host!r} is no IP address; 0.0.0.0 means every interface") from error


def url_of(address: str, port: int) -> str:
    """Where a service that listens there is asked."""
    return f"http://[{address}]:{port}" if ":" in address else f"http://{address}:{port}"


def _command(address: str, port: int) -> tuple[str, ...]:
    return (
        *(sys.executable, "-m", "bentoml", "serve", SERVICE),
        *("--working-dir", str(ROOT), "--host", address, "--port", str(port)),
        *("--timeout-graceful-shutdown", str(GRACEFUL_SHUTDOWN_S)),
    )


def _environment(settings: ServiceSettings, home: Path) -> dict[str, str]:
    return {
        **os.environ,
        **settings.to_environment(),
        "BENTOML_HOME": str(home),
        "PROMETHEUS_MULTIPROC_DIR": str(home / "prometheus"),
        "BENTOML_DO_NOT_TRACK": "1",
        "PYTHONPATH": os.pathsep.join(filter(None, (str(ROOT), os.environ.get("PYTHONPATH")))),
    }
