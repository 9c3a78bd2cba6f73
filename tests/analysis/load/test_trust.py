"""What is said of agreement, saturation and a stall follows from records, and stands beside its command."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from analysis.load.runs import load_run
from analysis.load.summary import summarise
from analysis.load.trust import trust_page
from analysis.side_by_side.agreement import summarise_referees
from analysis.side_by_side.referees import agreement_lines
from analysis.statistics import percentile
from analysis.wording import interval_of, value_of
from contract.environment import describe_environment
from contract.records.load import NULL_RUNTIME
from contract.records.referees import LOCUST, SINGLE_STREAM, WIRE, RefereeComparison, RefereeWindow


@pytest.fixture
def referees():
    windows = [
        RefereeWindow(
            client=client,
            scenario=SINGLE_STREAM,
            service=service,
            round=round_,
            requests=400,
            failures=0,
            p50_ns=floor_ns + model_ns,
            p99_ns=floor_ns + 3 * model_ns,
        )
        for client, floor_ns in ((LOCUST, 600_000), (WIRE, 400_000))
        for service, model_ns in ((NULL_RUNTIME, 0), ("onnx", 1_000_000))
        for round_ in range(3)
    ]
    comparison = RefereeComparison(
        environment=describe_environment(),
        measured_at="2026-01-01T00:00:00+00:00",
        command="hemabench referee --rounds 3",
        runtime="onnx",
        resolution_px=64,
        image_bytes=9_000,
        arrival_rate_per_s=150,
        service_cores=(0,),
        client_cores=(1,),
        windows=tuple(windows),
        generator_steps=(),
        missing={},
    )
    return summarise_referees(comparison, np.random.default_rng(0))


def one_run(build, folder: Path, scenario: str, **options):
    return load_run(build.write(folder, runtimes=("onnx",), scenarios=(scenario,), **options))


def test_every_part_has_its_command_and_its_numbers(build, referees, tmp_path: Path) -> None:
    stalled = [one_run(build, tmp_path / kind, kind) for kind in ("closed_loop", "open_loop")]
    ladder = summarise(one_run(build, tmp_path / "ladder", "ladder"))
    page = trust_page("python docs/load_results.py results/one", referees, ladder, stalled, "It stood still.")
    commands = [referees.comparison.command, ladder.plan.command, *(run.plan.command for run in stalled)]
    assert all(f"`{command}`" in page for command in (*commands, "python docs/load_results.py results/one"))
    assert all(line in page for line in agreement_lines(referees))
    for run in stalled:
        p95 = percentile(run.cells[0].requests.answers().response_time_ns, 0.95)
        assert f"| {value_of(p95, 'bare_ms')} ({interval_of(p95, 'bare_ms')}) |" in page
    assert ladder.plan.environment.cpu_model in page


def test_a_stalled_load_stands_beside_its_own_verdict(build, referees, tmp_path: Path) -> None:
    def spoil(cell, records, outcome):
        return records, build.outcome(cell, records, dropped=7)

    runs = [one_run(build, tmp_path / "a", "closed_loop"), one_run(build, tmp_path / "b", "closed_loop", edit=spoil)]
    page = trust_page("python", referees, summarise(runs[0]), runs, "")
    held, failed = [line for line in page.splitlines() if line.startswith("| Closed loop, users: 1 |")]
    assert held.endswith("| valid |")
    assert "| invalid: 7 arrivals were never sent" in failed


def test_a_page_whose_referees_disagree_does_not_say_that_others_agree(build, referees, tmp_path: Path) -> None:
    windows = [
        replace(window, p50_ns=3 * window.p50_ns) if (window.client, window.service) == (LOCUST, "onnx") else window
        for window in referees.comparison.windows
    ]
    apart = summarise_referees(replace(referees.comparison, windows=tuple(windows)), np.random.default_rng(0))
    ladder = summarise(one_run(build, tmp_path / "ladder", "ladder"))
    page = trust_page("python", apart, ladder, [], "")
    assert "Others agree" not in page
    assert "1 of 2 percentiles of other load generators agree with ours" in page
