"""Progress in expected seconds, so that a bar can say how long it will still take."""

from __future__ import annotations

from contract.progress import Progress


class Meter:
    """Tells ``progress`` what is running; never falls back, whatever is skipped or fails."""

    def __init__(self, progress: Progress, total_s: float) -> None:
        self._progress = progress
        self._total_s = max(total_s, 1.0)  # where there is nothing to do, that is soon done
        self._done_s = self._section_end_s = self._expected_s = 0.0
        self._what = ""

    def section(self, expected_s: float) -> None:
        """Begin a part of the work; the one before is over, however far it came."""
        self._done_s, self._expected_s = self._section_end_s, 0.0
        self._section_end_s += expected_s

    def begin(self, what: str, expected_s: float) -> None:
        """The next step of this section; the one before is over."""
        self._done_s = min(self._done_s + self._expected_s, self._section_end_s)
        self._what, self._expected_s = what, expected_s
        self.tick(0.0)

    def tick(self, elapsed_s: float, seen: str = "") -> None:
        """The step has run for ``elapsed_s``; ``seen`` is what it has brought so far, in words."""
        now_s = self._done_s + min(elapsed_s, self._expected_s)
        self._progress(f"{self._what}: {seen}" if seen else self._what, min(now_s, self._section_end_s), self._total_s)

    def end(self, what: str) -> None:
        """All is done."""
        self._progress(what, self._total_s, self._total_s)
