"""What the terminal shows besides a run's summary: progress, and tables of the smaller commands."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from math import inf
from time import monotonic

from rich.console import Console
from rich.progress import BarColumn, TextColumn, TimeElapsedColumn
from rich.progress import Progress as Bars
from rich.progress_bar import ProgressBar
from rich.table import Table

from contract.architecture import ModelSpec
from contract.blood_cells import RESOLUTIONS_PX
from contract.dataset import Split
from contract.manifest import Artifact
from contract.parity import Parity
from contract.progress import Progress

PLAIN_LINE_EVERY_S = 1.0


@contextmanager
def progress_on(console: Console) -> Iterator[Progress]:
    """A bar with what is running now and the time left; plain lines where ``console`` is no terminal."""
    clock = TimeLeft(monotonic)
    if not console.is_terminal:
        yield _PlainLines(console, clock)
        return
    columns = (TextColumn("{task.description}"), BarColumn(), TimeElapsedColumn(), TextColumn("{task.fields[left]}"))
    with Bars(*columns, console=console) as bars:
        task = bars.add_task("", total=None, left="")

        def show(what: str, done: float, total: float) -> None:
            bars.update(task, description=what, completed=done, total=total, left=clock.after(done, total))

        yield show


class TimeLeft:
    """How long a piece of work will still take if it goes on as fast as it went; ``clock()`` gives seconds.

    Less done than before begins another piece of work.
    """

    def __init__(self, clock: Callable[[], float]) -> None:
        self._clock = clock
        self._began_s = self._first = self._total = 0.0
        self._last = inf  # whatever is done at first is less: the first call begins the work

    def after(self, done: float, total: float) -> str:
        """In words, such as "3 min left"; empty where nothing can be said yet, or all is done."""
        if done < self._last or (done == 0 and total != self._total):
            self._began_s, self._first = self._clock(), done
        self._last, self._total = done, total
        gained = done - self._first
        if gained <= 0 or done >= total:
            return ""
        return f"{_in_words((self._clock() - self._began_s) * (total - done) / gained)} left"


def _in_words(duration_s: float) -> str:
    if duration_s < 90:
        return f"{max(1, round(duration_s))} s"
    return f"{round(duration_s / 60)} min" if duration_s < 5_400 else f"{duration_s / 3_600:.1f} h"


class _PlainLines:
    """At most one line a second, and one for every end."""

    def __init__(self, console: Console, clock: TimeLeft) -> None:
        self._console = console
        self._clock = clock
        self._last_s = 0.0
        self._last_line = ""

    def __call__(self, what: str, done: float, total: float) -> None:
        line = f"[{done / total if total else 1:4.0%}] {what}"
        left = self._clock.after(done, total)
        due = monotonic() - self._last_s >= PLAIN_LINE_EVERY_S or done >= total
        if due and line != self._last_line:
            self._last_s, self._last_line = monotonic(), line
            said = f"{line}, {left}" if left else line
            self._console.print(said, markup=False, highlight=False, soft_wrap=True)


def network_table(spec: ModelSpec) -> Table:
    """Layers with their parameters, and FLOPs at every resolution."""
    headings = [f"MFLOP at {px} px" for px in RESOLUTIONS_PX]
    table = _table(spec.name, ["layer", "output at 28 px"], ["parameters", *headings])
    for costs in zip(*(spec.costs(px) for px in RESOLUTIONS_PX), strict=True):
        shape = "×".join(map(str, costs[0].output_shape))
        flops = (f"{cost.flops / 1e6:,.1f}" for cost in costs)
        table.add_row(costs[0].name, shape, f"{costs[0].parameters:,}", *flops)
    table.add_section()
    sums = (f"{spec.flops(px) / 1e6:,.1f}" for px in RESOLUTIONS_PX)
    table.add_row("sum", "", f"{spec.parameter_count:,}", *sums)
    return table


def counts_table(description: str, counts: Mapping[Split, Mapping[str, int]]) -> Table:
    """Images per class and split; ``counts[split][label]``."""
    table = _table(description, ["class"], list(counts))
    for label in next(iter(counts.values())):
        table.add_row(label, *(f"{of_split[label]:,}" for of_split in counts.values()))
    table.add_section()
    table.add_row("sum", *(f"{sum(of_split.values()):,}" for of_split in counts.values()))
    return table


def artifacts_table(artifacts: Sequence[Artifact]) -> Table:
    """Artifacts with their digests and the parity that their export proved."""
    table = _table("Artifacts", ["artifact", "digest"], ["largest logit difference", "golden images"])
    for artifact in artifacts:
        parity = artifact.manifest.parity
        table.add_row(artifact.name, artifact.digest[:12], f"{parity.largest_difference:.1e}", str(parity.images))
    return table


def parity_table(proved: Sequence[tuple[str, int, Parity]]) -> Table:
    """Runtime, resolution and what the runtime's logits differ by from the reference's."""
    table = _table("Parity", ["runtime"], ["px", "largest logit difference", "golden images", "batches"])
    for runtime, resolution_px, parity in proved:
        batches = ", ".join(map(str, parity.batches))
        table.add_row(runtime, str(resolution_px), f"{parity.largest_difference:.1e}", str(parity.images), batches)
    return table


def probabilities_table(label: str, probabilities: Mapping[str, float]) -> Table:
    """All classes as bars, the likeliest first."""
    table = Table(box=None, show_header=False, title=f"[bold]{label}[/bold]", title_justify="left")
    for name, probability in sorted(probabilities.items(), key=lambda pair: -pair[1]):
        table.add_row(name, ProgressBar(total=1, completed=probability, width=40), f"{probability:.1%}")
    return table


def _table(title: str, words: Sequence[str], numbers: Sequence[str]) -> Table:
    table = Table(title=title, title_justify="left")
    for heading in words:
        table.add_column(heading, overflow="fold")
    for heading in numbers:
        table.add_column(heading, justify="right")
    return table
