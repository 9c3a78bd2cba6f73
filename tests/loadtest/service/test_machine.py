from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from contract.timing import NS_PER_S
from loadtest.service.machine import MachineWatch, clock_hz, times_throttled, used_ns
from loadtest.service.processes import split_cores

STAT = """cpu  900 90 90 9000 9 9 9 9 0 0
cpu0 100 20 30 5000 40 1 2 7 50 60
cpu1 10 0 5 6000 3 0 0 1 0 0
cpu10 77777 0 0 0 0 0 0 0 0 0
intr 5 0
ctxt 17
"""


def write_stat(folder: Path, text: str = STAT) -> Path:
    (folder / "stat").write_text(text)
    return folder / "stat"


def test_busy_is_what_is_neither_idle_nor_waiting_nor_stolen_and_guests_count_once(tmp_path: Path) -> None:
    stat = write_stat(tmp_path)
    assert used_ns(stat, (0,)) == (153 * NS_PER_S // 100, 7 * NS_PER_S // 100)
    assert used_ns(stat, (0, 1)) == (168 * NS_PER_S // 100, 8 * NS_PER_S // 100)


def test_where_nobody_counts_nothing_is_known(tmp_path: Path) -> None:
    assert used_ns(tmp_path / "absent", (0,)) is None
    assert used_ns(write_stat(tmp_path), (5,)) is None


@given(st.lists(st.integers(0, 2**40), min_size=8, max_size=10))
def test_every_tick_is_busy_or_stolen_or_neither_and_none_is_counted_twice(
    tmp_path_factory: pytest.TempPathFactory, ticks: list[int]
) -> None:
    stat = write_stat(tmp_path_factory.mktemp("proc"), f"cpu0 {' '.join(map(str, ticks))}\n")
    found = used_ns(stat, (0,))
    assert found is not None
    idle = ticks[3] + ticks[4]
    assert sum(found) == (sum(ticks[:8]) - idle) * (NS_PER_S // 100)


def write_core(cpus: Path, core: int, clock_khz: str, throttled: str) -> None:
    for name, text in (("cpufreq/scaling_cur_freq", clock_khz), ("thermal_throttle/core_throttle_count", throttled)):
        path = cpus / f"cpu{core}" / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text)


def test_the_slowest_clock_and_all_throttling_count(tmp_path: Path) -> None:
    write_core(tmp_path, 0, "2600000\n", "3\n")
    write_core(tmp_path, 1, "1200000\n", "4\n")
    write_core(tmp_path, 2, "<unknown>\n", "\n")
    assert clock_hz((0, 1, 2), tmp_path) == 1_200_000_000
    assert times_throttled((0, 1, 2), tmp_path) == 7
    assert clock_hz((2, 3), tmp_path) is None
    assert times_throttled((3,), tmp_path) is None


BURNT_NS = NS_PER_S // 2
# It says when its work is done, and ends when it is waited for.
BURN = """
import sys, time
while time.process_time() < 0.5: pass
print(flush=True)
time.sleep(1)
"""


@pytest.mark.skipif(not Path("/proc/stat").is_file(), reason="this system has no /proc/stat")
def test_a_program_is_foreign_while_it_runs_beside_and_ours_where_it_is_a_child_that_has_ended() -> None:
    with subprocess.Popen(["sleep", "60"]) as service:
        watch = MachineWatch(split_cores(1), service.pid)
        burner = subprocess.Popen([sys.executable, "-c", BURN], stdout=subprocess.PIPE)
        assert burner.stdout is not None
        burner.stdout.read(1)
        beside = watch.finish()
        burner.communicate()
        ended = watch.finish()
        service.terminate()
    assert beside is not None
    assert ended is not None
    assert beside.own_ns is not None
    assert ended.own_ns is not None
    assert beside.own_ns < BURNT_NS <= ended.own_ns
    assert beside.busy_ns <= ended.busy_ns


def test_without_a_service_of_ours_nobody_knows_whose_the_time_is() -> None:
    watch = MachineWatch(split_cores(1))
    watch.tick()
    use = watch.finish()
    assert use is None or use.own_ns is None
