"""What the gateway says: one entry per runtime, and its own timing."""

from __future__ import annotations

import msgspec

from contract.blood_cells import NOTICE
from serving.answers import Problem


class RuntimeAnswer(msgspec.Struct, frozen=True, tag_field="outcome", tag="answer"):
    """What one service said, as it said it: an `Answer`, or `ManyAnswers` to a form of several images."""

    answer: msgspec.Raw
    server_timing: str
    round_trip_ms: float


class RuntimeProblem(msgspec.Struct, frozen=True, tag_field="outcome", tag="error"):
    """Why one service did not answer: its own refusal, or one of the gateway's. None where it was not asked."""

    status: int
    error: Problem
    round_trip_ms: float | None = None


Outcome = RuntimeAnswer | RuntimeProblem


class GatewayAnswer(msgspec.Struct, frozen=True):
    """The answer to a classification, as a client reads it; ``timing_ms`` is the gateway's own."""

    runtimes: dict[str, Outcome]
    request_id: str
    timing_ms: dict[str, float]
    notice: str = NOTICE


class Outcomes(msgspec.Struct, frozen=True):
    """`GatewayAnswer` before its timing is known."""

    runtimes: dict[str, Outcome]
    request_id: str
    notice: str = NOTICE


class ServiceState(msgspec.Struct, frozen=True):
    """``state`` is starting, ready or down; ``reason`` says why where it is not ready."""

    state: str
    reason: str
    restarts: int


class Readiness(msgspec.Struct, frozen=True):
    """Whether any runtime would answer, and each one's state."""

    ready: bool
    runtimes: dict[str, ServiceState]
    notice: str = NOTICE


class RuntimeModels(msgspec.Struct, frozen=True):
    """One runtime's state, and its `LoadedModels` as it said them; null where it did not."""

    state: str
    reason: str
    restarts: int
    loaded: msgspec.Raw


class GatewayModels(msgspec.Struct, frozen=True):
    """Every runtime's models, and the resolutions that at least one of them has loaded, ascending."""

    runtimes: dict[str, RuntimeModels]
    resolutions: list[int]
    labels: list[str]
    notice: str = NOTICE
