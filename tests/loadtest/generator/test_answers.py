from __future__ import annotations

import json

import pytest
from hypothesis import given
from hypothesis import strategies as st

from contract.blood_cells import LABELS
from loadtest.generator.answers import BAD_ANSWER, read_answer

json_values = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False, allow_infinity=False) | st.text(),
    lambda inner: st.lists(inner) | st.dictionaries(st.text(), inner),
)


@given(st.integers(100, 599), st.binary())
def test_any_answer_is_a_class_or_a_failure_and_never_both(status: int, body: bytes) -> None:
    answered, failure = read_answer(status, body)
    assert (answered is None) != (failure is None)


@given(
    st.integers(0, len(LABELS) - 1), st.dictionaries(st.text().filter(lambda key: key != "class_index"), json_values)
)
def test_the_class_is_found_whatever_stands_around_it(index: int, rest: dict[str, object]) -> None:
    assert read_answer(200, json.dumps(rest | {"class_index": index}).encode()) == (index, None)


@given(st.integers(100, 599).filter(lambda status: status != 200))
def test_any_other_status_is_a_failure_even_with_a_class_in_it(status: int) -> None:
    assert read_answer(status, b'{"class_index": 1}') == (None, f"http_{status}")


@pytest.mark.parametrize(
    "body",
    [
        b"",
        b"{}",
        b"null",
        b'{"label": "ig"}',
        b'{"class_index": "3"}',
        b'{"class_index": true}',
        b'{"class_index": 2.5}',
        b'{"class_index": -1}',
        b'{"class_index": 256}',
        b'{"class_index": 3',
        b"\xff\xfe",
    ],
)
def test_a_positive_answer_without_a_class_is_a_failure(body: bytes) -> None:
    assert read_answer(200, body) == (None, BAD_ANSWER)
