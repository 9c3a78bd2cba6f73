"""Which services the gateway starts or finds elsewhere, and how long it waits for what."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, replace
from pathlib import Path
from urllib.parse import urlsplit

from contract.errors import ArtifactUnavailable, HemaBenchError, InvalidSettings
from serving.inference.classifier import require_servable
from serving.settings import ServiceSettings

NATIVE_RUNTIMES = ("pytorch", "tensorflow", "jax", "onnx")


@dataclass(frozen=True, slots=True)
class Elsewhere:
    """A service that somebody else runs, under the name of its runtime."""

    runtime: str
    url: str
    max_body_bytes: int = ServiceSettings().max_body_bytes
    body_deadline_s: float = ServiceSettings().body_deadline_s

    @classmethod
    def parse(cls, text: str) -> Elsewhere:
        """``onnx=http://host:3000``; raises `InvalidSettings`."""
        runtime, _, url = text.partition("=")
        parts = urlsplit(url)
        if not runtime or parts.scheme not in ("http", "https") or not parts.hostname or parts.query or parts.fragment:
            raise InvalidSettings(f"service {text!r} is not RUNTIME=URL, such as onnx=http://127.0.0.1:3001")
        return cls(runtime, url.rstrip("/"))


@dataclass(frozen=True, slots=True, kw_only=True)
class GatewaySettings:
    """One gateway and the services behind it, at most one per runtime; those it starts listen on 127.0.0.1 only.

    A service has ``start_deadline_s`` to get ready and ``answer_deadline_s`` for an answer, which is more than
    a request may wait in its line. One that dies is started again after ``restart_pause_s``, doubled each time up to
    ``longest_restart_pause_s``. ``stop_deadline_s`` is what everything has to end. ``request_limit`` bounds the
    requests that wait for services at once, and the memory of all bodies, whole or not: as many of the largest size.
    ``logs`` gets a file per runtime.
    """

    services: tuple[ServiceSettings | Elsewhere, ...]
    host: str = "127.0.0.1"
    port: int = 3000
    logs: Path = Path(".cache/services")
    start_deadline_s: float = 300.0
    answer_deadline_s: float = 15.0
    restart_pause_s: float = 1.0
    longest_restart_pause_s: float = 30.0
    stop_deadline_s: float = 5.0
    request_limit: int = 32

    def __post_init__(self) -> None:
        names = [service.runtime for service in self.services]
        if not names:
            raise InvalidSettings("a gateway needs at least one service")
        if len(names) != len(set(names)):
            raise InvalidSettings(f"a runtime is named twice: {', '.join(names)}")
        for name in ("start_deadline_s", "answer_deadline_s", "restart_pause_s", "stop_deadline_s", "request_limit"):
            if getattr(self, name) <= 0:
                raise InvalidSettings(f"{name} ({getattr(self, name)}) must be > 0")

    @property
    def max_body_bytes(self) -> int:
        """The largest body that every service takes."""
        return min(service.max_body_bytes for service in self.services)

    @property
    def body_deadline_s(self) -> float:
        """What a client has to send its body."""
        return min(service.body_deadline_s for service in self.services)


def servable_runtimes(
    template: ServiceSettings, runtimes: Iterable[str] = NATIVE_RUNTIMES
) -> tuple[tuple[ServiceSettings, ...], dict[str, str]]:
    """``template`` for each of ``runtimes`` that can be served, and why the others cannot.

    Raises `ArtifactUnavailable` where none can. An audit log becomes one per runtime: each has one writer.
    """
    found: list[ServiceSettings] = []
    left_out: dict[str, str] = {}
    for runtime in runtimes:
        settings = replace(template, runtime=runtime, audit_log=_own_log(template.audit_log, runtime))
        try:
            require_servable(settings)
        except InvalidSettings:
            raise
        except HemaBenchError as error:
            left_out[runtime] = str(error)
        else:
            found.append(settings)
    if not found:
        reasons = "\n".join(f"  {runtime}: {reason}" for runtime, reason in left_out.items())
        raise ArtifactUnavailable(f"no runtime can be served:\n{reasons}")
    return tuple(found), left_out


def _own_log(log: Path | None, runtime: str) -> Path | None:
    return None if log is None else log.with_stem(f"{log.stem}-{runtime}")
