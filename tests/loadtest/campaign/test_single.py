from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest

from contract.errors import InvalidSettings, ServiceFailed
from contract.records.journal import read_journal
from contract.records.load import REQUESTS_FILE, RequestRecord, Scenario
from loadtest.campaign.runfolder import open_run
from loadtest.campaign.single import offer_load

SCENARIO = Scenario(kind="open_loop", warmup_s=0.2, duration_s=1.0, seed=0, arrival_rate_per_s=40)


def test_one_scenario_becomes_a_run_that_can_be_read_like_any_other(
    fake_service: Callable, noise_folder: Path, tmp_path: Path
) -> None:
    heard = []
    with fake_service(service_ms=2) as service:
        result = offer_load(
            service.url + "/", SCENARIO, 28, noise_folder, tmp_path, progress=lambda *said: heard.append(said)
        )
    run = open_run(result.folder)
    (cell,) = run.plan.cells
    assert (cell.runtime, cell.scenario) == ("fake", "open_loop")
    assert run.outcome(cell) == result.outcome
    assert result.outcome.error is None
    assert result.outcome.ok == len(read_journal(run.cell_folder(cell) / REQUESTS_FILE, RequestRecord).records) > 0
    assert heard


def test_a_service_that_is_not_there_is_an_error_before_anything_is_written(noise_folder: Path, tmp_path: Path) -> None:
    with pytest.raises(ServiceFailed, match="hemabench serve"):
        offer_load("http://127.0.0.1:9", SCENARIO, 28, noise_folder, tmp_path)
    assert list(tmp_path.iterdir()) == []


def test_images_of_another_resolution_are_refused(noise_folder: Path, tmp_path: Path) -> None:
    with pytest.raises(InvalidSettings, match="28 px, not 64"):
        offer_load("http://127.0.0.1:9", SCENARIO, 64, noise_folder, tmp_path)
