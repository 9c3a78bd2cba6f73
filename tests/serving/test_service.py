"""Every runtime behind the same door: what a client sees of a running service."""

from __future__ import annotations

import io
import json
import subprocess
import sys
from pathlib import Path

import httpx
import numpy as np
import pytest
from PIL import Image

from contract.blood_cells import LABELS, NOTICE
from contract.timing import PARTS, TIMING_HEADER, TOTAL, parse_server_timing

CODES_ALLOWED = {200, 400, 413, 415, 422}


def classify(service, content, resolution=28, content_type="image/png", **options):
    headers = {"Content-Type": content_type, **options.pop("headers", {})}
    url = f"{service.url}/v1/classify"
    return httpx.post(url, params={"resolution": resolution}, content=content, headers=headers, **options)


def require_error(response, status, code):
    assert response.status_code == status, response.text
    error = response.json()["error"]
    assert error["code"] == code
    assert error["request_id"] == response.headers["X-Request-Id"]
    assert response.json().keys() == {"error"}


@pytest.mark.acceptance("A5")
@pytest.mark.acceptance("P1")
def test_an_answer_has_everything_that_the_contract_names(service, runtime_settings, cell_png):
    response = classify(service, cell_png, 64)
    assert response.status_code == 200
    answer = response.json()
    assert answer.keys() == {
        *("label", "class_index", "probabilities", "model", "calibrated", "timing_ms", "request_id", "notice"),
        *("in_distribution", "distance", "distance_threshold"),
    }
    assert answer["label"] == LABELS[answer["class_index"]]
    assert list(answer["probabilities"]) == list(LABELS)
    assert sum(answer["probabilities"].values()) == pytest.approx(1, abs=1e-5)
    assert answer["probabilities"][answer["label"]] == max(answer["probabilities"].values())
    assert answer["model"]["runtime"] == runtime_settings.runtime
    assert answer["model"]["resolution"] == 64
    assert len(answer["model"]["digest"]) == 64
    assert answer["notice"] == NOTICE
    assert answer["request_id"] == response.headers["X-Request-Id"]


def test_the_parts_of_the_time_add_up_to_the_total(service, cell_png):
    for _ in range(5):
        response = classify(service, cell_png)
        parts = parse_server_timing(response.headers[TIMING_HEADER])
        assert tuple(parts) == (*PARTS, TOTAL)
        assert sum(parts[part] for part in PARTS) == parts[TOTAL]
        in_body = {name: round(duration * 1e6) for name, duration in response.json()["timing_ms"].items()}
        assert in_body == parts


def test_without_a_resolution_the_smallest_model_answers(service, cell_png):
    response = httpx.post(f"{service.url}/v1/classify", content=cell_png, headers={"Content-Type": "image/png"})
    assert response.json()["model"]["resolution"] == 28


@pytest.mark.acceptance("A7")
def test_an_unknown_resolution_gets_a_404_that_names_those_there_are(service, cell_png):
    for resolution in (32, "../etc", "28 ", "", "-1"):
        response = classify(service, cell_png, resolution)
        require_error(response, 404, "unknown_resolution")
        assert "28, 64" in response.json()["error"]["message"]


def test_raw_bytes_and_a_multipart_field_get_the_same_answer(service, cell_png):
    raw = classify(service, cell_png).json()
    form = httpx.post(f"{service.url}/v1/classify", files={"image": ("cell.png", cell_png, "image/png")}).json()
    assert form["probabilities"] == raw["probabilities"]


def test_any_image_size_is_classified_by_its_centred_square(service):
    square = np.random.default_rng(1).integers(0, 256, (28, 28, 3), dtype=np.uint8)
    wide = np.zeros((28, 50, 3), np.uint8)
    wide[:, 11:39] = square
    answers = [classify(service, png_of(pixels)).json()["probabilities"] for pixels in (square, wide)]
    assert answers[0] == answers[1]


def png_of(pixels) -> bytes:
    buffer = io.BytesIO()
    Image.fromarray(pixels).save(buffer, "PNG")
    return buffer.getvalue()


@pytest.mark.acceptance("I3")
@pytest.mark.acceptance("I4")
@pytest.mark.acceptance("I5")
def test_a_broken_image_gets_a_4xx(service, cell_png):
    require_error(classify(service, b""), 400, "missing_image")
    require_error(classify(service, b"<html>"), 415, "unsupported_image")
    require_error(classify(service, cell_png[:-20]), 422, "corrupt_image")


@pytest.mark.acceptance("A1")
def test_a_body_of_another_kind_is_refused_unread(service, tmp_path):
    canary = tmp_path / "canary"
    pickled = f"cos\nsystem\n(S'touch {canary}'\ntR.".encode()
    kinds = ("application/vnd.bentoml+pickle", "Application/Vnd.BentoML+Pickle;x=1", "application/json", "text/plain")
    for kind in kinds:
        require_error(classify(service, pickled, content_type=kind), 415, "unsupported_media_type")
    for path in ("/submit", "/v1/classify/submit", "/classify"):
        response = httpx.post(f"{service.url}{path}", content=pickled, headers={"Content-Type": kinds[0]})
        require_error(response, 404, "not_found")
    assert not canary.exists()


@pytest.mark.acceptance("A3")
def test_a_body_above_the_limit_gets_a_413_with_or_without_a_length(service, runtime_settings):
    too_much = bytes(runtime_settings.max_body_bytes + 1_000_000)
    require_error(classify(service, too_much), 413, "body_too_large")
    chunks = (too_much[start : start + 65_536] for start in range(0, len(too_much), 65_536))
    require_error(classify(service, chunks), 413, "body_too_large")


@pytest.mark.acceptance("A6")
def test_unknown_paths_and_methods_are_answered_in_json(service):
    require_error(httpx.get(f"{service.url}/nothing"), 404, "not_found")
    response = httpx.get(f"{service.url}/v1/classify")
    require_error(response, 405, "method_not_allowed")
    assert response.headers["Allow"] == "POST"
    require_error(httpx.post(f"{service.url}/readyz"), 405, "method_not_allowed")


@pytest.mark.acceptance("A7")
def test_odd_names_read_nothing(service):
    for name in ("..%2f..%2fetc%2fpasswd", "a/../b", "%00", "model/", "%20.."):
        response = httpx.get(f"{service.url}/v1/models/{name}")
        require_error(response, 404, "not_found")


def test_a_clients_own_request_id_is_kept_unless_it_is_odd(service, cell_png):
    assert classify(service, cell_png, headers={"X-Request-Id": "run-7.12"}).json()["request_id"] == "run-7.12"
    assert classify(service, cell_png, headers={"X-Request-Id": '"><script>'}).json()["request_id"] != '"><script>'


def test_every_model_shows_its_evidence_and_its_count(service, runtime_settings, cell_png):
    before = httpx.get(f"{service.url}/v1/models").json()
    for resolution in (28, 28, 64):
        assert classify(service, cell_png, resolution).status_code == 200
    classify(service, b"no image")
    after = httpx.get(f"{service.url}/v1/models").json()
    grown = [now["answered"] - then["answered"] for now, then in zip(after["models"], before["models"], strict=True)]
    assert grown == [2, 1]
    counted, earlier = after["service"]["requests"], before["service"]["requests"]
    assert {name: counted[name] - earlier[name] for name in ("started", "ok", "refused", "failed")} == {
        **{"started": 4, "ok": 3, "refused": 1, "failed": 0},
    }
    assert counted["started"] == sum(counted.values()) - counted["started"]
    assert after["runtime"]["name"] == runtime_settings.runtime
    assert all(after["runtime"][fact] for fact in ("device", "threads", "library"))
    if runtime_settings.runtime != "null":
        assert after["models"][0]["parity"]["images"] == 7


def test_probes_and_metrics_answer(service, cell_png):
    for path in ("/healthz", "/livez", "/readyz"):
        assert httpx.get(f"{service.url}{path}").status_code == 200
    classify(service, cell_png)
    text = httpx.get(f"{service.url}/metrics").text
    assert 'hemabench_request_part_seconds_bucket{le="0.00025",part="infer",resolution="28"}' in text
    assert service.metric("process_resident_memory_bytes") > 0


@pytest.mark.acceptance("A8")
def test_only_the_loopback_interface_is_bound_by_default(service):
    listening = Path("/proc/net/tcp").read_text().splitlines()[1:]
    wanted = f":{int(service.url.rsplit(':', 1)[1]):04X}"
    addresses = {line.split()[1] for line in listening if line.split()[3] == "0A" and wanted in line.split()[1]}
    assert addresses == {f"0100007F{wanted}"}


@pytest.fixture(scope="session")
def verdicts(corpus) -> dict[str, tuple[int, str]]:
    """What this very decoder says of every file, in a process with little memory."""
    script = Path(__file__).parent / "judge_corpus.py"
    output = subprocess.run([sys.executable, str(script), str(corpus)], check=True, capture_output=True).stdout
    return {path: (status, code) for path, status, code in json.loads(output)}


@pytest.mark.real_data
@pytest.mark.acceptance("I1")
@pytest.mark.acceptance("I2")
@pytest.mark.acceptance("I8")
def test_no_file_of_the_corpus_hurts_the_service(service, corpus, verdicts):
    pid, memory = service.worker_pid, service.metric("process_resident_memory_bytes")
    with httpx.Client(base_url=service.url, timeout=60) as client:
        for path in sorted(path for path in corpus.rglob("*") if path.is_file()):
            response = client.post(
                "/v1/classify", content=path.read_bytes(), headers={"Content-Type": "application/octet-stream"}
            )
            code = response.json()["error"]["code"] if response.status_code != 200 else "ok"
            assert response.status_code in CODES_ALLOWED, path
            assert (response.status_code, code) == verdicts[path.relative_to(corpus).as_posix()], path
    assert service.worker_pid == pid
    assert service.metric("process_resident_memory_bytes") - memory < 200e6
    assert "FAKE-P" not in service.log.read_text()
