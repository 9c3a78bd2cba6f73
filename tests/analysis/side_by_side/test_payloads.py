from __future__ import annotations

import json

import numpy as np
import pytest

from analysis.side_by_side.payloads import payloads_as_json, payloads_page, payloads_table, summarise_payloads
from analysis.statistics import Absent
from contract.environment import describe_environment
from contract.records.payloads import JPEG, NUMBERS, PNG, TENSOR, PayloadComparison, PayloadWindow

ROUND_TRIP_NS = {PNG: 1_000_000, JPEG: 1_100_000, TENSOR: 900_000, NUMBERS: 6_000_000}


def comparison(forms=tuple(ROUND_TRIP_NS), sides=(28, 64), requests=50):
    windows = [
        PayloadWindow(
            form=form,
            resolution_px=side,
            round=round_,
            wire_bytes=ROUND_TRIP_NS[form] // 1_000,
            round_trips_ns=(ROUND_TRIP_NS[form] * side // 28,) * requests,
            decode_ns=(ROUND_TRIP_NS[form] // 10,) * 5,
        )
        for side in sides
        for form in forms
        for round_ in range(3)
    ]
    return PayloadComparison(
        environment=describe_environment(),
        measured_at="2026-01-01T00:00:00+00:00",
        command="hemabench payloads",
        runtime="onnx",
        service_cores=(0,),
        client_cores=(1,),
        windows=tuple(windows),
    )


def summarised(**options):
    return summarise_payloads(comparison(**options), np.random.default_rng(0))


def test_every_form_has_its_bytes_times_and_ratio_to_png():
    figures = summarised()
    assert [(each.resolution_px, each.form) for each in figures] == [(s, f) for s in (28, 64) for f in ROUND_TRIP_NS]
    numbers = figures[3]
    assert numbers.wire_bytes == 6_000
    assert numbers.requests == 150
    assert (numbers.p50_ms.value, numbers.decode_ms.value) == (6.0, pytest.approx(0.6))
    assert numbers.to_png.value == pytest.approx(6)


def test_a_p99_that_takes_more_requests_than_there_are_is_not_printed():
    assert summarised()[0].p99_ms == Absent("150 of 662 requests", 150)
    assert "– (150 of 662 requests)" in payloads_page(comparison(), summarised())
    (enough,) = summarised(forms=(PNG,), sides=(28,), requests=221)
    assert enough.p99_ms.value == 1.0


def test_without_png_there_is_no_ratio_to_it():
    (only,) = summarised(forms=(TENSOR,), sides=(28,))
    assert isinstance(only.to_png, Absent)


def test_the_page_and_the_table_have_a_row_per_form_and_resolution():
    figures = summarised()
    assert payloads_table(figures).row_count == 8
    page = payloads_page(comparison(), figures)
    assert sum(line.startswith(("| 28 |", "| 64 |")) for line in page.splitlines()) == 8
    assert "hemabench payloads" in page


def test_json_holds_a_row_per_form_and_resolution_and_no_raw_windows():
    said = json.loads(payloads_as_json(comparison(), summarised()))
    assert [(each["resolution_px"], each["form"]) for each in said["figures"]] == [
        (each.resolution_px, each.form) for each in summarised()
    ]
    assert "windows" not in said
