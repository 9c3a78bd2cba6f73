"""What is counted is what Prometheus reads."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st
from prometheus_client.parser import text_string_to_metric_families

from serving.observe.metrics import ABORTED, BUCKETS_S, Exposition, Histogram, Measurements


def scraped(measurements):
    text = Exposition(measurements, lambda: 3, {"runtime": "onnx"}).text().decode()
    samples = [sample for family in text_string_to_metric_families(text) for sample in family.samples]
    return {(sample.name, *sorted(sample.labels.items())): sample.value for sample in samples}


@given(st.lists(st.integers(0, 20_000_000_000), max_size=60))
def test_a_bucket_holds_all_durations_up_to_its_bound(durations_ns):
    histogram = Histogram()
    for duration in durations_ns:
        histogram.observe(duration)
    for bound, (_, count) in zip(BUCKETS_S, histogram.cumulative(), strict=False):
        assert count == sum(duration <= round(bound * 1e9) for duration in durations_ns)
    assert histogram.cumulative()[-1] == ("+Inf", len(durations_ns))
    assert histogram.sum_ns == sum(durations_ns)


def test_every_start_ends_in_exactly_one_way():
    measurements = Measurements()
    measurements.started = 6
    measurements.answered("28", {"infer": 1_000_000})
    measurements.answered("28", {"infer": 3_000_000})
    measurements.finished("28", "corrupt_image", 422)
    measurements.finished("none", "internal", 500)
    measurements.finished("64", ABORTED, 0)
    assert measurements.totals() == {
        **{"started": 6, "ok": 2, "refused": 1, "failed": 1, "aborted": 1, "running": 1},
    }
    assert measurements.answered_at("28") == 2


def test_prometheus_reads_what_was_counted():
    measurements = Measurements()
    measurements.started = 1
    measurements.answered("28", {"infer": 3_000_000})
    samples = scraped(measurements)
    labels = (("part", "infer"), ("resolution", "28"))
    assert samples["hemabench_request_part_seconds_count", *labels] == 1
    assert samples["hemabench_request_part_seconds_sum", *labels] == 0.003
    assert samples["hemabench_request_part_seconds_bucket", ("le", "0.004"), *labels] == 1
    assert samples["hemabench_request_part_seconds_bucket", ("le", "0.002"), *labels] == 0
    assert samples["hemabench_requests_total", ("code", "ok"), ("resolution", "28"), ("status", "200")] == 1
    assert samples["hemabench_line_length",] == 3
    assert samples["hemabench_service_info", ("runtime", "onnx")] == 1
    assert samples["process_open_fds",] > 0
