"""The real services, side by side, for a moment."""

from __future__ import annotations

import json
import subprocess
import sys
from email import message_from_bytes
from pathlib import Path

import numpy as np
import psutil
import pytest

from contract.errors import InvalidSettings
from contract.records.peers import BARE, EMPTY, LITSERVE, OURS, TEXTBOOK
from loadtest.peers.comparison import CONTENDERS, PeerPlan, as_form, as_json, compare_peers, missing_contenders

ROOT = Path(__file__).parents[3]


@pytest.fixture(scope="session")
def artifacts(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The tiny network of the serving tests."""
    pytest.importorskip("onnx", reason="the extra 'onnx' is not installed")
    folder = tmp_path_factory.mktemp("artifacts")
    script = ROOT / "tests" / "serving" / "export_tiny.py"
    subprocess.run([sys.executable, str(script), "onnx", str(folder), "28"], check=True, capture_output=True)
    return folder


def plan(artifacts: Path = Path(), **changes: object) -> PeerPlan:
    return PeerPlan(**{"artifacts": artifacts, "rounds": 2, "window_s": 0.1, "warmup_s": 0.05} | changes)


@pytest.mark.timeout(120)
def test_every_contender_answers_in_every_round_at_every_number_of_connections(artifacts: Path, tmp_path: Path):
    comparison = compare_peers(plan(artifacts, connections=(1, 3)), tmp_path, command="a test")
    present = [name for name in CONTENDERS if name not in comparison.missing]
    assert {OURS, BARE, TEXTBOOK, EMPTY} <= set(present)
    cells = {(window.contender, window.round, window.connections) for window in comparison.windows}
    assert cells == {(name, round_, n) for name in present for round_ in (0, 1) for n in (1, 3)}
    assert len(comparison.windows) == len(cells)
    for window in comparison.windows:
        assert window.failures == 0
        assert len(window.round_trips_ns) >= window.connections
        assert window.elapsed_ns >= 0.1e9
    assert not [process for process in psutil.Process().children(recursive=True) if "serving" in process.name()]


def test_a_contender_that_is_not_installed_is_named_with_the_command_that_helps(monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr(
        "loadtest.peers.comparison.find_spec", lambda package: None if package == "litserve" else object()
    )
    missing = missing_contenders((OURS, LITSERVE))
    assert list(missing) == [LITSERVE]
    assert "[peers]" in missing[LITSERVE]


@pytest.mark.parametrize("wrong", [{"rounds": 0}, {"window_s": 0}, {"connections": ()}, {"contenders": ("nobody",)}])
def test_a_plan_that_measures_nothing_is_refused(wrong: dict[str, object]):
    with pytest.raises(InvalidSettings):
        plan(**wrong)


def test_each_encoding_holds_the_image():
    image = bytes(range(256))
    content_type, form = as_form(image)
    (part,) = message_from_bytes(f"Content-Type: {content_type}\r\n\r\n".encode() + form).get_payload()
    assert part.get_payload(decode=True) == image
    assert np.frombuffer(__import__("base64").b64decode(json.loads(as_json(image)[1])["image"]), np.uint8).size == 256
