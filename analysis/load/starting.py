"""How long a service takes until it is ready, over all the starts of a run."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Sequence
from statistics import median

from analysis.load.summary import CellSummary
from analysis.word_tables import WordTable
from analysis.wording import NONE, runtime_name


def start_ups(cells: Sequence[CellSummary]) -> WordTable:
    """One row per runtime and resolution. Cells that one start served share its time and count as one."""
    starts: dict[tuple[int, str], set[float]] = defaultdict(set)
    for one in cells:
        starts[one.cell.resolution_px, one.cell.runtime] |= set() if one.start_up_s is None else {one.start_up_s}
    return WordTable(
        title="From starting the service's process to its first positive readiness probe",
        note="In seconds, interpreter, imports, loading, warm-up and parity check included. What of it is importing "
        "and loading, the first call, and the memory that a runtime takes are told apart by hemabench compute.",
        headings=("px", "runtime", "starts", "median, s", "fastest, s", "slowest, s"),
        labels=2,
        rows=tuple(
            (str(side), runtime_name(runtime), str(len(took)), *_spread(sorted(took)))
            for (side, runtime), took in starts.items()
        ),
    )


def _spread(took_s: Sequence[float]) -> tuple[str, str, str]:
    """The median between its extremes: starts are too few for an interval."""
    if not took_s:
        return NONE, NONE, NONE
    middle, fastest, slowest = (f"{one:.2f}" for one in (median(took_s), took_s[0], took_s[-1]))
    return middle, fastest, slowest
