"""What a side-by-side measurement of services is: raw round trips per contender, round and number of connections."""

from __future__ import annotations

from dataclasses import dataclass

from contract.environment import Environment

PEERS_FILE = "peers.json"

OURS = "hemabench"
BARE = "bare"
TEXTBOOK = "textbook"
LITSERVE = "litserve"
EMPTY = "empty"


@dataclass(frozen=True, slots=True, kw_only=True)
class PeerWindow:
    """One contender, measured once, by a closed loop of ``connections``.

    ``round_trips_ns`` are in the order of their ends; ``elapsed_ns`` runs from the first
    request to the last answer. ``cpu_ns`` is what all processes of the contender used
    meanwhile, in the kernel's ticks of usually 10 ms.
    """

    contender: str
    round: int
    connections: int
    round_trips_ns: tuple[int, ...]
    elapsed_ns: int
    cpu_ns: int
    failures: int


@dataclass(frozen=True, slots=True, kw_only=True)
class PeerComparison:
    """All windows, and what they were measured with. ``missing`` says why a contender was left out."""

    environment: Environment
    measured_at: str
    command: str
    resolution_px: int
    image_bytes: int
    service_cores: tuple[int, ...]
    client_cores: tuple[int, ...]
    windows: tuple[PeerWindow, ...]
    missing: dict[str, str]
