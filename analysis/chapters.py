"""Every kind of run, and how runs of other kinds become chapters of a load run's report.

    results/<run>/chapters/<kind>/<run>/    the records of another run, copied

A report is made of its own folder alone. So the records of a chapter are copied into it: the
seal covers them, a capsule holds them, and `hemabench verify` makes the whole page again.
"""

from __future__ import annotations

import shutil
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

import msgspec

from analysis.comparison.conditions import differing_environments, same_machine
from analysis.compute.report import tell_compute
from analysis.html import Chapter, MissingChapter, Report, render
from analysis.load.report import tell_load
from analysis.mistakes.report import tell_mistakes
from analysis.side_by_side.payloads import tell_payloads
from analysis.side_by_side.peers import tell_peers
from analysis.side_by_side.referees import tell_referees
from analysis.telling import Asked, Told
from analysis.training.report import tell_training
from contract.environment import Environment
from contract.errors import RunInvalid
from contract.progress import Progress, counted, part_of, silent
from contract.records.compute import COMPUTE_FILE, is_compute_folder
from contract.records.load import RUN_FILE
from contract.records.mistakes import PLAN_FILE, is_mistakes_folder
from contract.records.payloads import PAYLOADS_FILE
from contract.records.peers import PEERS_FILE
from contract.records.referees import COMPARISON_FILE
from contract.records.seal import SEAL_FILE, broken_seal
from contract.records.training import TRAINING_FILE, is_training_folder

CHAPTERS_FOLDER = "chapters"
RATES = "Response time against throughput"


@dataclass(frozen=True, slots=True, kw_only=True)
class Kind:
    """A kind of run. ``records`` are patterns of the files that it is told from, the one that describes it first.

    ``command`` measures it; ``title`` is what it is called where it is a chapter.
    """

    name: str
    title: str
    command: str
    is_here: Callable[[Path], bool]
    records: tuple[str, ...]
    tell: Callable[[Path, Asked], Told]


LOAD = Kind(
    name="load",
    title="Another load",
    command="hemabench load --scenario ladder --arrival-rate 50",
    is_here=lambda folder: (folder / RUN_FILE).is_file(),
    records=(RUN_FILE, "cells/*/*", "offline/*", "pictures/*/*"),
    tell=tell_load,
)
KINDS = (
    LOAD,
    Kind(
        name="compute",
        title="Pure compute, and the roofline",
        command="hemabench compute",
        is_here=is_compute_folder,
        records=(COMPUTE_FILE, "*.json", "sittings/*/*"),
        tell=tell_compute,
    ),
    Kind(
        name="mistakes",
        title="Mistakes that pick winners",
        command="hemabench mistakes",
        is_here=is_mistakes_folder,
        records=(PLAN_FILE, "*.journal"),
        tell=tell_mistakes,
    ),
    Kind(
        name="training",
        title="Training in several frameworks",
        command="hemabench train --framework all --seeds 3",
        is_here=is_training_folder,
        records=(TRAINING_FILE, f"*/{TRAINING_FILE}", "*.safetensors", "*/*.safetensors"),
        tell=tell_training,
    ),
    Kind(
        name="referee",
        title="Does another load generator say the same?",
        command="hemabench referee",
        is_here=lambda folder: (folder / COMPARISON_FILE).is_file(),
        records=(COMPARISON_FILE,),
        tell=tell_referees,
    ),
    Kind(
        name="peers",
        title="The service beside its peers",
        command="hemabench peers",
        is_here=lambda folder: (folder / PEERS_FILE).is_file(),
        records=(PEERS_FILE,),
        tell=tell_peers,
    ),
    Kind(
        name="payloads",
        title="What the form of an image costs",
        command="hemabench payloads",
        is_here=lambda folder: (folder / PAYLOADS_FILE).is_file(),
        records=(PAYLOADS_FILE,),
        tell=tell_payloads,
    ),
)
_DERIVED = {"report.html", "summary.json", SEAL_FILE}


def kind_of(folder: Path) -> Kind:
    """The kind of the run in ``folder``; raises `RunInvalid` where there is none."""
    for kind in KINDS:
        if kind.is_here(folder):
            return kind
    raise RunInvalid(f"no run in {folder}. Next: hemabench run, or name a folder under results/")


def tell(folder: Path, asked: Asked) -> Told:
    """The run in ``folder``, of whatever kind."""
    return kind_of(folder).tell(folder, asked)


def whole_page(folder: Path, told: Told, progress: Progress = silent) -> str:
    """The report's HTML of the run in ``folder`` with its chapters; only a load run has any."""
    if kind_of(folder) is not LOAD:
        return render(told.report)
    chapters = chapters_of(folder, told.report.environment, part_of(progress, 0, 1, 2))
    progress("put the page together", 1, 2)
    return render(told.report, chapters, _missing(told.report, chapters))


def chapters_of(folder: Path, environment: Environment, progress: Progress = silent) -> list[Chapter]:
    """The chapters in ``folder``, kind by kind; each says in what it was measured otherwise than ``environment``."""
    found: Counter[str] = Counter()
    chapters = []
    places = sorted((folder / CHAPTERS_FOLDER).glob("*/*"), key=lambda path: (_order(path), path.name))
    for place in counted(places, progress, "read the chapters"):
        kind = kind_of(place)
        found[kind.name] += 1
        name = f"{kind.name}-{found[kind.name]}"
        report = kind.tell(place, Asked()).report
        differing = differing_environments(environment, report.environment)
        differs = tuple(f"Otherwise than above: {one.field} {one.b}, not {one.a}." for one in differing)
        title = RATES if _has_rates(report) else kind.title
        chapters.append(Chapter(name=name, title=title, report=report, differs=differs))
    return chapters


def _has_rates(report: Report) -> bool:
    return any(section.name == "rates" for section in report.sections)


def join_chapters(folder: Path, others: Sequence[Path]) -> list[str]:
    """Make ``others`` the chapters of the load run in ``folder``, in place of those that it had; returns their files.

    Raises `RunInvalid` where one of them is no run, lies in ``folder``, or was changed after it had ended.
    """
    if kind_of(folder) is not LOAD:
        raise RunInvalid(f"{folder} is no load run, and only that has chapters. Next: hemabench report {folder}")
    if inside := [other for other in others if folder.resolve() in (other.resolve(), *other.resolve().parents)]:
        raise RunInvalid(f"{inside[0]} is a part of {folder} already. Next: name another run")
    joined = [(kind_of(other), other) for other in others]
    for _, other in joined:
        faults = broken_seal(other) if (other / SEAL_FILE).is_file() else ()
        if faults:
            raise RunInvalid(f"{other} was changed since it ended: {faults[0]}. Next: hemabench verify {other}")
    shutil.rmtree(folder / CHAPTERS_FOLDER, ignore_errors=True)
    copies = [_copy_records(*one, folder / CHAPTERS_FOLDER / one[0].name / one[1].resolve().name) for one in joined]
    return [copy.relative_to(folder).as_posix() for of_one in copies for copy in of_one]


def newest_of_other_kinds(results: Path, folder: Path) -> list[Path]:
    """The newest sealed run of every other kind below ``results``, of those that were measured on the same machine."""
    here = _made(folder, LOAD).environment
    newest: dict[str, tuple[str, Path]] = {}
    for place in sorted({path.parent for path in results.glob(f"*/{SEAL_FILE}")} | set(_campaigns(results))):
        kind = next((kind for kind in KINDS if kind.is_here(place)), LOAD)
        if kind is LOAD:
            continue
        made = _made(place, kind)
        if same_machine(here, made.environment) and made.when > newest.get(kind.name, ("", place))[0]:
            newest[kind.name] = (made.when, place)
    return [place for _, place in newest.values()]


@dataclass(frozen=True, slots=True, kw_only=True)
class _Made:
    """What every description of a run has: where and when."""

    environment: Environment
    created: str = ""
    measured_at: str = ""

    @property
    def when(self) -> str:
        return self.created or self.measured_at


def _made(folder: Path, kind: Kind) -> _Made:
    described = next(path for pattern in kind.records for path in sorted(folder.glob(pattern)))
    try:
        return msgspec.json.decode(described.read_bytes(), type=_Made)
    except msgspec.MsgspecError as error:
        raise RunInvalid(f"{described} cannot be read: {error}. Next: hemabench verify {folder}") from error


def _campaigns(results: Path) -> Iterator[Path]:
    """Training campaigns lie one folder deeper."""
    return (path.parent for path in results.glob(f"*/*/{SEAL_FILE}") if path.parent.parent.name == "training")


def _order(place: Path) -> int:
    return KINDS.index(kind_of(place))


def _copy_records(kind: Kind, other: Path, into: Path) -> list[Path]:
    files = {path for pattern in kind.records for path in other.glob(pattern) if path.is_file()}
    copies = []
    for path in sorted(files):
        if path.name not in _DERIVED and path.suffix != ".log":
            copies.append(into / path.relative_to(other))
            copies[-1].parent.mkdir(parents=True, exist_ok=True)
            shutil.copyfile(path, copies[-1])
    return copies


def _missing(report: Report, chapters: Sequence[Chapter]) -> list[MissingChapter]:
    titles = {chapter.title for chapter in chapters}
    missing = [
        MissingChapter(kind.title, kind.command) for kind in KINDS if kind is not LOAD and kind.title not in titles
    ]
    if not _has_rates(report) and RATES not in titles:
        missing.insert(0, MissingChapter(RATES, LOAD.command))
    return missing
