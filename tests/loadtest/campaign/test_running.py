from __future__ import annotations

import hashlib
import itertools
import os
import resource
import shutil
import signal
import sys
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import pytest

from contract.errors import ArtifactUnavailable, InvalidSettings, RunInvalid
from contract.manifest import Manifest, artifact_folder, digests_of_files, load_artifact, save_manifest
from contract.parity import Parity, Tolerance
from contract.records.journal import read_journal
from contract.records.load import CELL_FILE, REQUESTS_FILE, OfflinePredictions, RequestRecord
from contract.records.seal import SEAL_FILE, broken_seal, read_seal
from contract.storage import read_json
from loadtest.campaign.cells import capacity_per_s, read_records
from loadtest.campaign.planning import CampaignSettings, Contender, contenders_of
from loadtest.campaign.runfolder import RunFolder, open_run
from loadtest.campaign.running import HEMABENCH, SERVICE_LOG, Commands, run_campaign
from loadtest.scenarios import SHARE_OF_CAPACITY, Profile
from loadtest.service.server import CommandForPort

FAKE_OFFLINE = Path(__file__).with_name("fake_offline.py")
SHORT = Profile(name="short", resolutions_px=(28,), warmup_s=0.2, duration_s=0.8, images=20)
FORMATS = {"swift": "onnx", "steady": "stablehlo"}


@dataclass
class Heard:
    """Progress, as it was told."""

    said: list[tuple[str, float, float]] = field(default_factory=list)

    def __call__(self, what: str, done: float, total: float) -> None:
        self.said.append((what, done, total))


@pytest.fixture(scope="session")
def artifacts(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Artifacts with real manifests, of models that no test loads."""
    root = tmp_path_factory.mktemp("artifacts")
    for name in FORMATS.values():
        folder = artifact_folder(root, name, 28)
        folder.mkdir(parents=True)
        (folder / "model").write_text(name)
        manifest = Manifest(
            model="fakenet",
            spec_digest="",
            format=name,
            resolution_px=28,
            weights_digest="w",
            trained_on="noise",
            files=digests_of_files(folder),
            versions={},
            parity=Parity(largest_difference=1e-6, images=4, batches=(1, 5), tolerance=Tolerance()),
        )
        save_manifest(folder, manifest)
    return root


@pytest.fixture(scope="session")
def commands(fake_command: Callable[..., CommandForPort]) -> Callable[..., Commands]:
    """Fake programs in the place of ours; ``behaviour`` of the services is told per runtime."""

    def make(**behaviour: dict[str, Any]) -> Commands:
        def service(settings: CampaignSettings, contender: Contender) -> CommandForPort:
            folder = artifact_folder(settings.artifacts, settings.formats[contender.runtime], contender.resolution_px)
            given = {"service_ms": 4, "digest": load_artifact(folder).digest}
            return fake_command(**(given | behaviour.get(contender.runtime, {})))

        def offline(settings: CampaignSettings, contender: Contender, positions: Path, output: Path) -> Sequence[str]:
            what = ["--runtime", contender.runtime, "--resolution", str(contender.resolution_px)]
            module = ["-c", f"import runpy; runpy.run_path({str(FAKE_OFFLINE)!r}, run_name='__main__')"]
            return [sys.executable, *module, *what, "--positions-file", str(positions), "--output", str(output)]

        return Commands(service=service, offline=offline)

    return make


@pytest.fixture(scope="session")
def make_settings(artifacts: Path, noise_folder: Path) -> Callable[..., CampaignSettings]:
    """Settings of a campaign of seconds."""

    def make(results: Path, **changes: Any) -> CampaignSettings:
        given = {"profile": SHORT, "formats": FORMATS, "datasets": {28: noise_folder}, "artifacts": artifacts}
        return CampaignSettings(results=results, **(given | {"run": "run"} | changes))

    return make


@pytest.fixture(scope="session")
def whole_run(
    make_settings: Callable, commands: Callable, tmp_path_factory: pytest.TempPathFactory
) -> tuple[RunFolder, Heard]:
    """A campaign in which nothing went wrong; tests only look at it, or copy it."""
    heard = Heard()
    folder = run_campaign(make_settings(tmp_path_factory.mktemp("results")), heard, commands())
    return open_run(folder), heard


@pytest.fixture
def copied_run(whole_run: tuple[RunFolder, Heard], tmp_path: Path) -> RunFolder:
    """The same campaign, to be damaged."""
    shutil.copytree(whole_run[0].path, tmp_path / "run")
    return open_run(tmp_path / "run")


def test_every_planned_cell_has_records_and_balanced_books(whole_run: tuple[RunFolder, Heard]) -> None:
    run, _ = whole_run
    assert len(run.plan.cells) == 4
    assert (run.missing(), run.failures()) == ([], [])
    for cell in run.plan.cells:
        outcome = run.outcome(cell)
        assert outcome is not None
        records = read_journal(run.cell_folder(cell) / REQUESTS_FILE, RequestRecord).records
        assert outcome.started == outcome.ok == outcome.answered_by_service == len(records) > 0
        assert outcome.start_up_s is not None
        assert outcome.start_up_s > 0
        assert {record.phase for record in records} == {"warmup", "measured"}


def test_the_open_loop_runs_at_half_of_what_the_closed_loop_got_through(whole_run: tuple[RunFolder, Heard]) -> None:
    run, _ = whole_run
    for runtime in FORMATS:
        closed, opened = Contender(runtime, 28).cells()
        outcome = run.outcome(opened)
        assert outcome is not None
        assert outcome.scenario is not None
        capacity = capacity_per_s(read_records(run.cell_folder(closed)))
        assert outcome.scenario.arrival_rate_per_s == pytest.approx(SHARE_OF_CAPACITY * capacity)


def test_every_image_that_was_sent_has_an_answer_without_http(whole_run: tuple[RunFolder, Heard]) -> None:
    run, _ = whole_run
    for cell in run.plan.cells:
        predictions = read_json(run.offline_file(cell.runtime, cell.resolution_px), OfflinePredictions)
        assert len(predictions.images) == SHORT.images
        assert {record.image for record in read_records(run.cell_folder(cell))} <= set(predictions.images)


def test_service_and_generator_have_cores_of_their_own(whole_run: tuple[RunFolder, Heard]) -> None:
    run, _ = whole_run
    for cell in run.plan.cells:
        outcome = run.outcome(cell)
        assert outcome is not None
        assert len(outcome.service_cores) == len(outcome.generator_cores) == 1
        shared = set(outcome.service_cores) & set(outcome.generator_cores)
        assert bool(shared) == (len(os.sched_getaffinity(0)) == 1)


def test_progress_says_what_runs_and_never_falls(whole_run: tuple[RunFolder, Heard]) -> None:
    _, heard = whole_run
    shares = [done / total for _, done, total in heard.said]
    assert shares == sorted(shares)
    assert shares[-1] == 1
    assert len({total for *_, total in heard.said}) == 1
    said = {what for what, *_ in heard.said}
    assert {"swift 28 px: closed loop", "steady 28 px: starting the service"} <= said


def test_contenders_are_measured_in_an_order_that_the_seed_draws(make_settings: Callable, tmp_path: Path) -> None:
    many = {f"runtime{i}": "onnx" for i in range(6)}
    orders = [contenders_of(make_settings(tmp_path, formats=many, seed=seed)) for seed in (1, 1, 2)]
    assert orders[0] == orders[1] != orders[2]
    assert set(orders[0]) == set(orders[2])


def test_every_repetition_has_an_order_of_its_own_and_is_whole_before_the_next(
    make_settings: Callable, tmp_path: Path
) -> None:
    many = {f"runtime{i}": "onnx" for i in range(6)}
    drawn = contenders_of(make_settings(tmp_path, formats=many, profile=replace(SHORT, repetitions=3)))
    rounds = [drawn[start : start + 6] for start in (0, 6, 12)]
    assert [{contender.repetition for contender in one} for one in rounds] == [{1}, {2}, {3}]
    orders = [[contender.runtime for contender in one] for one in rounds]
    assert [sorted(order) for order in orders] == [sorted(many)] * 3
    assert orders[0] != orders[1]


def test_repetitions_and_the_null_service_are_measured_each_in_a_process_of_its_own(
    make_settings: Callable, fake_command: Callable, commands: Callable, tmp_path: Path
) -> None:
    short = replace(SHORT, warmup_s=0.0, duration_s=0.3, repetitions=2)
    settings = make_settings(tmp_path, profile=short, formats={"null": None, "swift": "onnx"})
    started: list[Contender] = []

    def service(settings: CampaignSettings, contender: Contender) -> CommandForPort:
        started.append(contender)
        if contender.runtime == "null":
            return fake_command(service_ms=0, digest="0" * 64)
        command: CommandForPort = commands().service(settings, contender)
        return command

    run = open_run(run_campaign(settings, Heard(), Commands(service=service, offline=commands().offline)))
    assert (run.missing(), run.failures()) == ([], [])
    assert sorted(map(str, started)) == sorted(map(str, contenders_of(settings)))
    assert len(started) == len(set(started)) == 4
    scenarios = [(cell.runtime, cell.scenario, cell.repetition) for cell in run.plan.cells]
    assert sorted(scenarios) == [
        ("null", "closed_loop", 1),
        ("null", "closed_loop", 2),
        ("swift", "closed_loop", 1),
        ("swift", "closed_loop", 2),
        ("swift", "open_loop", 1),
        ("swift", "open_loop", 2),
    ]
    opened = [run.outcome(Contender("swift", 28, number).cells()[1]) for number in (1, 2)]
    assert [one.scenario.seed for one in opened if one and one.scenario] == [0, 1]


def test_a_runtime_that_fails_is_recorded_and_the_others_are_measured(
    make_settings: Callable, commands: Callable, tmp_path: Path
) -> None:
    failing = commands(swift={"die_at_start": True}, steady={"die_after": 8})
    run = open_run(run_campaign(make_settings(tmp_path), Heard(), failing))
    assert run.missing() == []
    errors = {(outcome.cell.runtime, outcome.cell.scenario): str(outcome.error) for outcome in run.failures()}
    assert len(errors) == 4
    assert "no model to serve" in errors["swift", "closed_loop"]
    assert "no model to serve" in errors["swift", "open_loop"]
    assert "ran into a wall" in errors["steady", "closed_loop"]
    assert len(read_records(run.cell_folder(Contender("steady", 28).cells()[0]))) > 8


def test_a_runtime_that_cannot_answer_offline_is_not_measured(
    make_settings: Callable, commands: Callable, tmp_path: Path
) -> None:
    settings = make_settings(tmp_path, formats={"untaught": "onnx"})
    run = open_run(run_campaign(settings, Heard(), commands()))
    assert ["nothing to predict with" in str(outcome.error) for outcome in run.failures()] == [True, True]
    assert not any((run.cell_folder(cell) / SERVICE_LOG).exists() for cell in run.plan.cells)


@pytest.mark.acceptance("D4")
def test_resuming_measures_what_is_not_finished_and_nothing_else(
    copied_run: RunFolder, make_settings: Callable, commands: Callable
) -> None:
    half_done = Contender("swift", 28).cells()[1]
    kept = [cell for cell in copied_run.plan.cells if cell != half_done]
    (copied_run.cell_folder(half_done) / CELL_FILE).unlink()
    before = {cell: (copied_run.cell_folder(cell) / REQUESTS_FILE).stat().st_mtime_ns for cell in kept}
    torn = (copied_run.cell_folder(half_done) / REQUESTS_FILE).read_bytes()
    folder = run_campaign(make_settings(copied_run.path.parent, resume=True), Heard(), commands())
    assert folder == copied_run.path
    assert (copied_run.missing(), copied_run.failures()) == ([], [])
    assert {cell: (copied_run.cell_folder(cell) / REQUESTS_FILE).stat().st_mtime_ns for cell in kept} == before
    assert (folder / "discarded" / f"{half_done.name}-1" / REQUESTS_FILE).read_bytes() == torn


def test_offline_predictions_that_are_not_whole_are_made_again(
    copied_run: RunFolder, make_settings: Callable, commands: Callable
) -> None:
    closed, opened = Contender("steady", 28).cells()
    for cell in (closed, opened):
        (copied_run.cell_folder(cell) / CELL_FILE).unlink()
    copied_run.offline_file("steady", 28).write_text('{"runtime": ')
    (copied_run.path / SEAL_FILE).unlink()  # a run that was killed has none
    run_campaign(make_settings(copied_run.path.parent, resume=True), Heard(), commands())
    assert copied_run.failures() == []
    assert len(read_json(copied_run.offline_file("steady", 28), OfflinePredictions).images) == SHORT.images


@pytest.mark.acceptance("D7")
def test_a_run_that_has_ended_is_sealed_whole(whole_run: tuple[RunFolder, Heard]) -> None:
    folder = whole_run[0].path
    assert broken_seal(folder) == ()
    assert len(read_seal(folder)) == sum(path.is_file() for path in folder.rglob("*")) - 1


def test_a_finished_run_whose_records_were_changed_is_not_resumed(
    copied_run: RunFolder, make_settings: Callable, commands: Callable
) -> None:
    cell = copied_run.plan.cells[0]
    with (copied_run.cell_folder(cell) / REQUESTS_FILE).open("ab") as journal:
        journal.write(b"00000000 {}\n")
    with pytest.raises(RunInvalid, match=f"changed after its run had ended: cells/{cell.name}"):
        run_campaign(make_settings(copied_run.path.parent, resume=True), Heard(), commands())


@contextmanager
def little_disk(most_bytes: int) -> Iterator[None]:
    """No file of this process or its children grows beyond ``most_bytes``: a disk that is full."""
    before = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (most_bytes, before[1]))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, before)


@pytest.mark.acceptance("D6")
def test_a_full_disk_fails_the_cell_and_harms_nothing_that_was_there(
    copied_run: RunFolder, make_settings: Callable, commands: Callable
) -> None:
    half_done = Contender("swift", 28).cells()[1]
    (copied_run.cell_folder(half_done) / CELL_FILE).unlink()
    kept = {name: digest for name, digest in read_seal(copied_run.path).items() if half_done.name not in name}
    settings = make_settings(copied_run.path.parent, resume=True)
    with little_disk(8_000):  # room for the small files, not for a journal
        run_campaign(settings, Heard(), commands())
    outcome = copied_run.outcome(half_done)
    assert outcome is not None
    assert outcome.error is not None  # which `hemabench run` answers with exit code 1
    with little_disk(1_000), pytest.raises(OSError, match="File too large"):  # no room for anything
        run_campaign(settings, Heard(), commands())
    assert {name: read_digest(copied_run.path / name) for name in kept} == kept


def read_digest(path: Path) -> str:
    return hashlib.sha256(path.read_bytes()).hexdigest()


def test_resuming_a_finished_run_measures_nothing(
    copied_run: RunFolder, make_settings: Callable, commands: Callable
) -> None:
    heard = Heard()
    run_campaign(make_settings(copied_run.path.parent, resume=True), heard, commands(swift={"die_at_start": True}))
    assert copied_run.failures() == []
    assert heard.said == [("load tests", 1, 1)]


def test_a_run_with_another_seed_is_not_resumed(
    copied_run: RunFolder, make_settings: Callable, commands: Callable
) -> None:
    with pytest.raises(RunInvalid, match="its seed is 0"):
        run_campaign(make_settings(copied_run.path.parent, resume=True, seed=5), Heard(), commands())


def test_ctrl_c_keeps_what_is_finished_and_leaves_no_process(
    make_settings: Callable, commands: Callable, tmp_path: Path
) -> None:
    settings = make_settings(tmp_path, profile=replace(SHORT, duration_s=2.0))
    first = contenders_of(settings)[0]

    def press_ctrl_c(what: str, done: float, total: float) -> None:
        journal = tmp_path / "run" / "cells" / first.cells()[1].name / REQUESTS_FILE
        if journal.exists() and journal.stat().st_size > 1_000:
            os.kill(os.getpid(), signal.SIGINT)

    with pytest.raises(KeyboardInterrupt, match="1 of 4 cells are finished and kept in"):
        run_campaign(settings, press_ctrl_c, commands())
    run = open_run(tmp_path / "run")
    assert run.missing()[0] == first.cells()[1]
    assert len(read_records(run.cell_folder(first.cells()[1]))) > 0  # the stopped cell is readable too


def test_missing_artifacts_are_found_before_anything_is_measured(
    make_settings: Callable, commands: Callable, tmp_path: Path
) -> None:
    with pytest.raises(ArtifactUnavailable, match="hemabench export"):
        run_campaign(make_settings(tmp_path, artifacts=tmp_path / "none"), Heard(), commands())
    assert not (tmp_path / "run").exists()


@pytest.mark.parametrize(
    ("changes", "reason"),
    [
        ({"formats": {}}, "no runtime"),
        ({"datasets": {}}, "28 px"),
        ({"threads": 0}, "threads"),
        ({"seed": -1}, "seed"),
        ({"resume": True, "run": None}, "resume"),
    ],
)
def test_settings_that_measure_nothing_are_refused(
    make_settings: Callable, tmp_path: Path, changes: dict[str, Any], reason: str
) -> None:
    with pytest.raises(InvalidSettings, match=reason):
        make_settings(tmp_path, **changes)


def test_our_own_programs_are_started_by_their_commands(make_settings: Callable, tmp_path: Path) -> None:
    settings = make_settings(tmp_path, threads=1, device="cuda")
    command = HEMABENCH.offline(settings, Contender("swift", 28), tmp_path / "positions", tmp_path / "output")
    assert list(command[1:3]) == ["-m", "serving.inference.offline"]
    assert ("--runtime", "swift") in itertools.pairwise(command)
    assert ("--device", "cuda") in itertools.pairwise(command)
    assert "--runtime swift" in " ".join(HEMABENCH.service(settings, Contender("swift", 28))(3000))
