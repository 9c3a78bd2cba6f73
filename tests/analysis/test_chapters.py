"""Runs of other kinds as chapters of a load run's report."""

from __future__ import annotations

import re
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import pytest

from analysis.chapters import KINDS, join_chapters, kind_of, newest_of_other_kinds, tell, whole_page
from analysis.evidence.capsule import pack, unpacked
from analysis.evidence.verification import verify_run
from analysis.telling import Asked
from commands.report import conclude
from contract.environment import Environment
from contract.errors import RunInvalid
from contract.progress import part_of
from contract.records.load import REPORT_FILE
from contract.records.payloads import JPEG, PAYLOADS_FILE, PNG, PayloadComparison, PayloadWindow
from contract.records.peers import BARE, OURS, PEERS_FILE, PeerComparison, PeerWindow
from contract.records.seal import broken_seal, seal_folder
from contract.storage import write_json

ROUNDS = range(3)


def payloads(folder: Path, environment: Environment, *, command: str = "hemabench payloads") -> Path:
    windows = tuple(
        PayloadWindow(
            form=form,
            resolution_px=28,
            round=number,
            wire_bytes=900,
            round_trips_ns=(1_000_000 + number,) * 50,
            decode_ns=(100_000,) * 5,
        )
        for form in (PNG, JPEG)
        for number in ROUNDS
    )
    comparison = PayloadComparison(
        environment=environment,
        measured_at="2026-01-01T00:00:00+00:00",
        command=command,
        runtime="onnx",
        service_cores=(0,),
        client_cores=(1,),
        windows=windows,
    )
    write_json(folder / PAYLOADS_FILE, comparison)
    seal_folder(folder)
    return folder


def peers(folder: Path, environment: Environment, *, measured_at: str = "2026-01-01T00:00:00+00:00") -> Path:
    windows = tuple(
        PeerWindow(
            contender=name,
            round=number,
            connections=connections,
            round_trips_ns=(1_000_000 + number,) * 50,
            elapsed_ns=50_000_000,
            cpu_ns=40_000_000,
            failures=0,
        )
        for name in (OURS, BARE)
        for number in ROUNDS
        for connections in (1, 16)
    )
    comparison = PeerComparison(
        environment=environment,
        measured_at=measured_at,
        command="hemabench peers",
        resolution_px=28,
        image_bytes=900,
        service_cores=(0,),
        client_cores=(1,),
        windows=windows,
        missing={},
    )
    write_json(folder / PEERS_FILE, comparison)
    seal_folder(folder)
    return folder


@pytest.fixture
def run(build, tmp_path: Path) -> Path:
    """A sealed load run, as `hemabench run` leaves it before its report."""
    folder = build.write(tmp_path / "results" / "run", runtimes=("pytorch", "onnx"), requests=120)
    seal_folder(folder)
    return folder


@pytest.fixture
def report(tmp_path: Path) -> Callable[..., str]:
    def made(folder: Path, **options: object) -> str:
        conclude(folder, as_json=True, cache=tmp_path / "no-cache", **options)
        return (folder / REPORT_FILE).read_text()

    return made


def headings(html: str) -> list[str]:
    return re.findall(r"<h2 id=[^>]*>(.*?)</h2>", html)


def test_a_report_without_chapters_names_the_command_that_makes_each(run: Path, report) -> None:
    html = report(run)
    missing = html.split('id="missing"')[1].split("</section>")[0]
    for kind in KINDS:
        assert f"<code>{kind.command}</code>" in missing


def test_another_run_becomes_a_chapter_with_its_own_machine_date_and_command(
    run: Path, report, build, tmp_path: Path
) -> None:
    other = payloads(tmp_path / "sizes", build.environment(cpu_model="Another CPU"), command="hemabench payloads -r 28")
    html = report(run, chapters=[other])
    assert "What the form of an image costs" in headings(html)
    chapter = html.split('<h2 id="payloads-1">')[1].split("<h2")[0]
    for expected in ("sizes", "2026-01-01T00:00:00+00:00", "Another CPU", "hemabench payloads -r 28"):
        assert expected in chapter
    assert "Otherwise than above: cpu_model Another CPU, not Example CPU" in chapter
    assert "hemabench payloads</code>" not in html.split('id="missing"')[1].split("</section>")[0]


def test_with_its_chapters_a_run_verifies_here_and_in_a_capsule(run: Path, report, build, tmp_path: Path) -> None:
    report(run, chapters=[payloads(tmp_path / "a", build.environment()), peers(tmp_path / "b", build.environment())])
    assert verify_run(run).faults == ()
    with unpacked(pack(run, tmp_path / "elsewhere" / "run.zip")) as folder:
        assert verify_run(folder).faults == ()


def test_whoever_waits_for_a_report_with_chapters_hears_how_far_it_is(run: Path, build, tmp_path: Path) -> None:
    join_chapters(run, [payloads(tmp_path / "a", build.environment()), peers(tmp_path / "b", build.environment())])
    heard: list[tuple[str, float]] = []

    def hear(what: str, done: float, total: float) -> None:
        heard.append((what, done / total))

    whole_page(run, tell(run, Asked(progress=part_of(hear, 0, 1, 2))), part_of(hear, 1, 1, 2))
    said, done = zip(*heard, strict=True)
    assert list(dict.fromkeys(said)) == [
        *("read the records", "judge the cells", "draw the charts"),
        *("read the chapters", "put the page together"),
    ]
    assert list(done) == sorted(done)
    assert 0 <= done[0] < done[-1] < 1


def test_a_record_of_a_chapter_that_was_changed_is_named(run: Path, report, build, tmp_path: Path) -> None:
    report(run, chapters=[payloads(tmp_path / "a", build.environment())])
    copied = next(run.glob(f"chapters/*/*/{PAYLOADS_FILE}"))
    copied.write_bytes(copied.read_bytes().replace(b"1000000", b"1000009", 1))
    faults = verify_run(run).faults
    assert faults[0] == f"{copied.relative_to(run)}: its bytes are not those that were sealed"


def test_chapters_that_are_named_take_the_place_of_those_before(run: Path, report, build, tmp_path: Path) -> None:
    report(run, chapters=[payloads(tmp_path / "a", build.environment())])
    again = report(run)  # without a word about chapters they stay
    assert "What the form of an image costs" in headings(again)
    html = report(run, chapters=[peers(tmp_path / "b", build.environment())])
    assert "What the form of an image costs" not in headings(html)
    assert "The service beside its peers" in headings(html)
    assert "The service beside its peers" not in headings(report(run, chapters=[]))
    assert broken_seal(run) == ()


def test_two_runs_of_one_kind_share_no_address(run: Path, report, build, tmp_path: Path) -> None:
    others = [payloads(tmp_path / name, build.environment()) for name in ("a", "b")]
    html = report(run, chapters=others)
    ids = re.findall(r' id="([^"]*)"', html)
    assert len(ids) == len(set(ids))
    assert {"payloads-1", "payloads-2"} <= set(ids)


def test_a_load_run_as_a_chapter_shares_no_chart_with_the_page(run: Path, report, build, tmp_path: Path) -> None:
    html = report(run, chapters=[build.write(tmp_path / "other", runtimes=("jax",), requests=120)])
    ids = re.findall(r' id="([^"]*)"', html)
    assert len(ids) == len(set(ids))
    assert {"response-closed_loop", "load-1-response-closed_loop"} <= set(ids)


def test_a_run_that_was_changed_after_it_ended_becomes_no_chapter(run: Path, build, tmp_path: Path) -> None:
    other = payloads(tmp_path / "a", build.environment())
    (other / PAYLOADS_FILE).write_text("{}")
    with pytest.raises(RunInvalid, match=r"was changed since it ended.*Next: hemabench verify"):
        join_chapters(run, [other])
    assert not (run / "chapters").exists()


def test_only_a_load_run_has_chapters(run: Path, build, tmp_path: Path) -> None:
    other = payloads(tmp_path / "a", build.environment())
    with pytest.raises(RunInvalid, match="only that has chapters"):
        join_chapters(other, [run])
    with pytest.raises(RunInvalid, match="no run in"):
        join_chapters(run, [tmp_path / "nowhere"])
    with pytest.raises(RunInvalid, match="a part of"):
        join_chapters(run, [run])
    assert "Not measured here" not in whole_page(other, tell(other, Asked()))


def test_the_newest_of_each_kind_on_the_same_machine_is_found(run: Path, build) -> None:
    results, here = run.parent, build.environment()
    peers(results / "old", here, measured_at="2026-01-01T00:00:00+00:00")
    newest = peers(results / "new", here, measured_at="2026-01-02T00:00:00+00:00")
    peers(results / "elsewhere", replace(here, cpu_model="Another"), measured_at="2026-01-03T00:00:00+00:00")
    unsealed = peers(results / "stopped", here, measured_at="2026-01-04T00:00:00+00:00")
    (unsealed / "SHA256SUMS").unlink()
    other_software = payloads(results / "sizes", replace(here, libraries={"numpy": "1"}))
    assert set(newest_of_other_kinds(results, run)) == {newest, other_software}


def test_every_kind_is_told_apart(run: Path, build, tmp_path: Path) -> None:
    assert kind_of(run).name == "load"
    assert kind_of(payloads(tmp_path / "a", build.environment())).name == "payloads"
    assert kind_of(peers(tmp_path / "b", build.environment())).name == "peers"
