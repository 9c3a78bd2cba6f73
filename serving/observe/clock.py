"""Where a request's time goes: every nanosecond belongs to exactly one part."""

from __future__ import annotations

from time import perf_counter_ns

from contract.timing import TOTAL


class PartClock:
    """Starts when it is made. Parts follow each other without a gap, so they add up to the total."""

    __slots__ = ("_last_ns", "batch_images", "began_ns", "followed_by", "parts_ns")

    def __init__(self) -> None:
        self.began_ns = self._last_ns = perf_counter_ns()
        self.parts_ns: dict[str, int] = {}
        self.batch_images = 0  # how many were inferred together, where requests share a batch
        self.followed_by: PartClock | None = None

    @property
    def ended_ns(self) -> int:
        """When the last part ended; when it began, where none has."""
        return self._last_ns

    def following(self, began_ns: int = 0) -> PartClock:
        """A clock for what comes next; it begins where this one stands, so that no time falls between the two.

        Or at ``began_ns``, where that is later: what comes next may wait for others than this.
        """
        clock = PartClock()
        clock.began_ns = clock._last_ns = max(began_ns, self._last_ns)
        self.followed_by = clock
        return clock

    def end(self, part: str) -> None:
        """All since the part before belongs to ``part``."""
        now_ns = perf_counter_ns()
        self.parts_ns[part] = now_ns - self._last_ns
        self._last_ns = now_ns

    def with_total(self) -> dict[str, int]:
        """The parts in order, and their sum as ``total``."""
        return {**self.parts_ns, TOTAL: self._last_ns - self.began_ns}
