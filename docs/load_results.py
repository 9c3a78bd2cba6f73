"""Writes docs/results/load.md: do others agree, how far does a service go, what does a stall look like.

    .venv/bin/hemabench referee --page docs/results/referee.md
    .venv/bin/python docs/load_results.py results/20261121T120000Z-referee

The first measures for three minutes, the second, given the folder that the first made, for one and a half: a ladder of
rates on the same service, and a closed and an open loop on one that stands still for two seconds. Nothing else may run
meanwhile. Needs the artifact of `hemabench export` and the images of `hemabench data`.
"""

from __future__ import annotations

import shlex
import sys
from contextlib import suppress
from pathlib import Path

import numpy as np

from analysis.load.plots import curve_chart
from analysis.load.runs import Run, load_run
from analysis.load.summary import summarise
from analysis.load.trust import trust_page
from analysis.mistakes.chart import static_png
from analysis.side_by_side.agreement import summarise_referees
from commands.report import conclude
from contract.records.load import Scenario
from contract.records.referees import COMPARISON_FILE, RefereeComparison
from contract.storage import read_json, write_atomically
from loadtest.campaign.single import offer_load
from loadtest.generator.images import find_dataset
from loadtest.service.processes import split_cores
from loadtest.service.server import CommandForPort, running_service, serve_command

ROOT = Path(__file__).parents[1]
PAGE = ROOT / "docs" / "results" / "load.md"
RESULTS = ROOT / "results"
FAKE_SERVICE = ROOT / "tests" / "loadtest" / "fake_service.py"
STALLING = '{"service_ms": 5, "stalls_s": {"50": 2}}'
STALL = f"""A service that takes 5 ms, one request after the other, and once, at its 51st request, stands still for 2 s:
`python tests/loadtest/fake_service.py --port 3000 --behaviour '{STALLING}'`, started anew for each load."""

LADDER = Scenario(kind="ladder", warmup_s=0.5, duration_s=6.0, seed=0, arrival_rate_per_s=50)
CLOSED = Scenario(kind="closed_loop", warmup_s=0.0, duration_s=8.0, seed=0)
OPEN = Scenario(kind="open_loop", warmup_s=0.0, duration_s=8.0, seed=0, arrival_rate_per_s=50)


def ladder(resolution_px: int) -> Run:
    """Rates up to saturation of the service that `hemabench referee` measures, on the same cores."""
    artifacts = ROOT / "exported_models" / "artifacts"
    return measured(
        serve_command(runtime="onnx", resolution_px=resolution_px, artifacts=artifacts), LADDER, resolution_px
    )


def stalled(scenario: Scenario) -> Run:
    """``scenario`` on a service that stands still once."""
    command = [sys.executable, str(FAKE_SERVICE), "--behaviour", STALLING, "--port"]
    return measured(lambda port: [*command, str(port)], scenario, 28)


def measured(service: CommandForPort, scenario: Scenario, resolution_px: int) -> Run:
    """A run of ``scenario`` on a ``service`` that is started for it; service and load generator have a core each."""
    cores, images = split_cores(threads=1), find_dataset(resolution_px, ROOT / ".cache" / "datasets")
    with running_service(service, log=RESULTS / "load-results.log", cores=cores.service) as running:
        typed = as_typed(scenario, resolution_px)
        result = offer_load(running.url, scenario, resolution_px, images, RESULTS, command=typed, cores=cores)
    with suppress(SystemExit):  # 1: a load that stalled may not be compared
        conclude(result.folder, as_json=False)  # as `hemabench load` does, so that the run can be verified
    return load_run(result.folder)


def as_typed(scenario: Scenario, resolution_px: int) -> str:
    """What a person would type to repeat it."""
    rate = "" if scenario.arrival_rate_per_s is None else f" --arrival-rate {scenario.arrival_rate_per_s:g}"
    times = f"--warmup {scenario.warmup_s:g} --duration {scenario.duration_s:g}"
    return f"hemabench load --scenario {scenario.kind} --resolution {resolution_px}{rate} {times}"


def main(folder: Path) -> None:
    """Measure, and write page and picture."""
    comparison = read_json(folder / COMPARISON_FILE, RefereeComparison)
    climbed = summarise(ladder(comparison.resolution_px))
    curve = climbed.contenders[0].curve
    chart = curve_chart(curve) if curve else None
    if chart is None:
        sys.exit(f"no curve: {climbed.cells[0].verdict.reasons}")
    referees = summarise_referees(comparison, np.random.default_rng(0))
    command = shlex.join(["python", "docs/load_results.py", f"results/{folder.resolve().name}"])
    page = trust_page(command, referees, climbed, [stalled(CLOSED), stalled(OPEN)], STALL)
    write_atomically(PAGE.with_suffix(".png"), static_png(chart))
    write_atomically(PAGE, page.encode())


if __name__ == "__main__":
    main(Path(sys.argv[1]))
