from __future__ import annotations

import sys
import time

import gevent
import pytest

from loadtest.generator.alarm import Alarm, SleepAlarm, TimerAlarm, create_alarm

ALARMS = [SleepAlarm, pytest.param(TimerAlarm, marks=pytest.mark.skipif(sys.platform != "linux", reason="Linux only"))]


@pytest.mark.parametrize("kind", ALARMS)
def test_an_alarm_never_wakes_early(kind: type[Alarm]) -> None:
    alarm = kind()
    instant_ns = time.perf_counter_ns()
    for step_ns in (1, 300_000, 1_700_000, 5_000_000):
        instant_ns += step_ns
        alarm.sleep_until(instant_ns)
        assert time.perf_counter_ns() >= instant_ns
    alarm.close()


@pytest.mark.parametrize("kind", ALARMS)
def test_an_instant_that_is_past_needs_no_sleep(kind: type[Alarm]) -> None:
    alarm = kind()
    slept = False
    with gevent.Timeout(5, False):  # an instant that never comes again would be waited for without end
        alarm.sleep_until(0)
        alarm.sleep_until(time.perf_counter_ns() - 1)
        slept = True
    alarm.close()
    assert slept


@pytest.mark.parametrize("kind", ALARMS)
def test_others_run_while_one_waits(kind: type[Alarm]) -> None:
    order = []
    alarm = kind()
    other = gevent.spawn(order.append, "other")
    alarm.sleep_until(time.perf_counter_ns() + 20_000_000)
    order.append("woken")
    other.join()
    alarm.close()
    assert order == ["other", "woken"]


def test_linux_has_the_exact_alarm() -> None:
    alarm = create_alarm()
    alarm.close()
    assert isinstance(alarm, TimerAlarm if sys.platform == "linux" else SleepAlarm)
