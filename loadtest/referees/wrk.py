"""wrk as a referee, where it is installed: a closed loop in C, with HdrHistogram's arithmetic and none of our code."""

from __future__ import annotations

import json
import math
import shutil
import subprocess
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from contract.errors import RunInvalid
from contract.timing import NS_PER_US
from loadtest.service.processes import guarded_process, last_lines

BODY_FILE, SCRIPT_FILE, LOG_FILE = "body.bin", "report.lua", "wrk.log"
_START_ALLOWANCE_S = 30.0
_MARK = "hemabench-wrk "
# The body is read from a file, for Lua's own literals cannot hold every byte.
_SCRIPT = """
local file = io.open("%(body)s", "rb")
wrk.method, wrk.body = "POST", file:read("*a")
file:close()
wrk.headers["Content-Type"] = "%(media_type)s"
function done(summary, latency, requests)
  local errors = summary.errors
  io.write(string.format(
    '\\n%(mark)s{"requests": %%d, "failures": %%d, "p50_us": %%d, "p99_us": %%d}\\n',
    summary.requests, errors.connect + errors.read + errors.write + errors.status + errors.timeout,
    latency:percentile(50), latency:percentile(99)))
end
"""


@dataclass(frozen=True, slots=True, kw_only=True)
class WrkResult:
    """What wrk counted; it keeps whole microseconds."""

    requests: int
    failures: int
    p50_ns: int
    p99_ns: int


def why_missing() -> str | None:
    """Why wrk cannot be asked, and what helps; None where it can."""
    return None if shutil.which("wrk") else "is not installed: apt-get install wrk"


def run_wrk(
    url: str, body: bytes, media_type: str, folder: Path, *, duration_s: float, cores: Sequence[int] = ()
) -> WrkResult:
    """One connection for ``duration_s``, which wrk takes in whole seconds. Raises `RunInvalid` when it breaks off."""
    folder.mkdir(parents=True, exist_ok=True)
    (folder / BODY_FILE).write_bytes(body)
    script = folder / SCRIPT_FILE
    script.write_text(_SCRIPT % {"body": (folder / BODY_FILE).absolute(), "media_type": media_type, "mark": _MARK})
    seconds, log = math.ceil(duration_s), folder / LOG_FILE
    log.unlink(missing_ok=True)
    command = ["wrk", "-t1", "-c1", f"-d{seconds}s", "-s", str(script.absolute()), url]
    with guarded_process(command, log=log, cores=cores) as process:
        try:
            process.wait(seconds + _START_ALLOWANCE_S)
        except subprocess.TimeoutExpired:
            raise RunInvalid(f"wrk did not end in time. Its last lines:\n{last_lines(log)}\nNext: repeat it") from None
    return read_report(log)


def read_report(log: Path) -> WrkResult:
    """The line that our script makes wrk write; `RunInvalid` where there is none."""
    lines = [line for line in log.read_text(errors="replace").splitlines() if line.startswith(_MARK)]
    if not lines:
        raise RunInvalid(f"wrk broke off. Its last lines:\n{last_lines(log)}\nNext: read {log}")
    said = json.loads(lines[-1].removeprefix(_MARK))
    return WrkResult(
        requests=said["requests"],
        failures=said["failures"],
        p50_ns=said["p50_us"] * NS_PER_US,
        p99_ns=said["p99_us"] * NS_PER_US,
    )
