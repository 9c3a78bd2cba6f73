"""Probabilities and the bytes that carry them."""

from __future__ import annotations

import numpy as np
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays

from contract.blood_cells import LABELS
from serving.answers import Answer, ModelName, decode_json, encode_json, predict_label, probabilities_of, with_timing

finite = st.floats(-1e4, 1e4, width=32)
logits_arrays = arrays(np.float32, len(LABELS), elements=finite)


@given(logits_arrays, st.floats(0.05, 20))
def test_probabilities_are_the_softmax_of_the_logits_over_the_temperature(logits, temperature):
    exact = logits.astype(np.float64) / temperature
    expected = np.exp(exact - exact.max())
    probabilities = probabilities_of(logits, temperature)
    np.testing.assert_allclose(probabilities, expected / expected.sum(), rtol=1e-9, atol=1e-300)
    assert abs(sum(probabilities) - 1) < 1e-9


@given(logits_arrays, st.lists(st.integers(0, 10**12), min_size=2, max_size=7, unique=True))
def test_an_answer_survives_its_encoding_to_the_nanosecond(logits, durations):
    prediction = predict_label(logits, 1.0, LABELS, ModelName("m", "onnx", 28, "d"), "id-1")
    parts_ns = {f"part{number}": duration for number, duration in enumerate(durations)}
    answer = decode_json(with_timing(encode_json(prediction), parts_ns), type=Answer)
    assert {name: round(value * 1e6) for name, value in answer.timing_ms.items()} == parts_ns
    assert answer.probabilities == prediction.probabilities
    assert answer.label == LABELS[answer.class_index]
    assert answer.class_index == int(np.argmax([answer.probabilities[label] for label in LABELS]))
