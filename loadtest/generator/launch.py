"""The load generator: Locust without its page, in a process of its own, on a core of its own."""

from __future__ import annotations

import os
import subprocess
import sys
import time
from collections.abc import Callable, Sequence
from dataclasses import replace
from pathlib import Path

from contract.errors import RunInvalid
from contract.storage import read_json, write_json
from loadtest.generator.plan import PLAN_FILE, TALLY_FILE, LoadPlan, LoadTally
from loadtest.scenarios import CLOSED_LOOP
from loadtest.service.processes import CODE, guarded_process, last_lines
from loadtest.service.server import HOST, free_port

LOG_FILE = "generator.log"
LOCUSTFILE = CODE / "loadtest" / "locustfile.py"
# Locust's own start, and the encoding of the images.
_START_ALLOWANCE_S = 60.0
_POLL_S = 0.2

Ticking = Callable[[float], None]


def offer(
    url: str,
    plan: LoadPlan,
    *,
    cores: Sequence[int] = (),
    ticking: Ticking = lambda elapsed_s: None,
    workers: int = 1,
) -> LoadTally:
    """Carry out ``plan`` against ``url`` and return the generator's count.

    With several ``workers`` there is a process for each, and one that leads them.
    ``ticking`` hears the seconds gone by. Raises `RunInvalid` with the end of the
    generator's log when it breaks off or hangs; the records until then stay.
    """
    folder, dataset = Path(plan.record_to).absolute(), Path(plan.dataset).absolute()
    plan = replace(plan, record_to=str(folder), dataset=str(dataset))  # the generator runs elsewhere
    write_json(folder / PLAN_FILE, plan)
    log = folder / LOG_FILE
    with guarded_process(_command(url, plan, workers), log=log, cores=cores, environment=_environment()) as process:
        status = _wait(process, plan.longest_s + plan.timeout_s + _START_ALLOWANCE_S, ticking)
    if status != 0:
        how = "did not end in time" if status is None else f"ended with status {status}"
        raise RunInvalid(f"the load generator {how}. Its last lines:\n{last_lines(log)}\nNext: repeat the cell")
    return read_json(folder / TALLY_FILE, LoadTally)


def _command(url: str, plan: LoadPlan, workers: int = 1) -> list[str]:
    # A schedule takes one user per process, to keep it.
    users = str(plan.scenario.users if plan.scenario.kind == CLOSED_LOOP else workers)
    quiet = ["--headless", "--only-summary", "--loglevel", "WARNING", "--exit-code-on-error", "0"]
    load = ["--host", url, "--users", users, "--spawn-rate", users, "--plan", str(Path(plan.record_to) / PLAN_FILE)]
    return [sys.executable, "-m", "locust", "-f", str(LOCUSTFILE), *quiet, *load, *_crew(workers)]


def _crew(workers: int) -> list[str]:
    if workers == 1:
        return []
    port = str(free_port())
    return ["--processes", str(workers), "--master-bind-host", HOST, "--master-bind-port", port, "--master-port", port]


def _environment() -> dict[str, str]:
    """Ours, without what would change Locust behind our back."""
    return {name: value for name, value in os.environ.items() if not name.startswith("LOCUST_")}


def _wait(process: subprocess.Popen[bytes], deadline_s: float, ticking: Ticking) -> int | None:
    """The exit status, or None when the deadline has passed."""
    began = time.monotonic()
    while (elapsed_s := time.monotonic() - began) < deadline_s:
        try:
            return process.wait(_POLL_S)
        except subprocess.TimeoutExpired:
            ticking(elapsed_s)
    return None
