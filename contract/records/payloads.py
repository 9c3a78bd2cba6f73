"""What the form of an image on the wire costs: raw round trips and the service's own parts, per form and resolution."""

from __future__ import annotations

from dataclasses import dataclass

from contract.environment import Environment

PAYLOADS_FILE = "payloads.json"

PNG = "png"
JPEG = "jpeg"
TENSOR = "tensor"
NUMBERS = "numbers"


@dataclass(frozen=True, slots=True, kw_only=True)
class PayloadWindow:
    """One form of an image, sent again and again over one connection.

    ``wire_bytes`` is the whole request with its head. ``decode_ns`` is what the service says
    of a few requests beside the window; the rest was not slowed by reading headers.
    """

    form: str
    resolution_px: int
    round: int
    wire_bytes: int
    round_trips_ns: tuple[int, ...]
    decode_ns: tuple[int, ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class PayloadComparison:
    """All windows, and what they were measured with."""

    environment: Environment
    measured_at: str
    command: str
    runtime: str
    service_cores: tuple[int, ...]
    client_cores: tuple[int, ...]
    windows: tuple[PayloadWindow, ...]
