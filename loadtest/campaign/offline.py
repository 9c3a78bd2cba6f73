"""What a runtime answers without HTTP: the answers that a service's are held against."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path

from contract.errors import DataCorrupt, RunInvalid
from contract.records.load import OfflinePredictions
from contract.storage import read_json
from loadtest.service.processes import guarded_process, last_lines

_DEADLINE_S = 600.0


def offline_command(
    *,
    runtime: str,
    resolution_px: int,
    artifacts: Path,
    dataset: Path,
    positions: Path,
    output: Path,
    device: str = "cpu",
    threads: int = 1,
) -> Sequence[str]:
    """The command that writes `OfflinePredictions` for the images at ``positions`` (a JSON list) to ``output``."""
    options = {
        "--runtime": runtime,
        "--resolution": str(resolution_px),
        "--artifacts": str(artifacts.absolute()),
        "--device": device,
        "--threads": str(threads),
        "--dataset": str(dataset.absolute()),
        "--positions-file": str(positions),
        "--output": str(output),
    }
    return [sys.executable, "-m", "serving.inference.offline", *(text for option in options.items() for text in option)]


def offline_predictions_in(output: Path) -> OfflinePredictions | None:
    """What an earlier run of the command wrote; None where that is not there or not whole."""
    try:
        return read_json(output, OfflinePredictions)
    except (FileNotFoundError, DataCorrupt):
        return None


def predict_offline(command: Sequence[str], *, output: Path, cores: Sequence[int]) -> OfflinePredictions:
    """Run ``command`` on ``cores`` and read what it wrote; raises `RunInvalid` with the end of its log."""
    log = output.with_suffix(".log")
    with guarded_process(command, log=log, cores=cores) as process:
        try:
            status = process.wait(_DEADLINE_S)
        except subprocess.TimeoutExpired:
            status = None
    if status != 0 or not output.is_file():
        how = "took too long" if status is None else f"ended with status {status}"
        raise RunInvalid(f"the offline prediction {how}. Its last lines:\n{last_lines(log)}\nNext: hemabench verify")
    return read_json(output, OfflinePredictions)
