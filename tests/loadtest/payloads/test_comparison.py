"""The four forms, at the real service, for a moment."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import msgspec
import numpy as np
import pytest

from contract.errors import InvalidSettings, ServiceFailed
from contract.preprocessing import scale_pixels
from contract.records.payloads import JPEG, NUMBERS, PNG, TENSOR
from loadtest.payloads.comparison import FORMS, PayloadPlan, as_numbers, as_tensor, compare_payloads

ROOT = Path(__file__).parents[3]
PIXELS = np.random.default_rng(0).integers(0, 256, (28, 28, 3), dtype=np.uint8)


def plan(artifacts: Path, dataset: Path, **changes: object) -> PayloadPlan:
    brief = {"rounds": 2, "window_s": 0.1, "warmup_s": 0.05}
    return PayloadPlan(**{"artifacts": artifacts, "datasets": {28: dataset}} | brief | changes)


@pytest.mark.timeout(120)
def test_the_service_takes_every_form_in_every_round(
    noise_folder: Path, tmp_path: Path, tmp_path_factory: pytest.TempPathFactory
) -> None:
    pytest.importorskip("onnx", reason="the extra 'onnx' is not installed")
    artifacts = tmp_path_factory.mktemp("artifacts")
    script = ROOT / "tests" / "serving" / "export_tiny.py"
    subprocess.run([sys.executable, str(script), "onnx", str(artifacts), "28"], check=True, capture_output=True)
    comparison = compare_payloads(plan(artifacts, noise_folder), tmp_path, command="a test")
    assert {(window.form, window.round) for window in comparison.windows} == {
        (form, round_) for form in FORMS for round_ in (0, 1)
    }
    bytes_of = {window.form: window.wire_bytes for window in comparison.windows}
    assert bytes_of[JPEG] < bytes_of[PNG] < bytes_of[TENSOR] < bytes_of[NUMBERS]
    for window in comparison.windows:
        assert window.round_trips_ns
        assert min(window.decode_ns) > 0


def test_a_service_that_refuses_a_form_is_named_with_what_it_said(
    fake_command: Callable, noise_folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    refusing = fake_command(faults={"all": "http_503"})
    monkeypatch.setattr("loadtest.payloads.comparison.serve_command", lambda **settings: refusing)
    with pytest.raises(ServiceFailed, match="refused an image sent as"):
        compare_payloads(plan(Path(), noise_folder), tmp_path, command="a test")


def test_both_tensors_hold_what_the_model_takes_to_the_last_bit() -> None:
    wanted = scale_pixels(PIXELS[np.newaxis])
    binary = as_tensor(PIXELS, 28, "net")
    sent = binary.body[int(binary.headers["Inference-Header-Content-Length"]) :]
    assert np.array_equal(np.frombuffer(sent, np.float32).reshape(wanted.shape), wanted)
    numbers = msgspec.json.decode(as_numbers(PIXELS, 28, "net").body)["inputs"][0]
    assert np.array_equal(np.array(numbers["data"], np.float32).reshape(numbers["shape"]), wanted)


@pytest.mark.parametrize("changes", [{"rounds": 0}, {"window_s": 0.0}, {"datasets": {}}])
def test_settings_that_measure_nothing_are_refused(changes: dict[str, object]) -> None:
    with pytest.raises(InvalidSettings):
        plan(Path(), Path(), **changes)


def test_images_of_another_resolution_are_refused(
    fake_command: Callable, noise_folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("loadtest.payloads.comparison.serve_command", lambda **settings: fake_command())
    with pytest.raises(InvalidSettings, match="28 px, not 64"):
        compare_payloads(plan(Path(), noise_folder, datasets={64: noise_folder}), tmp_path, command="a test")
