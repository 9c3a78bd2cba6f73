"""Every client that is installed, at the real services, for a moment."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest

from contract.errors import InvalidSettings, RunInvalid
from contract.records.load import NULL_RUNTIME
from contract.records.referees import COMPARISON_FILE, LOADGEN, LOCUST, SERVER, WIRE, WRK, RefereeComparison
from contract.records.seal import broken_seal
from contract.storage import read_json
from loadtest.referees.comparison import CLIENTS, RefereePlan, compare_referees, missing_clients

ROOT = Path(__file__).parents[3]


@pytest.fixture(scope="module")
def artifacts(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The tiny network of the serving tests."""
    pytest.importorskip("onnx", reason="the extra 'onnx' is not installed")
    folder = tmp_path_factory.mktemp("artifacts")
    script = ROOT / "tests" / "serving" / "export_tiny.py"
    subprocess.run([sys.executable, str(script), "onnx", str(folder), "28"], check=True, capture_output=True)
    return folder


def plan(artifacts: Path, dataset: Path, **changes: object) -> RefereePlan:
    brief = {"rounds": 1, "single_stream_s": 0.3, "server_s": 0.5, "warmup_s": 0.1, "arrival_rate_per_s": 20.0}
    ladder = {"ladder_from_per_s": 20.0, "ladder_step_s": 0.2, "resolution_px": 28}
    return RefereePlan(**{"artifacts": artifacts, "dataset": dataset} | brief | ladder | changes)


@pytest.mark.timeout(180)
def test_every_client_measures_both_services_and_says_how_often_it_asked(
    artifacts: Path, noise_folder: Path, tmp_path: Path
) -> None:
    run = tmp_path / "run"
    comparison = compare_referees(plan(artifacts, noise_folder), run, command="a test")
    present = [name for name in CLIENTS if name not in comparison.missing]
    assert {LOCUST, WIRE} <= set(present)
    cells = {(window.client, window.scenario, window.service) for window in comparison.windows}
    assert cells == {(name, kind, at) for name in present for kind in CLIENTS[name] for at in ("onnx", NULL_RUNTIME)}
    for window in comparison.windows:
        assert window.requests > 0
        assert window.failures == 0
        assert 0 < window.p50_ns <= window.p99_ns
        assert (window.said is not None) == (window.client == LOADGEN)
        assert (window.service_p50_ns is not None) == (window.client in {LOCUST, WIRE})
        assert (window.service_p50_ns or 0) < window.p50_ns
    assert {window.said.split(";")[0] for window in comparison.windows if window.said} <= {
        "Result is : VALID",
        "Result is : INVALID",
    }
    rates = [step.rate_per_s for step in comparison.generator_steps]
    assert rates == pytest.approx([20.0 * 1.25**number for number in range(len(rates))])
    first, *_ = comparison.generator_steps  # the last is past what the service can do
    assert first.requests > 0
    assert first.failures == 0
    assert (run / f"{LOCUST}-{SERVER}-onnx-r1" / "requests.journal").is_file()  # what was measured stays
    assert read_json(run / COMPARISON_FILE, RefereeComparison) == comparison
    assert broken_seal(run) == ()


def test_a_client_that_is_not_installed_is_named_with_what_installs_it(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("loadtest.referees.comparison.find_spec", lambda package: None)
    monkeypatch.setenv("PATH", "")
    missing = missing_clients()
    assert "[referee]" in missing[LOADGEN]
    assert "apt-get install wrk" in missing[WRK]


def test_requests_that_fail_are_no_measurement(
    fake_command: Callable, noise_folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    refusing = fake_command(faults={"all": "http_503"})
    monkeypatch.setattr("loadtest.referees.comparison.serve_command", lambda **settings: refusing)
    with pytest.raises(RunInvalid, match=r"(?s)requests fail at .*Next: read"):
        compare_referees(plan(Path(), noise_folder), tmp_path, command="a test")


def test_images_of_another_resolution_are_refused(noise_folder: Path, tmp_path: Path) -> None:
    with pytest.raises(InvalidSettings, match="28 px, not 64"):
        compare_referees(plan(Path(), noise_folder, resolution_px=64), tmp_path, command="a test")


@pytest.mark.parametrize("changes", [{"rounds": 0}, {"server_s": 0.0}, {"runtime": NULL_RUNTIME}])
def test_settings_that_measure_nothing_are_refused(changes: dict[str, object]) -> None:
    with pytest.raises(InvalidSettings):
        plan(Path(), Path(), **changes)
