"""What a real collector receives of a real service, and that nothing is paid where none is configured."""

from __future__ import annotations

import json
import subprocess
import sys
import threading
import time
from contextlib import ExitStack
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from itertools import pairwise
from pathlib import Path

import httpx
import pytest

from contract.errors import InvalidSettings
from contract.timing import PARTS
from serving.observe.traces import require_exporter, traces_are_asked_for
from serving.settings import ServiceSettings

pytest.importorskip("opentelemetry.exporter.otlp.proto.http", reason="the extra 'traces' is not installed")

ROOT = Path(__file__).parents[3]
IMAGE = {"Content-Type": "image/png"}
TRACE, PARENT = "4bf92f3577b34da6a3ce929d0e0e4736", "00f067aa0ba902b7"
ENDPOINT = {"OTEL_EXPORTER_OTLP_ENDPOINT": "http://127.0.0.1:4318"}


class Collector:
    """An OTLP/HTTP receiver that keeps every span."""

    def __init__(self):
        from opentelemetry.proto.collector.trace.v1.trace_service_pb2 import ExportTraceServiceRequest

        self.spans, self.resources, self.paths = [], [], []
        collector = self

        class Receive(BaseHTTPRequestHandler):
            def do_POST(self):
                request = ExportTraceServiceRequest()
                request.ParseFromString(self.rfile.read(int(self.headers["Content-Length"])))
                collector.paths.append(self.path)
                for group in request.resource_spans:
                    collector.resources.append(attributes(group.resource))
                    collector.spans += [span for scope in group.scope_spans for span in scope.spans]
                self.send_response(200)
                self.send_header("Content-Type", "application/x-protobuf")
                self.end_headers()

            def log_message(self, *arguments):
                """Nothing."""

        self.server = ThreadingHTTPServer(("127.0.0.1", 0), Receive)
        threading.Thread(target=self.server.serve_forever, daemon=True).start()

    def trace(self, trace_id):
        """Its spans, once its root is there."""
        until_s = time.monotonic() + 60
        while time.monotonic() < until_s:
            found = [span for span in self.spans if span.trace_id.hex() == trace_id]
            if any(span.name.startswith("POST") for span in found):
                return found
            time.sleep(0.05)
        raise AssertionError(f"no trace {trace_id} came")


def attributes(described):
    return {each.key: getattr(each.value, each.value.WhichOneof("value")) for each in described.attributes}


def root_and_parts(spans):
    (root,) = [span for span in spans if span.name.startswith("POST")]
    parts = sorted((span for span in spans if span is not root), key=lambda span: span.start_time_unix_nano)
    assert all(part.parent_span_id == root.span_id for part in parts)
    return root, parts


def trace_id_of(response):
    version, trace_id, span_id, flags = response.headers["traceresponse"].split("-")
    assert (version, len(trace_id), len(span_id), len(flags)) == ("00", 32, 16, 2)
    return trace_id


@pytest.fixture(scope="module")
def collector():
    collector = Collector()
    yield collector
    collector.server.shutdown()
    collector.server.server_close()


@pytest.fixture(scope="module")
def traced(serve, collector, tmp_path_factory):
    folder = tmp_path_factory.mktemp("traced")
    audit = folder / "audit.jsonl"
    settings = ServiceSettings(runtime="null", resolutions_px=(28,), audit_log=audit, logged_share=1.0)
    with ExitStack() as running:
        with pytest.MonkeyPatch.context() as environment:  # of this service, and of none that is started later
            environment.setenv("OTEL_EXPORTER_OTLP_ENDPOINT", f"http://127.0.0.1:{collector.server.server_port}")
            environment.setenv("OTEL_TRACES_SAMPLER", "parentbased_always_on")
            environment.setenv("OTEL_SERVICE_NAME", "cells")
            environment.setenv("OTEL_BSP_SCHEDULE_DELAY", "100")
            service = running.enter_context(serve(settings, folder))
        yield service, audit


def test_a_request_is_a_span_and_each_of_its_parts_is_one_below_it(traced, collector, cell_png):
    service, _ = traced
    response = httpx.post(f"{service.url}/v1/classify", content=cell_png, headers=IMAGE)
    root, parts = root_and_parts(collector.trace(trace_id_of(response)))
    assert root.name == "POST /v1/classify"
    assert [part.name for part in parts] == list(PARTS)
    for part, following in pairwise(parts):
        assert part.end_time_unix_nano == following.start_time_unix_nano
    assert root.start_time_unix_nano <= parts[0].start_time_unix_nano
    assert parts[-1].end_time_unix_nano <= root.end_time_unix_nano
    assert abs(root.start_time_unix_nano / 1e9 - time.time()) < 60
    told = attributes(root)
    assert told["http.response.status_code"] == 200
    assert told["hemabench.request_id"] == response.headers["X-Request-Id"]
    assert (told["hemabench.resolution_px"], told["hemabench.images"]) == (28, 1)
    assert set(collector.paths) == {"/v1/traces"}
    assert collector.resources[0]["service.name"] == "cells"
    assert collector.resources[0]["hemabench.runtime"] == "null"


def test_the_parts_are_those_of_the_server_timing_header(traced, collector, cell_png):
    service, _ = traced
    response = httpx.post(f"{service.url}/v1/classify", content=cell_png, headers=IMAGE)
    _, parts = root_and_parts(collector.trace(trace_id_of(response)))
    header = response.headers["Server-Timing"]
    for part in parts:
        assert f"{part.name};dur={(part.end_time_unix_nano - part.start_time_unix_nano) / 1e6:.6f}" in header


@pytest.mark.parametrize("flags", ["01", "00"])
def test_the_clients_trace_goes_on_and_its_decision_to_sample_holds(traced, collector, cell_png, flags):
    service, _ = traced
    trace = TRACE[:-2] + flags
    headers = {**IMAGE, "traceparent": f"00-{trace}-{PARENT}-{flags}"}
    response = httpx.post(f"{service.url}/v1/classify", content=cell_png, headers=headers)
    assert trace_id_of(response) == trace
    assert response.headers["traceresponse"].endswith(flags)
    if flags == "01":
        root, _ = root_and_parts(collector.trace(trace))
        assert root.parent_span_id.hex() == PARENT
    else:
        later = httpx.post(f"{service.url}/v1/classify", content=cell_png, headers=IMAGE)
        collector.trace(trace_id_of(later))
        assert not [span for span in collector.spans if span.trace_id.hex() == trace]


@pytest.mark.parametrize("sent", ["", "00-0-0-0", "ff-" + "0" * 32 + "-" + "0" * 16 + "-01", "x" * 4_000])
def test_a_traceparent_that_is_none_begins_a_trace_of_its_own(traced, cell_png, sent):
    service, _ = traced
    response = httpx.post(f"{service.url}/v1/classify", content=cell_png, headers={**IMAGE, "traceparent": sent})
    assert response.status_code == 200
    assert int(trace_id_of(response), 16) > 0


def test_a_refusal_has_a_trace_that_ends_in_the_part_that_failed(traced, collector, cell_png):
    service, _ = traced
    response = httpx.post(f"{service.url}/v1/classify", content=cell_png[:-9], headers=IMAGE)
    assert response.status_code == 422
    root, parts = root_and_parts(collector.trace(trace_id_of(response)))
    assert [part.name for part in parts] == ["read", "decode"]
    assert attributes(parts[-1]) == {"hemabench.unfinished": True}
    assert attributes(root)["hemabench.code"] == "corrupt_image"
    assert root.status.code == 0  # the client's fault is no error of a server span


def test_of_several_images_each_has_its_parts(traced, collector, cell_png):
    service, _ = traced
    response = httpx.post(f"{service.url}/v1/classify", files=[("image", cell_png), ("image", cell_png)])
    root, parts = root_and_parts(collector.trace(trace_id_of(response)))
    assert attributes(root)["hemabench.images"] == 2
    for number in range(2):
        mine = [part.name for part in parts if attributes(part).get("hemabench.image") == number]
        assert mine == [part for part in PARTS if part != "read"]


def test_the_protocols_inferences_are_traced_too(traced, collector):
    service, _ = traced
    tensor = {"name": "images", "datatype": "FP32", "shape": [1, 28, 28, 3], "data": [0.0] * (28 * 28 * 3)}
    response = httpx.post(f"{service.url}/v2/models/null-28px/infer", json={"inputs": [tensor]})
    root, parts = root_and_parts(collector.trace(trace_id_of(response)))
    assert root.name == "POST /v2/models/null-28px/infer"
    assert [part.name for part in parts] == list(PARTS)


def test_answer_log_and_audit_log_name_the_same_trace(traced, cell_png):
    service, audit = traced
    response = httpx.post(f"{service.url}/v1/classify", content=cell_png, headers={**IMAGE, "X-Request-Id": "joined"})
    lines = [json.loads(line) for line in audit.read_text().splitlines()]
    (audited,) = [line for line in lines if line["request_id"] == "joined"]
    (logged,) = [json.loads(line) for line in service.log.read_text().splitlines() if '"request_id":"joined"' in line]
    assert audited["trace_id"] == logged["trace_id"] == trace_id_of(response)


def test_what_was_not_sent_when_a_service_is_stopped_is_sent_then(serve, collector, tmp_path, monkeypatch, cell_png):
    monkeypatch.setenv("OTEL_EXPORTER_OTLP_ENDPOINT", f"http://127.0.0.1:{collector.server.server_port}")
    monkeypatch.setenv("OTEL_BSP_SCHEDULE_DELAY", "600000")
    with serve(ServiceSettings(runtime="null", resolutions_px=(28,)), tmp_path) as service:
        trace_id = trace_id_of(httpx.post(f"{service.url}/v1/classify", content=cell_png, headers=IMAGE))
        assert not [span for span in collector.spans if span.trace_id.hex() == trace_id]
    collector.trace(trace_id)


def test_a_collector_that_is_not_there_fails_no_request(serve, tmp_path, monkeypatch, port, cell_png):
    monkeypatch.setenv("OTEL_EXPORTER_OTLP_ENDPOINT", f"http://127.0.0.1:{port}")
    monkeypatch.setenv("OTEL_BSP_SCHEDULE_DELAY", "50")
    monkeypatch.setenv("OTEL_EXPORTER_OTLP_TIMEOUT", "1")
    with serve(ServiceSettings(runtime="null", resolutions_px=(28,)), tmp_path) as service:
        for _ in range(5):
            assert httpx.post(f"{service.url}/v1/classify", content=cell_png, headers=IMAGE).status_code == 200
            time.sleep(0.1)


def test_without_an_endpoint_there_is_no_trace_and_nothing_imported(serving_null, cell_png):
    response = httpx.post(f"{serving_null.url}/v1/classify", content=cell_png, headers=IMAGE)
    assert "traceresponse" not in response.headers
    code = "import sys, serving.http.endpoints, serving.observe.traces; print('opentelemetry' in sys.modules)"
    child = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True, cwd=ROOT)
    assert child.stdout.strip() == "False"


@pytest.mark.parametrize(
    ("environment", "asked"),
    [
        ({}, False),
        ({"OTEL_EXPORTER_OTLP_ENDPOINT": ""}, False),
        (ENDPOINT, True),
        ({"OTEL_EXPORTER_OTLP_TRACES_ENDPOINT": "http://127.0.0.1:4318/v1/traces"}, True),
        ({**ENDPOINT, "OTEL_SDK_DISABLED": "true"}, False),
        ({**ENDPOINT, "OTEL_TRACES_EXPORTER": "none"}, False),
    ],
)
def test_opentelemetrys_variables_decide(environment, asked):
    assert traces_are_asked_for(environment) is asked


def test_a_protocol_that_is_not_spoken_stops_the_start():
    require_exporter(ENDPOINT)
    with pytest.raises(InvalidSettings, match="http/protobuf"):
        require_exporter({**ENDPOINT, "OTEL_EXPORTER_OTLP_PROTOCOL": "grpc"})
