"""Agreement between clients follows from their windows, each client's own floor taken off."""

from __future__ import annotations

import json
from dataclasses import replace

import numpy as np
import pytest
from rich.console import Console

from analysis.side_by_side.agreement import summarise_referees
from analysis.side_by_side.referees import referee_tables, referees_as_json, referees_page
from analysis.statistics import Absent
from contract.environment import describe_environment
from contract.records.load import NULL_RUNTIME
from contract.records.referees import (
    LOADGEN,
    LOCUST,
    SERVER,
    SINGLE_STREAM,
    WIRE,
    WRK,
    GeneratorStep,
    RefereeComparison,
    RefereeWindow,
)

FLOORS_NS = {LOCUST: 700_000, LOADGEN: 600_000, WRK: 450_000, WIRE: 400_000}
MODEL_NS, TAIL_NS = 1_000_000, 3_000_000
SLOW_CELL = (SINGLE_STREAM, "onnx")


def window(client, scenario=SINGLE_STREAM, service="onnx", round_=0, slower=1.0, requests=400):
    floor = FLOORS_NS[client]
    model, tail = (0, 0) if service == NULL_RUNTIME else (MODEL_NS, TAIL_NS)
    said = "Result is : VALID" if client == LOADGEN else None
    return RefereeWindow(
        client=client,
        scenario=scenario,
        service=service,
        round=round_,
        requests=requests,
        failures=0,
        p50_ns=floor + round(model * slower),
        p99_ns=floor + round(tail * slower),
        said=said,
        service_p50_ns=100_000 + round(model * slower) if client in (LOCUST, WIRE) else None,
    )


def step(rate_per_s, send_delay_p99_ns=500_000, **changes):
    told = {"requests": 1_000, "failures": 0, "dropped": 0} | changes
    return GeneratorStep(rate_per_s=rate_per_s, send_delay_p99_ns=send_delay_p99_ns, **told)


STEPS = (step(800), step(1_000), step(1_250, 5_000_000))


def comparison(slower=None, steps=STEPS, **options):
    slower = slower or {}
    cells = [(client, SINGLE_STREAM) for client in FLOORS_NS] + [(LOCUST, SERVER), (LOADGEN, SERVER)]
    windows = [
        window(client, scenario, service, round_, slower.get(client, 1.0), **options)
        for client, scenario in cells
        for service in ("onnx", NULL_RUNTIME)
        for round_ in range(3)
    ]
    return RefereeComparison(
        environment=describe_environment(),
        measured_at="2026-01-01T00:00:00+00:00",
        command="hemabench referee",
        runtime="onnx",
        resolution_px=64,
        image_bytes=9_000,
        arrival_rate_per_s=150,
        service_cores=(0,),
        client_cores=(1,),
        windows=tuple(windows),
        generator_steps=tuple(steps),
        missing={},
    )


def summarised(*arguments, **options):
    return summarise_referees(comparison(*arguments, **options), np.random.default_rng(0))


def of(summary, client, share, scenario=SINGLE_STREAM):
    wanted = (client, share, scenario)
    (found,) = (each for each in summary.agreements if (each.client, each.percentile, each.scenario) == wanted)
    return found


def test_clients_with_different_floors_agree_on_what_the_model_takes():
    summary = summarised()
    assert len(summary.agreements) == 2 * 4  # two percentiles of three referees alone, and LoadGen by schedule
    for agreement in summary.agreements:
        assert agreement.ratio.value == pytest.approx(1)
        assert agreement.agrees
    assert of(summary, WRK, "p50").theirs_ms.value == pytest.approx(1.0)
    assert of(summary, WRK, "p99").theirs_ms.value == pytest.approx(3.0)


@pytest.mark.parametrize(("slower", "p50", "p99"), [(1.04, True, True), (1.1, False, True), (1.3, False, False)])
def test_p50_may_differ_by_5_percent_and_p99_by_15(slower, p50, p99):
    summary = summarised({LOADGEN: slower})
    assert (of(summary, LOADGEN, "p50").agrees, of(summary, LOADGEN, "p99").agrees) == (p50, p99)
    assert of(summary, WRK, "p50").agrees


@pytest.mark.parametrize(("scatter", "said"), [(0.01, "| agrees |"), (0.2, "| agrees, not surely |")])
def test_an_interval_beyond_the_limit_is_no_sure_agreement(scatter, said):
    whole = comparison()
    factors = {0: 1 - scatter, 1: 1.0, 2: 1 + scatter}
    windows = tuple(
        replace(each, p50_ns=each.p50_ns * factors[each.round])
        if (each.client, each.service) == (WRK, "onnx")
        else each
        for each in whole.windows
    )
    summary = summarise_referees(replace(whole, windows=windows), np.random.default_rng(0))
    assert of(summary, WRK, "p50").surely == (scatter == 0.01)
    (line,) = [line for line in referees_page(summary).splitlines() if line.startswith("| SingleStream | wrk | p50")]
    assert line.endswith(said)


def test_disagreement_is_red_in_the_terminal_and_bold_on_the_page():
    summary = summarised({WRK: 2.0})
    console = Console(width=200, force_terminal=True, record=True)
    console.print(referee_tables(summary)[1])
    assert "\x1b[31mDISAGREES" in console.export_text(styles=True)
    assert "**DISAGREES**" in referees_page(summary)
    assert "DISAGREES" not in referees_page(summarised())


def test_p99_of_too_few_requests_is_not_compared():
    agreement = of(summarised(requests=100), WIRE, "p99")
    assert isinstance(agreement.ratio, Absent)
    assert not agreement.agrees
    assert "662" in agreement.ratio.reason


def test_a_client_that_was_left_out_is_named():
    whole = comparison()
    kept = tuple(each for each in whole.windows if each.client != WRK)
    without = replace(whole, windows=kept, missing={WRK: "is not installed: apt-get install wrk"})
    summary = summarise_referees(without, np.random.default_rng(0))
    assert WRK not in {agreement.client for agreement in summary.agreements}
    assert "- wrk was left out: it is not installed" in referees_page(summary)


def test_what_our_generator_adds_is_the_difference_of_the_floors():
    over_wrk, over_wire, _ = summarised().costs
    assert (over_wrk.measured[:5], over_wrk.good) == ("0.250", True)
    assert (over_wire.measured[:5], over_wire.good) == ("0.300", True)


@pytest.mark.parametrize(
    ("steps", "held", "good"),
    [
        ((step(800), step(1_000), step(1_250, 5_000_000)), "1,000 (at 1,250/s", True),
        ((step(800), step(1_000, dropped=1), step(1_250)), "800 (at 1,000/s", False),
        ((step(800, failures=1), step(1_000)), "none (at 800/s", False),
        ((step(800), step(1_000)), "1,000 (the null service gave out", True),
    ],
)
def test_the_rate_held_is_the_last_before_the_first_that_was_missed(steps, held, good):
    cost = summarised(steps=steps).costs[-1]
    assert cost.measured.startswith(held)
    assert cost.good == good


def test_a_slower_service_is_told_from_a_slower_client():
    summary = summarised({LOCUST: 1.5})
    of_client = {each.client: each for each in summary.figures if (each.scenario, each.service) == SLOW_CELL}
    assert of_client[LOCUST].inside_ms.value == pytest.approx(1.6)
    assert of_client[LOCUST].outside_ms.value == pytest.approx(0.6)
    assert of_client[WIRE].inside_ms.value == pytest.approx(1.1)
    assert of_client[WIRE].outside_ms.value == pytest.approx(0.3)
    assert isinstance(of_client[WRK].inside_ms, Absent)
    assert "the service itself took 1.100 to 1.600 ms in 6 windows" in referees_page(summary)


def test_records_from_before_the_service_was_asked_are_read():
    whole = comparison()
    windows = tuple(replace(each, service_p50_ns=None) for each in whole.windows)
    summary = summarise_referees(replace(whole, windows=windows), np.random.default_rng(0))
    assert all(isinstance(each.inside_ms, Absent) for each in summary.figures)
    assert "the service itself" not in referees_page(summary)


def test_the_verdict_of_loadgen_is_quoted():
    assert ("MLPerf LoadGen", "Server", "ONNX Runtime", "Result is : VALID", "3") in summarised().quotes
    assert "Result is : VALID" in referees_page(summarised())


def test_json_says_whether_each_percentile_agrees():
    summary = summarised(slower={LOADGEN: 1.2})
    said = {(each["client"], each["percentile"]): each["agrees"] for each in agreements(summary)}
    assert said[LOADGEN, "p50"] is False
    assert said[WIRE, "p50"] is True


def agreements(summary):
    return json.loads(referees_as_json(summary))["agreements"]
