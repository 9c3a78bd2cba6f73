"""Tensors of the Open Inference Protocol, in this process."""

from __future__ import annotations

import json
import tracemalloc

import msgspec
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp

from serving.http.refusal import Refusal
from serving.protocol.tensors import (
    MAX_BATCH,
    MAX_DESCRIPTION_BYTES,
    encode_answer,
    images_of,
    outputs_wanted,
    split_body,
)

SIDE = 4  # no model has it; nothing here depends on which side it is
OUTPUTS = ("logits", "probabilities")
images_strategy = hnp.arrays(
    np.float32,
    st.tuples(st.integers(1, 3), st.just(SIDE), st.just(SIDE), st.just(3)),
    elements=st.floats(-16, 16, width=32),
)


def described(shape=(1, SIDE, SIDE, 3), name="images", datatype="FP32", **fields):
    return {"name": name, "shape": list(shape), "datatype": datatype, **fields}


def binary_body(images, **request):
    tensor = described(images.shape, parameters={"binary_data_size": images.nbytes})
    head = json.dumps({"inputs": [tensor], **request}).encode()
    return head + images.astype("<f4").tobytes(), [b"%d" % len(head)]


def json_body(*tensors, **request):
    return json.dumps({"inputs": tensors, **request}).encode()


def read(body, lengths=()):
    request, binary = split_body(body, lengths)
    return images_of(request, binary, "images", SIDE), outputs_wanted(request, OUTPUTS)


def refusal_of(body, lengths=()):
    with pytest.raises(Refusal) as caught:
        read(body, lengths)
    return caught.value.code


@given(images_strategy)
def test_binary_data_arrives_bit_for_bit(images):
    arrived, _ = read(*binary_body(images))
    assert arrived.tobytes() == images.tobytes()
    assert arrived.shape == images.shape
    assert arrived.flags.aligned
    assert arrived.flags.writeable


@given(images_strategy, st.booleans())
def test_json_numbers_arrive_as_they_were_flat_or_nested(images, flat):
    data = (images.ravel() if flat else images).tolist()
    arrived, _ = read(json_body(described(images.shape, data=data)))
    assert np.array_equal(arrived, images)


@given(hnp.arrays(np.float32, (3, 8), elements=st.floats(-1e6, 1e6, width=32)), st.booleans(), st.booleans())
def test_an_answer_can_be_read_back_whatever_is_binary_in_it(logits, first_binary, second_binary):
    tensors = {"logits": logits, "probabilities": -logits}
    binary = {"probabilities": first_binary, "logits": second_binary}
    body, length = encode_answer(("m", "1"), "id", tensors, binary, {})
    assert (length is None) == (not (first_binary or second_binary))
    answer, rest = json.loads(body[:length]), body[length:] if length else b""
    assert [output["name"] for output in answer["outputs"]] == list(binary)
    for output in answer["outputs"]:
        if size := output.get("parameters", {}).get("binary_data_size"):
            values, rest = np.frombuffer(rest[:size], "<f4"), rest[size:]
        else:
            values = np.array(output["data"], np.float32)
        assert np.array_equal(values.reshape(output["shape"]), tensors[output["name"]])
    assert rest == b""


@given(st.binary(max_size=200), st.lists(st.sampled_from([b"0", b"2", b"17", b"", b"x", b"9" * 20]), max_size=2))
def test_no_bytes_end_in_anything_but_a_refusal(body, lengths):
    assert refusal_of(body, lengths) in {"bad_request_body", "bad_tensor"}


json_values = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False) | st.text(max_size=5),
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text(max_size=5), inner, max_size=3),
    max_leaves=10,
)


@given(
    st.sampled_from(["name", "shape", "datatype", "parameters", "data", "inputs", "outputs", "id"]),
    json_values,
)
def test_no_json_value_anywhere_ends_in_anything_but_an_answer_or_a_refusal(field, value):
    tensor = described(data=[0.0] * 48)
    request = {"inputs": [tensor]}
    (request if field in ("inputs", "outputs", "id", "parameters") else tensor)[field] = value
    try:
        arrived, _ = read(json.dumps(request).encode())
    except Refusal as refusal:
        status = refusal.status
    else:
        status = 200
        assert arrived.shape == (1, SIDE, SIDE, 3)
    assert status in (200, 400, 413, 422)


@given(images_strategy, st.integers(1, 200))
def test_a_body_that_is_cut_anywhere_is_refused(images, cut):
    body, lengths = binary_body(images)
    assert refusal_of(body[: max(len(body) - cut, 0)], lengths) in {"bad_request_body", "bad_tensor"}


@pytest.mark.parametrize(
    "tensor",
    [
        described(name="image"),
        described(name="../etc/passwd"),
        described(datatype="UINT8"),
        described(datatype="fp32"),
        described((1, SIDE, SIDE, 1)),
        described((0, SIDE, SIDE, 3)),
        described((-1, SIDE, SIDE, 3)),
        described((-1, -SIDE, SIDE, 3)),
        described((1, 2**31, 2**31, 2**31)),
        described((2**64, SIDE, SIDE, 3)),
        described(),  # no data at all
        described(data=[0.0] * 47),
        described(data=[0.0] * 49),
        described(data=["0"] * 48),
        described(data=[None] * 48),
        described(data=[[0.0] * 48]),
        described(data=[[0.0] * 24] * 2),
        described(data="x" + "," * 47),
        described(data=[0.0] * 48, parameters={"binary_data_size": 192}),
        described(parameters={"shared_memory_region": "r", "binary_data_size": 192}),
    ],
)
def test_a_tensor_that_is_not_the_models_is_refused(tensor):
    if tensor["shape"][0] == 2**64:
        assert refusal_of(json_body(tensor)) == "batch_too_large"
    else:
        assert refusal_of(json_body(tensor)) == "bad_tensor"


def test_more_or_fewer_inputs_than_one_are_refused():
    tensor = described(data=[0.0] * 48)
    for tensors in ([], [tensor, tensor], [tensor, described(name="other", data=[0.0] * 48)]):
        assert refusal_of(json_body(*tensors)) == "bad_request_body"


def test_a_batch_may_have_as_many_images_as_is_written_and_no_more():
    arrived, _ = read(*binary_body(np.zeros((MAX_BATCH, SIDE, SIDE, 3), np.float32)))
    assert len(arrived) == MAX_BATCH
    assert refusal_of(*binary_body(np.zeros((MAX_BATCH + 1, SIDE, SIDE, 3), np.float32))) == "batch_too_large"


@pytest.mark.parametrize("value", [np.nan, np.inf, -np.inf, 3e38, 1e5, 255.0])
def test_a_value_that_is_not_finite_or_absurd_is_refused(value):
    images = np.zeros((2, SIDE, SIDE, 3), np.float32)
    images[1, 2, 3, 1] = value
    assert refusal_of(*binary_body(images)) == "value_out_of_range"


def test_pixels_that_were_not_scaled_are_refused_with_the_formula():
    pixels = np.random.default_rng(0).integers(0, 256, (1, SIDE, SIDE, 3)).astype(np.float32)
    with pytest.raises(Refusal, match=r"pixel / 127\.5 - 1"):
        read(*binary_body(pixels))


def test_a_json_number_too_large_for_float32_is_refused_without_a_warning():
    assert refusal_of(json_body(described(data=[1e300] + [0.0] * 47))) == "value_out_of_range"


@pytest.mark.parametrize("length", [b"-1", b"+5", b" 5", b"5_0", b"", b"1e2", b"0x10", b"9" * 20, b"4000"])
def test_a_length_that_lies_is_refused(length):
    body, _ = binary_body(np.zeros((1, SIDE, SIDE, 3), np.float32))
    assert refusal_of(body, [length]) == "bad_request_body"


def test_two_lengths_are_refused():
    body, lengths = binary_body(np.zeros((1, SIDE, SIDE, 3), np.float32))
    assert refusal_of(body, lengths * 2) == "bad_request_body"


def test_binary_data_that_nobody_claims_is_refused():
    head = json_body(described(data=[0.0] * 48))
    assert refusal_of(head + b"more", [b"%d" % len(head)]) == "bad_tensor"


def test_outputs_come_in_the_order_asked_for_and_each_may_be_binary_or_not():
    def wanted(outputs=None, **parameters):
        request = {"parameters": parameters, **({} if outputs is None else {"outputs": outputs})}
        return read(json_body(described(data=[0.0] * 48), **request))[1]

    assert wanted() == {"logits": False, "probabilities": False}
    assert wanted([], binary_data_output=True, priority=3, sequence_id="s") == {"logits": True, "probabilities": True}
    assert list(wanted([{"name": "probabilities"}, {"name": "logits"}])) == ["probabilities", "logits"]
    one = [{"name": "logits", "parameters": {"binary_data": False, "custom": [1]}}]
    assert wanted(one, binary_data_output=True) == {"logits": False}


@pytest.mark.parametrize(
    "outputs",
    [
        [{"name": "other"}],
        [{"name": "logits"}, {"name": "logits"}],
        [{"name": "logits", "parameters": {"classification": 3}}],
        [{"name": "logits", "parameters": {"shared_memory_region": "r"}}],
    ],
)
def test_an_output_that_is_not_offered_is_refused(outputs):
    assert refusal_of(json_body(described(data=[0.0] * 48), outputs=outputs)) == "bad_tensor"


def test_an_endless_id_or_list_of_outputs_or_description_is_refused():
    tensor = described(data=[0.0] * 48)
    assert refusal_of(json_body(tensor, id="x" * 257)) == "bad_request_body"
    assert refusal_of(json_body(tensor, outputs=[{"name": "logits"}] * 10_000)) == "bad_request_body"
    body, _ = binary_body(np.zeros((1, SIDE, SIDE, 3), np.float32))
    padded = body[:1] + b" " * MAX_DESCRIPTION_BYTES + body[1:]
    assert refusal_of(padded, [b"%d" % (MAX_DESCRIPTION_BYTES + 1)]) == "bad_request_body"


@pytest.mark.parametrize("deep", [b"[" * 200_000, b'{"inputs":' + b'{"a":' * 200_000])
def test_nesting_without_end_is_refused(deep):
    assert refusal_of(deep) == "bad_request_body"


def test_a_claim_of_many_numbers_takes_no_memory_before_it_is_counted():
    lies = msgspec.json.encode({"inputs": [described(data=[0] * 1_000_000)]})
    huge = json_body(described((1, 2**31, 2**31, 3), data=[0.0]))
    tracemalloc.start()
    try:
        assert refusal_of(lies) == refusal_of(huge) == "bad_tensor"
        assert tracemalloc.get_traced_memory()[1] < 2 * len(lies)
    finally:
        tracemalloc.stop()
