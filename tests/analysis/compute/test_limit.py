from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from analysis.compute.limit import Roof, reached, roofs_of, work_of
from analysis.statistics import Absent, Estimate
from contract.architecture import HEMANET
from contract.records.compute import Shape

ROOF = Roof(threads=1, precision="float32", library="x", peak_flops_per_s=100e9, bytes_per_s=10e9)
SHAPES = st.builds(Shape, resolution_px=st.sampled_from((28, 64, 128, 224)), batch=st.integers(1, 256))


@given(shape=SHAPES)
def test_work_grows_with_the_batch_and_weights_are_read_once(shape):
    one, many = (
        work_of(HEMANET, Shape(resolution_px=shape.resolution_px, batch=1), "float32"),
        work_of(HEMANET, shape, "float32"),
    )
    assert many.flops == shape.batch * one.flops == shape.batch * HEMANET.flops(shape.resolution_px)
    assert many.traffic_bytes <= shape.batch * one.traffic_bytes
    assert many.intensity >= one.intensity


@given(shape=SHAPES)
def test_fewer_bytes_a_number_are_less_traffic_for_the_same_work(shape):
    full, half, quarter = (work_of(HEMANET, shape, precision) for precision in ("float32", "bfloat16", "int8"))
    assert full.flops == half.flops == quarter.flops
    assert full.traffic_bytes > half.traffic_bytes > quarter.traffic_bytes


@given(intensity=st.floats(1e-3, 1e4))
def test_the_roof_is_memory_below_the_ridge_and_arithmetic_above(intensity):
    assert ROOF.at(intensity) == pytest.approx(min(100e9, intensity * 10e9))


def test_the_fastest_library_gives_the_peak(make_run):
    (roof,) = roofs_of(make_run().limits).values()
    assert roof.library == "fast"
    assert roof.peak_flops_per_s == pytest.approx(100e9)
    assert roof.bytes_per_s == pytest.approx(10e9)


@given(ms=st.floats(0.1, 100))
def test_a_call_at_half_the_speed_reaches_half_the_peak(ms):
    work = work_of(HEMANET, Shape(resolution_px=224, batch=1), "float32")
    found = reached(work, Estimate(2 * work.flops / 100e9 * 1e9, 0.9, 1.1, 20), ROOF)
    assert found.of_peak.value == pytest.approx(0.5)
    quicker = reached(work, Estimate(ms * 1e6, ms * 0.9e6, ms * 1.1e6, 20), ROOF)
    assert quicker.of_peak.low < quicker.of_peak.value < quicker.of_peak.high
    assert quicker.of_roof.value >= quicker.of_peak.value


def test_without_a_limit_there_is_a_rate_and_no_share():
    found = reached(work_of(HEMANET, Shape(resolution_px=28, batch=1), "float32"), Estimate(1e6, 1e6, 1e6, 20), None)
    assert isinstance(found.flops_per_s, Estimate)
    assert isinstance(found.of_peak, Absent)
