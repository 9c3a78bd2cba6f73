"""The public client of the Open Inference Protocol, as it comes, against a running service of every runtime."""

from __future__ import annotations

import io
import subprocess
import sys
from pathlib import Path

import httpx
import numpy as np
import pytest
import tritonclient.http as triton
from PIL import Image
from tritonclient.utils import InferenceServerException

from contract.blood_cells import LABELS
from contract.timing import TIMING_HEADER

HERE = Path(__file__).parent
TOLERANCE = {"rtol": 1e-5, "atol": 1e-5}


def model_of(settings, side):
    return f"{'null' if settings.runtime == 'null' else 'tiny'}-{side}px"


def images_of(count, side, seed=0):
    return np.random.default_rng(seed).uniform(-1, 1, (count, side, side, 3)).astype(np.float32)


@pytest.fixture(scope="session")
def offline(runtime_settings, tmp_path_factory):
    """``(images, logits)`` by side: seven images, and what the runtime makes of them without a service."""
    folder, found = tmp_path_factory.mktemp("offline"), {}
    for side in runtime_settings.resolutions_px:
        images, logits = folder / f"images-{side}.npy", folder / f"logits-{side}.npy"
        np.save(images, images_of(7, side))
        arguments = (runtime_settings.runtime, runtime_settings.artifacts, side, images, logits)
        command = [sys.executable, str(HERE / "predict_tiny.py"), *map(str, arguments)]
        subprocess.run(command, check=True, capture_output=True)
        found[side] = np.load(images), np.load(logits)
    return found


@pytest.fixture
def client(service):
    with triton.InferenceServerClient(service.url.removeprefix("http://")) as connected:
        yield connected


def input_of(images, *, binary, name="images", datatype="FP32", shape=None):
    tensor = triton.InferInput(name, list(shape or images.shape), datatype)
    tensor.set_data_from_numpy(images, binary_data=binary)
    return tensor


def infer(client, model, images, *, binary_in=True, binary_out=True, **options):
    outputs = [triton.InferRequestedOutput(name, binary_data=binary_out) for name in ("logits", "probabilities")]
    return client.infer(model, [input_of(images, binary=binary_in)], outputs=outputs, **options)


def test_the_server_and_its_models_are_live_and_ready(client, runtime_settings):
    assert client.is_server_live()
    assert client.is_server_ready()
    for side in runtime_settings.resolutions_px:
        assert client.is_model_ready(model_of(runtime_settings, side))
        assert client.is_model_ready(model_of(runtime_settings, side), "1")
    assert not client.is_model_ready("another")
    assert not client.is_model_ready(model_of(runtime_settings, 28), "2")


def test_metadata_configuration_and_index_say_what_the_model_takes_and_gives(client, runtime_settings):
    name = model_of(runtime_settings, 64)
    assert "binary_tensor_data" in client.get_server_metadata()["extensions"]
    metadata = client.get_model_metadata(name)
    assert metadata["inputs"] == [{"name": "images", "datatype": "FP32", "shape": [-1, 64, 64, 3]}]
    assert metadata["outputs"][0] == {"name": "logits", "datatype": "FP32", "shape": [-1, len(LABELS)]}
    assert metadata["parameters"]["labels"].split(",") == list(LABELS)
    assert metadata["platform"].startswith(runtime_settings.runtime)
    configuration = client.get_model_config(name)
    assert configuration["max_batch_size"] == 32
    assert configuration["input"][0]["dims"] == [64, 64, 3]
    assert [entry["name"] for entry in client.get_model_repository_index()] == [
        model_of(runtime_settings, side) for side in runtime_settings.resolutions_px
    ]


@pytest.mark.parametrize("side", [28, 64])
@pytest.mark.parametrize("count", [1, 7])
@pytest.mark.parametrize("binary_in", [True, False])
@pytest.mark.parametrize("binary_out", [True, False])
def test_logits_are_those_of_the_runtime_without_a_service(
    client, runtime_settings, offline, side, count, binary_in, binary_out
):
    images, logits = offline[side]
    name = model_of(runtime_settings, side)
    answer = infer(client, name, images[:count], binary_in=binary_in, binary_out=binary_out, request_id="id-1")
    np.testing.assert_allclose(answer.as_numpy("logits"), logits[:count], **TOLERANCE)
    probabilities = answer.as_numpy("probabilities")
    weights = np.exp(logits[:count].astype(np.float64) - logits[:count].max(axis=1, keepdims=True))
    np.testing.assert_allclose(probabilities, weights / weights.sum(axis=1, keepdims=True), atol=1e-5)
    assert answer.get_response()["id"] == "id-1"
    assert answer.get_response()["model_name"] == name
    assert answer.get_response()["model_version"] == "1"


def test_without_wanted_outputs_all_of_them_come_as_binary_data(client, runtime_settings):
    images = images_of(2, 28)
    answer = client.infer(model_of(runtime_settings, 28), [input_of(images, binary=True)], model_version="1")
    sizes = [output["parameters"] for output in answer.get_response()["outputs"]]
    assert sizes == [{"binary_data_size": 64}] * 2
    assert answer.as_numpy("logits").shape == answer.as_numpy("probabilities").shape == (2, 8)


def test_the_client_may_send_parameters_that_mean_nothing_here(client, runtime_settings):
    options = {"sequence_id": 3, "sequence_start": True, "priority": 2, "timeout": 1_000, "parameters": {"mine": "x"}}
    assert infer(client, model_of(runtime_settings, 28), images_of(1, 28), **options).as_numpy("logits").shape == (1, 8)


def test_requests_in_parallel_are_each_answered_with_their_own(service, runtime_settings, offline):
    images, logits = offline[28]
    url = service.url.removeprefix("http://")
    with triton.InferenceServerClient(url, concurrency=7) as client:
        model = model_of(runtime_settings, 28)
        pending = [client.async_infer(model, [input_of(images[i : i + 1], binary=True)]) for i in range(7)]
        found = np.concatenate([request.get_result().as_numpy("logits") for request in pending])
    np.testing.assert_allclose(found, logits, **TOLERANCE)


def refusal_of(client, model, tensor, outputs=None):
    with pytest.raises(InferenceServerException) as caught:
        client.infer(model, [tensor] if isinstance(tensor, triton.InferInput) else tensor, outputs=outputs)
    assert str(caught.value).startswith(f"[{caught.value.status()}] ")  # the client takes the error for text
    return int(caught.value.status()), caught.value.message()


@pytest.mark.acceptance("A7")
def test_a_wrong_name_datatype_or_shape_is_refused_in_words(client, runtime_settings):
    model, images = model_of(runtime_settings, 28), images_of(1, 28)
    right = input_of(images, binary=True)
    status, message = refusal_of(client, model, input_of(images, binary=True, name="pixels"))
    assert (status, "'images'" in message) == (400, True)
    status, message = refusal_of(client, model, input_of(images.astype(np.float64), binary=True, datatype="FP64"))
    assert (status, "FP32" in message) == (400, True)
    for binary in (True, False):
        status, message = refusal_of(client, model, input_of(images_of(1, 32), binary=binary))
        assert (status, "[n, 28, 28, 3]" in message) == (400, True)
    assert refusal_of(client, model, [right, right])[0] == 400
    status, message = refusal_of(client, model, right, [triton.InferRequestedOutput("labels")])
    assert (status, "logits" in message) == (400, True)
    assert refusal_of(client, model, input_of(images_of(33, 28), binary=True))[0] == 413
    assert refusal_of(client, model, input_of(np.full_like(images, np.nan), binary=True))[0] == 422
    for name in ("another", "../etc/passwd", "tiny-28px/..", "%2e%2e", "tiny-28px\0"):
        assert refusal_of(client, name, right)[0] == 404


def test_the_statistics_grow_by_what_was_asked(client, runtime_settings):
    name = model_of(runtime_settings, 64)

    def statistics():
        (model,) = client.get_inference_statistics(name)["model_stats"]
        stats = model["inference_stats"]
        return model["inference_count"], stats["success"]["count"], stats["fail"]["count"], stats["compute_infer"]["ns"]

    before = statistics()
    infer(client, name, images_of(7, 64))
    refusal_of(client, name, input_of(images_of(1, 28), binary=True))
    grown = np.subtract(statistics(), before)
    assert grown[:3].tolist() == [7, 1, 1]
    assert grown[3] > 0
    assert len(client.get_inference_statistics()["model_stats"]) == len(runtime_settings.resolutions_px)


def test_no_size_of_a_batch_meets_a_compilation(client, service, runtime_settings):
    counted = service.metric("hemabench_compilations_after_ready_total")
    for count in (*range(1, 9), 32):
        assert infer(client, model_of(runtime_settings, 28), images_of(count, 28)).as_numpy("logits").shape[0] == count
    assert service.metric("hemabench_compilations_after_ready_total") == counted == 0


def test_the_two_doors_agree_and_both_carry_the_timing(service, runtime_settings, cell_png):

    pixels = np.asarray(Image.open(io.BytesIO(cell_png)).convert("RGB"), np.float32)
    tensor = {"name": "images", "datatype": "FP32", "shape": [1, 28, 28, 3]}
    request = {"inputs": [{**tensor, "data": (pixels / 127.5 - 1)[np.newaxis].tolist()}]}
    name = model_of(runtime_settings, 28)
    by_tensor = httpx.post(f"{service.url}/v2/models/{name}/infer", json=request)
    by_image = httpx.post(f"{service.url}/v1/classify?resolution=28", files={"image": cell_png}).json()
    probabilities = by_tensor.json()["outputs"][1]["data"]
    np.testing.assert_allclose(probabilities, list(by_image["probabilities"].values()), atol=1e-5)
    assert TIMING_HEADER in by_tensor.headers
