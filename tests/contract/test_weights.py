from __future__ import annotations

import json
import math
import pickle
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from safetensors.numpy import save_file

from contract.errors import WeightsMismatch
from contract.weights import digest_of_weights, load_facts, load_weights, require_fit, save_weights


def test_what_was_saved_is_loaded_bit_for_bit_and_in_canonical_order(spec_of, weights_of, tmp_path: Path) -> None:
    spec = spec_of()
    weights = weights_of(spec)
    shuffled = dict(sorted(weights.items(), reverse=True))
    save_weights(tmp_path / "w.safetensors", shuffled, spec, {"epochs": 3})
    loaded = load_weights(tmp_path / "w.safetensors", spec)
    assert list(loaded) == list(spec.parameter_shapes())
    assert all(np.array_equal(loaded[name], weights[name]) for name in weights)
    assert load_facts(tmp_path / "w.safetensors") == {"epochs": 3}


def test_the_same_weights_are_the_same_bytes_every_time(spec_of, weights_of, tmp_path: Path) -> None:
    spec = spec_of()
    weights = weights_of(spec)
    for number in range(30):  # three metadata have six orders
        save_weights(tmp_path / f"{number}", weights, spec, {"text": "µ"})
    assert len({path.read_bytes() for path in tmp_path.iterdir()}) == 1
    assert load_facts(tmp_path / "0") == {"text": "µ"}


def test_arrays_that_are_not_contiguous_are_saved_as_they_look(spec_of, weights_of, tmp_path: Path) -> None:
    spec = spec_of()
    weights = weights_of(spec)
    kernel = weights["stem.kernel"]
    weights["stem.kernel"] = np.asfortranarray(kernel)
    save_weights(tmp_path / "w", weights, spec, {})
    np.testing.assert_array_equal(load_weights(tmp_path / "w", spec)["stem.kernel"], kernel)


@pytest.mark.parametrize(
    ("spoil", "message"),
    [
        (lambda w: w.pop("stem.kernel"), "needs 'stem.kernel'"),
        (lambda w: w.update(extra=np.zeros(1, np.float32)), "has no array 'extra'"),
        (lambda w: w.update({"head.bias": np.zeros(4, np.float32)}), r"head.bias is float32\[4\]"),
        (lambda w: w.update({"head.bias": np.zeros(3)}), r"head.bias is float64\[3\]"),
        (lambda w: w["head.bias"].__setitem__(0, np.nan), "head.bias holds NaN"),
        (lambda w: w["head.bias"].__setitem__(0, -np.inf), "head.bias holds NaN or infinity"),
    ],
    ids=["missing", "unknown", "shape", "type", "nan", "infinity"],
)
def test_weights_that_do_not_fit_are_refused_naming_the_array(
    spec_of, weights_of, tmp_path: Path, spoil, message: str
) -> None:
    spec = spec_of()
    weights = weights_of(spec)
    spoil(weights)
    with pytest.raises(WeightsMismatch, match=message):
        require_fit(weights, spec, "here")
    with pytest.raises(WeightsMismatch, match=message):
        save_weights(tmp_path / "w", weights, spec, {})
    assert list(tmp_path.iterdir()) == []
    save_file(weights, tmp_path / "w")
    with pytest.raises(WeightsMismatch, match=message):
        load_weights(tmp_path / "w", spec)


def test_a_pickle_is_not_opened(spec_of, tmp_path: Path) -> None:
    class Boom:
        def __reduce__(self) -> tuple[object, tuple[str]]:
            return exec, ("raise SystemExit('unpickled')",)

    (tmp_path / "w").write_bytes(pickle.dumps(Boom()))
    with pytest.raises(WeightsMismatch, match="not readable"):
        load_weights(tmp_path / "w", spec_of())


def test_a_missing_file_is_refused(spec_of, tmp_path: Path) -> None:
    for load in (lambda: load_weights(tmp_path / "w", spec_of()), lambda: load_facts(tmp_path / "w")):
        with pytest.raises(WeightsMismatch):
            load()


@given(cut=st.integers(0, 400))
def test_a_truncated_file_is_refused(spec_of, weights_of, tmp_path_factory: pytest.TempPathFactory, cut: int) -> None:
    path = tmp_path_factory.mktemp("cut") / "w"
    spec = spec_of()
    save_weights(path, weights_of(spec), spec, {})
    path.write_bytes(path.read_bytes()[: -1 - cut])
    with pytest.raises(WeightsMismatch):
        load_weights(path, spec)


def raw_safetensors(path: Path, header: dict[str, object], data: bytes = b"") -> Path:
    text = json.dumps(header).encode()
    path.write_bytes(len(text).to_bytes(8, "little") + text + data)
    return path


def test_weights_in_bfloat16_are_refused(spec_of, tmp_path: Path) -> None:
    header, end = {}, 0
    for name, shape in spec_of().parameter_shapes().items():
        begin, end = end, end + 2 * math.prod(shape)
        header[name] = {"dtype": "BF16", "shape": list(shape), "data_offsets": [begin, end]}
    # NumPy has no such type, unless JAX is in the process and has taught it.
    with pytest.raises(WeightsMismatch, match=r"not readable|is bfloat16"):
        load_weights(raw_safetensors(tmp_path / "w", header, bytes(end)), spec_of())


@pytest.mark.parametrize("facts", ["{", "3", "[]"])
def test_facts_that_are_no_json_object_are_refused(tmp_path: Path, facts: str) -> None:
    path = raw_safetensors(tmp_path / "w", {"__metadata__": {"facts": facts}})
    with pytest.raises(WeightsMismatch, match="facts"):
        load_facts(path)


def test_a_file_from_elsewhere_has_no_facts(tmp_path: Path) -> None:
    save_file({"a": np.zeros(1, np.float32)}, tmp_path / "w")
    assert load_facts(tmp_path / "w") == {}


def test_the_digest_is_of_values_and_not_of_order_or_layout(spec_of, weights_of) -> None:
    weights = weights_of(spec_of())
    again = {name: np.asfortranarray(array) for name, array in sorted(weights.items(), reverse=True)}
    assert digest_of_weights(weights) == digest_of_weights(again)


@given(index=st.integers(0, 10_000))
def test_any_changed_value_changes_the_digest(spec_of, weights_of, index: int) -> None:
    weights = weights_of(spec_of())
    before = digest_of_weights(weights)
    name = sorted(weights)[index % len(weights)]
    array = weights[name].reshape(-1)
    array[index % array.size] = np.nextafter(array[index % array.size], np.float32(9))
    assert digest_of_weights(weights) != before


def test_a_reshaped_array_has_another_digest() -> None:
    values = np.arange(6, dtype=np.float32)
    assert digest_of_weights({"a": values.reshape(2, 3)}) != digest_of_weights({"a": values.reshape(3, 2)})
