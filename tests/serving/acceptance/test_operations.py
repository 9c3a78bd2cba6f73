"""P: what people and auditors are told, and what nobody is."""

from __future__ import annotations

import hashlib
import json
from dataclasses import replace

import httpx
import numpy as np
import pytest

from contract.blood_cells import LABELS, NOTICE
from contract.errors import InvalidSettings
from serving.answers import ModelName, predict_label
from serving.observe.audit import require_appendable

LINE = {
    *("time", "request_id", "trace_id", "image", "input", "format", "size_bytes"),
    *("model", "digest", "label", "in_distribution", "distance", "status", "code", "latency_ms"),
}


def audit_lines(path):
    return [json.loads(line) for line in path.read_text().splitlines()]


@pytest.fixture(scope="module")
def audited_service(serve, onnx_settings, tmp_path_factory):
    folder = tmp_path_factory.mktemp("audited")
    path = folder / "audit.jsonl"
    path.write_text('{"from": "before"}\n')
    with serve(replace(onnx_settings, audit_log=path), folder) as service:
        yield service, path


@pytest.mark.acceptance("P1")
@pytest.mark.parametrize("path", ["/", "/v1/models", "/v1/card", "/openapi.json"])
def test_every_page_says_what_it_is_not_for(onnx_service, path):
    assert NOTICE in httpx.get(onnx_service.url + path).text


@pytest.mark.acceptance("P1")
def test_every_answer_says_what_it_is_not_for(onnx_service, classify, cell_png):
    assert classify(onnx_service, cell_png).json()["notice"] == NOTICE


@pytest.mark.acceptance("P3")
def test_every_image_has_a_line_that_joins_it_with_its_answer(audited_service, classify, cell_png):
    service, path = audited_service
    answer = classify(service, cell_png, headers={"X-Request-Id": "run-7.1"}).json()
    line = audit_lines(path)[-1]
    assert line.keys() == LINE
    assert line["request_id"] == answer["request_id"] == "run-7.1"
    assert line["input"] == hashlib.sha256(cell_png).hexdigest()
    assert (line["format"], line["size_bytes"]) == ("PNG", len(cell_png))
    assert (line["model"], line["digest"]) == (answer["model"]["name"], answer["model"]["digest"])
    assert (line["label"], line["status"], line["code"]) == (answer["label"], 200, "ok")
    assert line["latency_ms"] > 0


@pytest.mark.acceptance("P3")
def test_a_refusal_has_a_line_and_earlier_ones_stay(audited_service, classify, cell_png):
    service, path = audited_service
    classify(service, cell_png[:-9])
    classify(service, cell_png, headers={"Content-Type": "text/plain"})
    *_, corrupt, unread = audit_lines(path)
    assert (corrupt["status"], corrupt["code"], corrupt["label"]) == (422, "corrupt_image", None)
    assert corrupt["input"] == hashlib.sha256(cell_png[:-9]).hexdigest()
    assert (unread["status"], unread["input"]) == (415, None)
    assert audit_lines(path)[0] == {"from": "before"}


@pytest.mark.acceptance("P3")
def test_each_of_several_images_has_a_line_of_its_own(audited_service, cell_png):
    service, path = audited_service
    files = [("image", cell_png), ("image", cell_png[:-9]), ("image", cell_png)]
    response = httpx.post(f"{service.url}/v1/classify", files=files)
    lines = audit_lines(path)[-3:]
    assert [line["image"] for line in lines] == [0, 1, 2]
    assert {line["request_id"] for line in lines} == {response.json()["request_id"]}
    assert [line["code"] for line in lines] == ["ok", "corrupt_image", "ok"]
    assert [line["label"] is None for line in lines] == [False, True, False]


@pytest.mark.acceptance("P3")
def test_an_audit_log_that_cannot_be_opened_stops_the_start(tmp_path):
    with pytest.raises(InvalidSettings, match="audit log"):
        require_appendable(tmp_path / "no" / "such" / "folder")
    require_appendable(None)


@pytest.mark.acceptance("P2")
def test_nothing_of_a_patient_is_left_in_logs_metrics_or_the_audit_log(audited_service, cell_png):
    service, path = audited_service
    secret = b"FAKE-PATIENT-4711"
    name = "FAKE-PATIENT-4711.png"
    for content in (cell_png + secret, cell_png[:60] + secret, secret):
        response = httpx.post(f"{service.url}/v1/classify", files={"image": (name, content, "image/png")})
        assert "FAKE-P" not in response.text
    metrics = httpx.get(f"{service.url}/metrics").text
    for left in (metrics, service.log.read_text(), path.read_text()):
        assert "FAKE-P" not in left


@pytest.mark.real_data
@pytest.mark.acceptance("P2")
def test_nothing_of_the_corpus_patients_is_left_anywhere(audited_service, classify, corpus):
    service, path = audited_service
    files = [path for path in corpus.rglob("*") if path.is_file() and b"FAKE-P" in path.read_bytes()]
    assert files, "the corpus has no FAKE-PHI file"
    for file in files:
        response = classify(service, file.read_bytes())
        assert "FAKE-P" not in response.text + str(response.headers)
    folder = path.parent
    assert not [file for file in folder.rglob("*") if file.is_file() and b"FAKE-P" in file.read_bytes()]
    assert "FAKE-P" not in httpx.get(f"{service.url}/metrics").text


@pytest.mark.acceptance("P4")
@pytest.mark.parametrize("resolution", [28, 64])
def test_every_model_has_a_card(onnx_service, resolution):
    models = {model["resolution"]: model for model in httpx.get(f"{onnx_service.url}/v1/models").json()["models"]}
    response = httpx.get(f"{onnx_service.url}/v1/card", params={"resolution": resolution})
    assert response.headers["Content-Type"].startswith("text/markdown")
    for part in ("Intended use", "Data", "## Scores", "## Limits", "healthy donors", models[resolution]["digest"]):
        assert part in response.text
    assert httpx.get(f"{onnx_service.url}/v1/card?resolution=29").status_code == 404


@pytest.mark.acceptance("P5")
@pytest.mark.parametrize(("temperature", "calibrated"), [(1.0, False), (1.7, True)])
def test_an_answer_says_whether_its_probabilities_were_calibrated(temperature, calibrated):
    name = ModelName("test", "null", 28, "0" * 64)
    answer = predict_label(np.arange(8, dtype=np.float32), temperature, LABELS, name, "id")
    assert answer.calibrated is calibrated
