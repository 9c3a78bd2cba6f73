from __future__ import annotations

from pathlib import Path

from analysis.load.page import summary_page
from analysis.load.plots import distribution_chart, tax_chart
from analysis.load.report import render_report
from analysis.load.runs import load_run
from analysis.load.sentences import crossover_words
from analysis.load.summary import summarise
from analysis.load.tax import Crossover, ServingTax, crossovers, serving_taxes
from analysis.statistics import Absent, Estimate

RUNTIMES = ("pytorch", "onnx", "null")
SIDES = (28, 224)


def summary_of(build, folder: Path, runtimes: tuple[str, ...] = RUNTIMES):
    return summarise(load_run(build.write(folder / "run", runtimes=runtimes, resolutions_px=SIDES)))


def tax_of(runtime: str, side: int, low: float, high: float) -> ServingTax:
    figure = Estimate((low + high) / 2, low, high, 9)
    return ServingTax(
        runtime=runtime, resolution_px=side, round_trip_ns=figure, infer_ns=figure, tax=figure, floor_ns=figure
    )


def test_the_null_service_is_the_floor_beside_every_tax_and_has_none_itself(build, tmp_path: Path) -> None:
    summary = summary_of(build, tmp_path)
    taxes = serving_taxes(summary)
    assert [(tax.resolution_px, tax.runtime) for tax in taxes] == [
        (28, "pytorch"),
        (28, "onnx"),
        (224, "pytorch"),
        (224, "onnx"),
    ]
    for tax in taxes:
        (null,) = [c for c in summary.contenders if (c.runtime, c.resolution_px) == ("null", tax.resolution_px)]
        assert null.figures is not None
        assert tax.floor_ns == null.figures.round_trip_p50_ns
    assert all("null" not in (lead.fastest, *lead.level_with, lead.versus) for lead in summary.leads)


def test_without_a_null_service_the_floor_is_absent(build, tmp_path: Path) -> None:
    assert all(isinstance(tax.floor_ns, Absent) for tax in serving_taxes(summary_of(build, tmp_path, ("onnx",))))


def test_the_model_outweighs_from_where_it_does_at_every_higher_resolution_too() -> None:
    taxes = (
        tax_of("jax", 28, 1.5, 1.6),  # by a whim of the machine: it does not at the next
        tax_of("jax", 64, 2.1, 2.3),
        tax_of("jax", 128, 1.6, 1.7),
        tax_of("jax", 224, 1.1, 1.2),
        tax_of("onnx", 28, 4.0, 4.1),
        tax_of("onnx", 224, 1.9, 2.1),  # its interval does not tell
    )
    jax, onnx, pytorch = crossovers((*taxes, tax_of("pytorch", 28, 36.0, 37.0)))
    assert jax == Crossover(runtime="jax", from_px=128, measured_px=(28, 64, 128, 224))
    assert onnx.from_px is None
    assert crossover_words((jax, onnx, pytorch)) == (
        "The model outweighs all the rest of the round trip (of 28, 64, 128 and 224 px): "
        "JAX: from 128 px on; ONNX Runtime: not for certain at 224 px; PyTorch: not at 28 px."
    )


def test_page_and_report_tell_the_tax(build, tmp_path: Path) -> None:
    summary = summary_of(build, tmp_path)
    for text in (summary_page(summary), render_report(summary)):
        assert "The model outweighs all the rest of the round trip" in text
    assert tax_chart(summary, serving_taxes(summary)) is not None
    assert tax_chart(summary, ()) is None


def test_a_distribution_ends_with_the_slowest_request(build, tmp_path: Path) -> None:
    summary = summary_of(build, tmp_path)
    chart = distribution_chart(summary, "closed_loop", 28)
    assert chart is not None
    assert distribution_chart(summary, "closed_loop", 64) is None
    (null,) = [c.figures for c in summary.contenders if (c.runtime, c.resolution_px) == ("null", 28)]
    assert null is not None
    assert list(null.response_quantiles_ns) == sorted(null.response_quantiles_ns)
