"""The Open Inference Protocol's paths in this process, where a model can be made to misbehave."""

from __future__ import annotations

import asyncio
import hashlib
import json
import time
from dataclasses import replace
from urllib.parse import unquote

import httpx
import numpy as np
import pytest
from msgspec.structs import replace as replace_struct

from contract.blood_cells import LABELS, NOTICE
from contract.timing import PARTS, TIMING_HEADER, TOTAL, parse_server_timing
from serving.answers import ModelName
from serving.http.door import Door
from serving.http.endpoints import Endpoints
from serving.inference.classifier import EXECUTION_SIZES, Classifier, ServedModel
from serving.inference.devices import CPU
from serving.protocol.open_inference import execution_sizes
from serving.protocol.tensors import MAX_BATCH
from serving.runtimes.null import NullRuntime
from serving.settings import ServiceSettings

INFER = "/v2/models/test-28px/infer"


class Model:
    """A model that does what the test says."""

    def __init__(self, predict):
        self.predict = predict


def constant_logits(images):
    return np.tile(np.arange(len(LABELS), dtype=np.float32), (len(images), 1))


def closed(**settings):
    return Endpoints(ServiceSettings(runtime="null", **settings))


def opened(predict=constant_logits, temperature=1.0, **settings):
    endpoints = closed(**settings)
    models = {
        side: ServedModel(
            name=ModelName("test", "null", side, "0" * 64), model=Model(predict), labels=LABELS, temperature=temperature
        )
        for side in (28, 64)
    }
    endpoints.open(Classifier(NullRuntime(CPU, 1), models, {}))
    return endpoints


def client_of(endpoints):
    return httpx.AsyncClient(transport=httpx.ASGITransport(app=Door(endpoints.routes())), base_url="http://service")


def ask(endpoints, method, path, **options):
    async def scenario():
        async with client_of(endpoints) as client:
            return await client.request(method, path, **options)

    return asyncio.run(scenario())


def get(endpoints, path):
    return ask(endpoints, "GET", path)


def tensor_of(images):
    return {"name": "images", "datatype": "FP32", "shape": list(images.shape)}


def json_request(images, **fields):
    return {"inputs": [{**tensor_of(images), "data": images.ravel().tolist()}], **fields}


def binary_request(images, **fields):
    tensor = {**tensor_of(images), "parameters": {"binary_data_size": images.nbytes}}
    head = json.dumps({"inputs": [tensor], **fields}).encode()
    return {"content": head + images.tobytes(), "headers": {"Inference-Header-Content-Length": str(len(head))}}


def blank(images=1, side=28):
    return np.zeros((images, side, side, 3), np.float32)


def infer(endpoints, images=None, path=INFER, **fields):
    return ask(endpoints, "POST", path, json=json_request(blank() if images is None else images, **fields))


def error_of(response):
    answer = response.json()
    assert answer.keys() == {"error", "code", "request_id"}
    assert isinstance(answer["error"], str)
    assert answer["request_id"] == response.headers["X-Request-Id"]
    return response.status_code, answer["code"]


@pytest.mark.acceptance("F4")
def test_before_the_models_are_loaded_the_service_is_alive_and_not_ready():
    endpoints = closed()
    assert get(endpoints, "/v2/health/live").json() == {"live": True}
    assert error_of(get(endpoints, "/v2/health/ready")) == (503, "starting")
    assert error_of(get(endpoints, "/v2/models/stats")) == (503, "starting")
    assert error_of(ask(endpoints, "POST", "/v2/repository/index")) == (503, "starting")
    assert get(endpoints, "/v2").json()["extensions"] == ["binary_tensor_data", "statistics", "model_configuration"]


def test_the_paths_of_the_models_join_a_door_that_stands_already():
    endpoints = closed()
    door = Door(endpoints.routes())
    endpoints.open(Classifier(NullRuntime(CPU, 1), opened()._classifier.models, {}))

    async def scenario():
        async with httpx.AsyncClient(transport=httpx.ASGITransport(app=door), base_url="http://service") as client:
            return await client.get("/v2/models/test-28px/ready")

    assert asyncio.run(scenario()).json() == {"name": "test-28px", "ready": True}


def test_a_service_that_stops_refuses_what_is_new():
    endpoints = opened()
    endpoints.refuse_new()
    assert error_of(get(endpoints, "/v2/health/ready")) == (503, "stopping")
    assert error_of(infer(endpoints)) == (503, "stopping")
    assert get(endpoints, "/v2/health/live").status_code == 200


@pytest.mark.acceptance("P1")
def test_an_answer_names_its_model_and_says_what_it_is_not_for():
    response = infer(opened(), id="my-42")
    answer = response.json()
    assert (answer["model_name"], answer["model_version"], answer["id"]) == ("test-28px", "1", "my-42")
    assert answer["parameters"] == {"digest": "0" * 64, "notice": NOTICE}
    logits, probabilities = answer["outputs"]
    assert logits == {"name": "logits", "datatype": "FP32", "shape": [1, 8], "data": [*map(float, range(8))]}
    assert probabilities["name"] == "probabilities"
    assert sum(probabilities["data"]) == pytest.approx(1, abs=1e-5)


def test_the_temperature_softens_the_probabilities_and_leaves_the_logits():
    sharp, soft = (infer(opened(temperature=t)).json()["outputs"] for t in (1.0, 5.0))
    assert sharp[0] == soft[0]
    assert max(sharp[1]["data"]) > max(soft[1]["data"]) > 1 / len(LABELS)


def test_the_parts_of_the_time_are_in_the_header_and_in_the_metrics():
    endpoints = opened()
    response = infer(endpoints, blank(7))
    parts = parse_server_timing(response.headers[TIMING_HEADER])
    assert set(parts) == {*PARTS, TOTAL}
    assert sum(parts[part] for part in PARTS) == parts[TOTAL]
    metrics = get(endpoints, "/metrics").text
    assert 'hemabench_requests_total{code="ok",resolution="28",status="200"} 1.0' in metrics
    assert 'hemabench_request_part_seconds_count{part="infer",resolution="28"} 1.0' in metrics


def test_a_request_is_inferred_in_pieces_of_warmed_sizes_and_answered_in_order():
    seen = []

    def predict(images):
        seen.append(len(images))
        return images[:, 0, 0, :1] * np.ones(len(LABELS), np.float32)

    images = blank(15)
    images[:, 0, 0, 0] = np.arange(15) / 15
    logits = np.array(infer(opened(predict), images).json()["outputs"][0]["data"]).reshape(15, 8)
    assert seen == [8, 4, 2, 1]
    np.testing.assert_allclose(logits[:, 0], np.arange(15) / 15, rtol=1e-6)


@pytest.mark.parametrize("images", range(1, MAX_BATCH + 1))
def test_pieces_add_up_and_have_no_other_size(images):
    sizes = execution_sizes(images)
    assert sum(sizes) == images
    assert set(sizes) <= set(EXECUTION_SIZES)


def test_the_statistics_count_requests_executions_and_images():
    endpoints = opened()
    infer(endpoints, blank(7))
    infer(endpoints)
    infer(endpoints, blank(1, 64))  # of the other model's shape
    (stats,) = get(endpoints, "/v2/models/test-28px/stats").json()["model_stats"]
    assert (stats["name"], stats["version"]) == ("test-28px", "1")
    assert (stats["inference_count"], stats["execution_count"]) == (8, 4)
    kinds = stats["inference_stats"]
    assert {kind: kinds[kind]["count"] for kind in kinds} == {
        **{"success": 2, "fail": 1, "queue": 2, "compute_input": 2, "compute_infer": 2, "compute_output": 2},
        **{"cache_hit": 0, "cache_miss": 0},
    }
    parts_ns = sum(kinds[kind]["ns"] for kind in ("queue", "compute_input", "compute_infer", "compute_output"))
    assert 0 < parts_ns <= kinds["success"]["ns"]
    batches = {batch["batch_size"]: batch["compute_infer"]["count"] for batch in stats["batch_stats"]}
    assert batches == {4: 1, 2: 1, 1: 2}
    assert sum(batch["compute_infer"]["ns"] for batch in stats["batch_stats"]) == kinds["compute_infer"]["ns"]
    every = get(endpoints, "/v2/models/stats").json()["model_stats"]
    assert [model["name"] for model in every] == ["test-28px", "test-64px"]
    assert every[1]["inference_stats"]["success"]["count"] == 0


def test_a_newer_model_begins_its_statistics_anew_and_the_others_go_on():
    endpoints = opened()
    before = endpoints._classifier
    for side in (28, 64):
        assert infer(endpoints, blank(1, side), f"/v2/models/test-{side}px/infer").status_code == 200
    newer = replace(before.models[28], name=replace_struct(before.models[28].name, digest="1" * 64))
    begun = endpoints.routes()[INFER]["POST"]
    asyncio.run(endpoints.replace(replace(before, models=before.models | {28: newer}), 0))
    assert images_counted(endpoints) == [0, 1]
    assert infer(endpoints).json()["parameters"]["digest"] == "1" * 64
    assert images_counted(endpoints) == [1, 1]
    endpoints.routes()[INFER]["POST"] = begun  # as a request that is in it already
    assert infer(endpoints).json()["parameters"]["digest"] == "0" * 64
    assert images_counted(endpoints) == [1, 1]


def images_counted(endpoints):
    every = get(endpoints, "/v2/models/stats").json()["model_stats"]
    each = [get(endpoints, f"/v2/models/test-{side}px/stats").json()["model_stats"][0] for side in (28, 64)]
    assert every == each
    return [model["inference_count"] for model in every]


@pytest.mark.acceptance("A5")
@pytest.mark.parametrize("wrong", [np.nan, np.inf, -np.inf])
def test_a_number_that_is_not_finite_is_never_an_answer(wrong):
    def predict(images):
        logits = constant_logits(images)
        logits[0, 3] = wrong
        return logits

    assert error_of(infer(opened(predict))) == (500, "model_output_invalid")


@pytest.mark.acceptance("F6")
def test_an_error_in_the_model_is_a_500_without_a_word_of_it_and_the_next_request_is_answered():
    calls = []

    def predict(images):
        calls.append(images)
        if len(calls) == 1:
            raise RuntimeError("a path: /etc/secret")
        return constant_logits(images)

    endpoints = opened(predict)
    first = infer(endpoints)
    assert error_of(first) == (500, "internal")
    assert "secret" not in first.text
    assert infer(endpoints).status_code == 200
    assert get(endpoints, "/v1/models").json()["service"]["requests"]["failed"] == 1


@pytest.mark.acceptance("O1")
@pytest.mark.acceptance("O6")
def test_into_a_full_service_exactly_the_surplus_is_refused_and_the_probes_answer():
    async def scenario():
        async with client_of(opened(line_limit=5)) as client:
            posts = [client.post(INFER, json=json_request(blank())) for _ in range(12)]
            probes = [client.get(f"/v2/health/{kind}") for kind in ("live", "ready")]
            *responses, live, ready = await asyncio.gather(*posts, *probes)
        assert live.status_code == ready.status_code == 200
        refused = [response for response in responses if response.status_code == 503]
        assert len(refused) == 7
        assert all(error_of(response) == (503, "overloaded") for response in refused)
        assert all(response.headers["Retry-After"] == "1" for response in refused)
        assert all(response.status_code == 200 for response in responses if response not in refused)

    asyncio.run(scenario())


@pytest.mark.acceptance("A1")
@pytest.mark.acceptance("A2")
@pytest.mark.parametrize(
    "kind",
    ["application/vnd.bentoml+pickle", "Application/Vnd.BentoML+Pickle;x=1", "application/x-www-form-urlencoded"],
)
def test_a_body_of_another_kind_is_refused_unread(kind):
    response = ask(opened(), "POST", INFER, content=b"http://127.0.0.1/", headers={"Content-Type": kind})
    assert error_of(response) == (415, "unsupported_media_type")
    index = ask(opened(), "POST", "/v2/repository/index", content=b"x", headers={"Content-Type": kind})
    assert error_of(index) == (415, "unsupported_media_type")


@pytest.mark.acceptance("A3")
def test_bodies_have_a_limit_of_their_own_and_are_not_decompressed():
    endpoints = opened(max_body_bytes=1_000, max_tensor_bytes=100_000)
    assert ask(endpoints, "POST", INFER, **binary_request(blank(7))).status_code == 200
    assert error_of(ask(endpoints, "POST", INFER, content=bytes(100_001))) == (413, "body_too_large")
    zipped = ask(endpoints, "POST", INFER, content=b"x", headers={"Content-Encoding": "gzip"})
    assert error_of(zipped) == (415, "unsupported_encoding")


@pytest.mark.acceptance("A7")
@pytest.mark.parametrize(
    "name",
    [
        "..",
        "../etc",
        "a/../b",
        "/etc/passwd",
        "%20..",
        "test-28px%2f",
        "%00",
        "..%2f..%2fetc%2fpasswd",
        "",
        "TEST-28PX",
    ],
)
@pytest.mark.parametrize("rest", ["", "/ready", "/config", "/stats", "/infer", "/versions/1", "/versions/..%2f1/infer"])
def test_a_name_that_no_model_has_is_not_found_and_reads_nothing(name, rest):
    if (name, rest) == ("", "/stats"):
        name = "/"  # an empty name would be the statistics of all models
    sent = asked_as_it_stands(opened(), "POST" if rest.endswith("infer") else "GET", f"/v2/models/{name}{rest}")
    assert sent[0]["status"] == 404
    assert json.loads(sent[1]["body"])["code"] == "not_found"
    assert b"etc" not in sent[1]["body"]


def asked_as_it_stands(endpoints, method, path):
    """What the door sends; every HTTP client would tidy such a path up first."""
    sent = []

    async def send(message):
        sent.append(message)

    async def receive():
        return {"type": "http.request"}

    scope = {"type": "http", "method": method, "path": unquote(path), "query_string": b"", "headers": []}
    asyncio.run(Door(endpoints.routes())(scope, receive, send))
    return sent


def test_another_version_or_method_is_refused_in_the_protocols_own_form():
    endpoints = opened()
    assert get(endpoints, "/v2/models/test-28px/versions/1").json()["name"] == "test-28px"
    assert infer(endpoints, path="/v2/models/test-28px/versions/1/infer").status_code == 200
    assert error_of(infer(endpoints, path="/v2/models/test-28px/versions/2/infer")) == (404, "not_found")
    assert error_of(get(endpoints, INFER)) == (405, "method_not_allowed")
    assert error_of(ask(endpoints, "POST", "/v2")) == (405, "method_not_allowed")
    assert "code" in get(endpoints, "/v2x").json()["error"]


@pytest.mark.acceptance("P3")
@pytest.mark.parametrize("binary", [True, False])
def test_each_image_of_a_tensor_has_its_line_in_the_audit_log(binary, tmp_path):
    path = tmp_path / "audit.jsonl"
    endpoints = opened(audit_log=path)
    images = np.random.default_rng(1).uniform(-1, 1, (3, 28, 28, 3)).astype(np.float32)
    request = binary_request(images, parameters={"binary_data_output": True})
    response = ask(endpoints, "POST", INFER, **(request if binary else {"json": json_request(images)}))
    infer(endpoints, blank(1, 64))
    *lines, refused = [json.loads(line) for line in path.read_text().splitlines()]
    assert [line["input"] for line in lines] == [hashlib.sha256(image.tobytes()).hexdigest() for image in images]
    assert {line["request_id"] for line in lines} == {response.headers["X-Request-Id"]}
    assert {(line["label"], line["status"], line["digest"]) for line in lines} == {(LABELS[-1], 200, "0" * 64)}
    assert (refused["status"], refused["code"], refused["input"]) == (400, "bad_tensor", None)


@pytest.mark.acceptance("P2")
def test_a_request_leaves_nothing_of_itself_in_metrics_or_errors():
    endpoints = opened()
    for request in ({"inputs": [{"name": "FAKE-P"}]}, json_request(blank()) | {"inputs": "FAKE-P"}, "FAKE-P"):
        assert "FAKE-P" not in ask(endpoints, "POST", INFER, json=request).text
    tensor = {"name": "FAKE-P", "datatype": "FAKE-P", "shape": [1, 28, 28, 3], "data": ["FAKE-P"]}
    assert "FAKE-P" not in ask(endpoints, "POST", INFER, json={"inputs": [tensor], "FAKE-P": 1}).text
    assert "FAKE" not in get(endpoints, "/metrics").text


def test_with_batching_those_who_come_together_are_inferred_together(open_endpoints):
    sizes = []

    def predict(images):
        sizes.append(len(images))
        logits = np.zeros((len(images), 8), np.float32)
        logits[:, 0] = images[:, 0, 0, 0]
        return logits

    values = [0.25, -0.5, 0.75]

    async def scenario():
        transport = httpx.ASGITransport(app=Door(open_endpoints(predict, batching=True).routes()))
        async with httpx.AsyncClient(transport=transport, base_url="http://service", timeout=30) as client:
            return await asyncio.gather(
                *(
                    client.post(
                        "/v2/models/test-28px/infer",
                        json={
                            "inputs": [
                                {
                                    "name": "images",
                                    "datatype": "FP32",
                                    "shape": [1, 28, 28, 3],
                                    "data": [value] * (28 * 28 * 3),
                                }
                            ]
                        },
                    )
                    for value in values
                )
            )

    responses = asyncio.run(scenario())
    assert [response.json()["outputs"][0]["data"][0] for response in responses] == values
    assert len(sizes) < len(values)
    assert set(sizes) <= {1, 2, 4, 8, 16}
    for response in responses:
        assert int(response.headers["Server-Timing"].split('batch;desc="')[1].rstrip('"')) >= 1


@pytest.mark.acceptance("O8")
@pytest.mark.parametrize("gone", [False, True])
def test_one_who_left_while_waiting_is_not_inferred_for_and_counts_as_aborted(gone):
    seen = []

    def predict(images):
        seen.append(len(images))
        time.sleep(0.02)  # a real wait in place of a large network
        return constant_logits(images)

    endpoints = opened(predict)

    async def scenario():
        async with client_of(endpoints) as client:
            first = asyncio.create_task(client.post(INFER, json=json_request(blank())))
            await asyncio.sleep(0)
            sent = await sent_to_one_behind(endpoints, binary_request(blank(3)), gone=gone)
            assert (await first).status_code == 200
            totals = (await client.get("/v1/models")).json()["service"]["requests"]
            return sent, totals, (await client.get("/v2/models/test-28px/stats")).json()["model_stats"][0]

    sent, totals, stats = asyncio.run(scenario())
    assert bool(sent) is not gone
    assert seen == ([1] if gone else [1, 2, 1])
    assert (totals["ok"], totals["aborted"]) == ((1, 1) if gone else (2, 0))
    counts = {kind: stats["inference_stats"][kind]["count"] for kind in ("success", "fail")}
    assert counts == ({"success": 1, "fail": 1} if gone else {"success": 2, "fail": 0})
    assert stats["inference_count"] == sum(seen)


async def sent_to_one_behind(endpoints, request, *, gone):
    """What is sent to a client that is there no more after its body where ``gone``."""
    messages = [{"type": "http.request", "body": request["content"], "more_body": False}]
    sent = []

    async def receive():
        if messages:
            return messages.pop()
        if not gone:
            await asyncio.Event().wait()
        return {"type": "http.disconnect"}

    async def send(message):
        sent.append(message)

    headers = [(name.lower().encode(), value.encode()) for name, value in request["headers"].items()]
    scope = {"type": "http", "path": INFER, "method": "POST", "query_string": b"", "headers": headers}
    await Door(endpoints.routes())(scope, receive, send)
    return sent
