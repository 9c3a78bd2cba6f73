"""What several load generators say of the same service, each beside its own floor on a service without a model."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final, Literal

from contract.environment import Environment
from contract.records.load import NULL_RUNTIME

COMPARISON_FILE = "comparison.json"

LOCUST = "locust"
LOADGEN = "loadgen"
WRK = "wrk"
WIRE = "wire"

# MLPerf's names: one request after the other, and requests at instants drawn in advance.
SINGLE_STREAM: Final = "single_stream"
SERVER: Final = "server"
RefereeScenario = Literal["single_stream", "server"]

# A generator whose 99th percentile of send delay is above this adds itself to what it measures.
LATEST_SEND_NS = 2_000_000


@dataclass(frozen=True, slots=True, kw_only=True)
class RefereeWindow:
    """One client, one service, one scenario, once. ``p50_ns`` and ``p99_ns`` are what the client itself reports.

    From sending in a single stream, from the scheduled instant in a server's schedule.
    ``service_p50_ns`` is the median of what the service says of the same requests, where the client reads it.
    ``said`` is the client's own verdict, in its words, where it has one.
    """

    client: str
    scenario: RefereeScenario
    service: str
    round: int
    requests: int
    failures: int
    p50_ns: int
    p99_ns: int
    said: str | None = None
    service_p50_ns: int | None = None  # none in records from before it was kept

    @property
    def is_floor(self) -> bool:
        """Whether no model was behind the door."""
        return self.service == NULL_RUNTIME


@dataclass(frozen=True, slots=True, kw_only=True)
class GeneratorStep:
    """One rate that one process of our generator was asked to hold, against the null service."""

    rate_per_s: float
    requests: int
    failures: int
    dropped: int
    send_delay_p99_ns: int

    @property
    def held(self) -> bool:
        """Whether the generator kept to its schedule."""
        return self.dropped == 0 and self.failures == 0 and self.send_delay_p99_ns <= LATEST_SEND_NS


@dataclass(frozen=True, slots=True, kw_only=True)
class RefereeComparison:
    """All windows, and what they were measured with. ``missing`` says why a client was left out."""

    environment: Environment
    measured_at: str
    command: str
    runtime: str
    resolution_px: int
    image_bytes: int
    arrival_rate_per_s: float
    service_cores: tuple[int, ...]
    client_cores: tuple[int, ...]
    windows: tuple[RefereeWindow, ...]
    generator_steps: tuple[GeneratorStep, ...]
    missing: dict[str, str]
