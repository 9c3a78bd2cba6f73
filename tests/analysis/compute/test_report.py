from __future__ import annotations

import io
import json
from dataclasses import replace
from html.parser import HTMLParser

import pytest
from rich.console import Console

from analysis.compute.claims import answered_claims, harness_sentence
from analysis.compute.page import compute_page
from analysis.compute.plots import growth_chart, roofline_chart
from analysis.compute.report import render_compute_report
from analysis.compute.summary import summarise_compute
from analysis.compute.tables import compute_as_json, compute_tables
from contract.records.compute import Shape


@pytest.fixture(scope="module")
def summary(make_run):
    return summarise_compute(make_run())


def terminal(summary) -> str:
    written = io.StringIO()
    Console(width=220, file=written).print(compute_tables(summary))
    return written.getvalue()


def test_the_terminal_the_page_and_the_report_hold_the_same_numbers(summary):
    cell = summary.cell("jax", 1, Shape(resolution_px=224, batch=8))
    page, html, shown = compute_page(summary), render_compute_report(summary), terminal(summary)
    ratio = f"{cell.ratio.value:.3f}"
    assert f"| {ratio} (" in page
    assert f">{ratio} (" in html
    assert ratio in shown
    for text in (page, html, shown):
        assert "Research use only" in text
        assert "100.0 GFLOP/s" in text  # the peak of the fastest library
        assert "there is no such product" in text


def on_a_card(make_run, *, limits_of: str = "cuda:0"):
    """20 us by the card's clock, 3 and 2 us for the copies, 1 J for 40 calls of each shape."""
    run = make_run(
        change=lambda block: replace(
            block, event_ns=(20_000,) * 20, to_card_ns=(3_000,) * 20, to_host_ns=(2_000,) * 20, energy_mj=1_000
        )
    )
    limits = tuple(replace(limit, device=limits_of) for limit in run.limits)
    return summarise_compute(replace(run, plan=replace(run.plan, device="cuda:0"), limits=limits))


def test_on_a_card_its_clock_the_copies_and_the_energy_stand_beside_the_hosts_time(make_run):
    summary = on_a_card(make_run)
    (title,) = [line for line in compute_page(summary).splitlines() if "One call on the card" in line]
    rows = compute_page(summary).split(title)[1].split("\n## ")[0]
    (row,) = [line for line in rows.splitlines() if line.startswith("| 28 | 8 | JAX")]
    assert "| 0.020 (0.020–0.020) | 0.003 (0.003–0.003) | 0.002 (0.002–0.002) | 3.12 (" in row  # 1 J over 320 images
    assert "Null" not in rows


def test_the_processor_has_no_table_of_a_card(summary):
    assert "One call on the card" not in compute_page(summary)


def test_a_cell_on_a_card_is_held_against_the_cards_own_limits_alone(make_run):
    shape = Shape(resolution_px=224, batch=8)
    assert on_a_card(make_run).cell("jax", 1, shape).reached.of_peak.value > 0
    of_the_processor = on_a_card(make_run, limits_of="cpu").cell("jax", 1, shape).reached
    assert not hasattr(of_the_processor.of_peak, "value")


def test_the_claim_about_jax_is_answered_with_our_ratio(make_run):
    def as_claimed(runtime: str, shape: Shape) -> float:
        return {"pytorch": 1.8, "jax": 1.0, "null": 0.0001}[runtime] * shape.resolution_px**2 * shape.batch / 1e4

    jax, _ = answered_claims(summarise_compute(make_run(as_claimed)))
    assert "JAX is 1.8 times" in jax.claim
    assert "1.8" in jax.answer.split("at batch 1")[0].split("JAX's time:")[1]
    assert "in 0 PyTorch is the faster" in jax.answer

    other, _ = answered_claims(
        summarise_compute(make_run(lambda name, shape: as_claimed("jax" if name == "pytorch" else "pytorch", shape)))
    )
    assert "in 2 PyTorch is the faster" in other.answer


def test_the_claim_about_growth_is_answered_with_an_exponent(summary, make_run):
    _, growth = answered_claims(summary)
    assert "PyTorch 0." in growth.answer
    assert "to within 0 to 0 %" in growth.answer.replace("1 %", "0 %")
    two = summarise_compute(make_run(resolutions_px=(28, 64)))
    assert "do not tell a line from a curve" in answered_claims(two)[1].answer


def test_what_was_not_measured_is_not_answered(make_run):
    small = summarise_compute(make_run(resolutions_px=(28,)))
    answers = [one.answer for one in answered_claims(small)]
    assert all(answer.startswith("Not answered by this run") for answer in answers)


def test_a_harness_above_its_promise_says_so(make_run, summary):
    assert "promises" not in harness_sentence(summary)
    slow = summarise_compute(make_run(lambda name, shape: 0.01 if name == "null" else 1.0 * shape.resolution_px))
    assert "above the 5 µs" in harness_sentence(slow)


def test_an_invalid_cell_has_its_reason_in_place_of_numbers(make_run):
    run = make_run(change=lambda block: replace(block, compilations=1 if block.runtime == "jax" else 0))
    page = compute_page(summarise_compute(run))
    line = next(line for line in page.splitlines() if line.startswith("| 28 | 1 | JAX"))
    assert line.endswith("| invalid |")
    assert "were compiled while calls were timed" in page


def test_cells_past_the_peak_put_the_limit_in_doubt(make_run):
    slow = make_run(lambda name, shape: 1e-3 * shape.batch * shape.resolution_px**2)
    assert "past the peak" not in compute_page(summarise_compute(slow))
    quick = make_run(lambda name, shape: 1e-6 * shape.batch * shape.resolution_px**2 if name != "null" else 0.001)
    assert "cells go past the peak" in compute_page(summarise_compute(quick))


def test_missing_sittings_are_named(make_run):
    run = make_run()
    page = compute_page(summarise_compute(replace(run, missing=(run.plan.sittings[-1],))))
    assert "missing: sitting r3-1thread. Next: hemabench compute --resume" in page


def test_the_report_is_one_well_formed_file(summary):
    html = render_compute_report(summary)
    tables = []

    class Tables(HTMLParser):
        def handle_starttag(self, tag, attrs):
            tables.append(tag) if tag == "table" else None

    Tables().feed(html)
    assert len(tables) >= 6
    assert "https://" not in html.split("<script>")[0]
    assert html == render_compute_report(summary)


def test_the_roofline_has_a_ridge_and_every_cell(summary):
    spec = roofline_chart(summary, 1)
    roof, points = (spec["datasets"][layer["data"]["name"]] for layer in spec["layer"])
    ridge = [row for row in roof if row["intensity"] == pytest.approx(10.0)]  # 100 GFLOP/s over 10 GB/s
    assert ridge[0]["gflops"] == pytest.approx(100)
    assert len(points) == 2 * 4 * 2


def test_a_chart_without_numbers_is_not_drawn(summary, make_run):
    assert growth_chart(summary, 1, 1) is not None
    assert growth_chart(summary, 1, 99) is None
    assert roofline_chart(summarise_compute(replace(make_run(), limits=())), 1) is None


def test_programs_get_everything_as_json(summary):
    told = json.loads(compute_as_json(summary))
    assert {cell["runtime"] for cell in told["cells"]} == {"pytorch", "jax", "null"}
    assert told["cells"][0]["p50_ns"]["n"] == 120
