"""What a load looks like while it runs: percentiles for whoever watches, never for a result.

They come from an HdrHistogram (Tene, hdrhistogram.org), which keeps three digits of times from a
microsecond to an hour; Locust's own live figures know no time below a millisecond. Results
are computed from the raw nanoseconds alone.
"""

from __future__ import annotations

from pathlib import Path

from hdrh.histogram import HdrHistogram

from contract.records.journal import JournalTail
from contract.records.load import REQUESTS_FILE, RequestRecord
from loadtest.generator.merging import worker_folder

LONGEST_US = 3_600_000_000
SIGNIFICANT_DIGITS = 3
LOOK_EVERY_S = 1.0


class LiveTimes:
    """Response times of the measured requests in ``folder`` so far, of all ``workers`` together."""

    def __init__(self, folder: Path, workers: int = 1) -> None:
        places = [folder] if workers == 1 else [worker_folder(folder, index) for index in range(workers)]
        self._tails = [JournalTail(place / REQUESTS_FILE, RequestRecord) for place in places]
        self._times_us = HdrHistogram(1, LONGEST_US, SIGNIFICANT_DIGITS)
        self._failures = 0
        self._next_look_s = LOOK_EVERY_S
        self._words = ""

    def words_at(self, elapsed_s: float) -> str:
        """Such as ``1,204 answers, p50 0.62 ms, p99 1.05 ms``; at most a second old, empty before the first answer."""
        if elapsed_s >= self._next_look_s:
            self._next_look_s = elapsed_s + LOOK_EVERY_S
            self._take_in()
            self._words = self._in_words()
        return self._words

    def _take_in(self) -> None:
        for record in (record for tail in self._tails for record in tail.new() if record.phase == "measured"):
            if record.ok:
                self._times_us.record_value(min(record.response_time_ns // 1_000, LONGEST_US))
            else:
                self._failures += 1

    def _in_words(self) -> str:
        answers = self._times_us.get_total_count()
        if not answers and not self._failures:
            return ""
        p50, p99 = (self._times_us.get_value_at_percentile(percent) / 1_000 for percent in (50, 99))
        times = f", p50 {p50:.2f} ms, p99 {p99:.2f} ms" * bool(answers)
        return f"{answers:,} answers{times}" + f", {self._failures:,} failures" * bool(self._failures)
