from __future__ import annotations

import shutil
from dataclasses import replace
from pathlib import Path

import pytest

from contract.errors import ArtifactUnavailable, InvalidSettings
from serving.gateway.settings import Elsewhere, GatewaySettings, servable_runtimes
from serving.settings import ServiceSettings


@pytest.fixture
def template(onnx_artifacts: Path, tmp_path: Path) -> ServiceSettings:
    """What is asked for, where only ONNX was exported."""
    shutil.copytree(onnx_artifacts / "onnx", tmp_path / "onnx")
    return ServiceSettings(artifacts=tmp_path)


def test_the_runtimes_that_have_artifacts_are_served_and_the_others_are_named(template):
    found, left_out = servable_runtimes(template)
    assert [settings.runtime for settings in found] == ["onnx"]
    assert set(left_out) == {"pytorch", "tensorflow", "jax"}
    assert all("Next:" in reason for reason in left_out.values())


def test_a_damaged_artifact_leaves_its_runtime_out(template):
    (model,) = (template.artifacts / "onnx" / "28px").glob("*.onnx")
    model.write_bytes(model.read_bytes()[:-1] + b"\0")
    with pytest.raises(ArtifactUnavailable, match="no runtime can be served"):
        servable_runtimes(template)


def test_without_any_artifact_the_error_says_what_to_do(tmp_path):
    with pytest.raises(ArtifactUnavailable, match="Next: hemabench export"):
        servable_runtimes(ServiceSettings(artifacts=tmp_path))


def test_every_service_has_an_audit_log_of_its_own(template):
    (found,), _ = servable_runtimes(replace(template, audit_log=Path("logs/audit.jsonl")))
    assert found.audit_log == Path("logs/audit-onnx.jsonl")


@pytest.mark.parametrize(
    ("changes", "reason"),
    [
        ({"services": ()}, "at least one service"),
        ({"services": (ServiceSettings(), ServiceSettings())}, "named twice"),
        ({"stop_deadline_s": 0.0}, "stop_deadline_s"),
        ({"request_limit": 0}, "request_limit"),
    ],
)
def test_settings_that_cannot_be_meant_are_refused(changes, reason):
    with pytest.raises(InvalidSettings, match=reason):
        GatewaySettings(**{"services": (ServiceSettings(),), **changes})


def test_a_body_may_be_as_large_as_the_strictest_service_allows():
    services = (ServiceSettings(runtime="onnx", max_body_bytes=5), ServiceSettings(runtime="null"))
    assert GatewaySettings(services=services).max_body_bytes == 5


def test_a_service_elsewhere_is_a_runtime_and_an_address():
    found = Elsewhere.parse("onnx=http://127.0.0.1:3001/")
    assert (found.runtime, found.url) == ("onnx", "http://127.0.0.1:3001")
    assert GatewaySettings(services=(found,)).max_body_bytes == ServiceSettings().max_body_bytes


@pytest.mark.parametrize("text", ["", "onnx", "=http://a", "onnx=ftp://a", "onnx=http://", "onnx=http://a/?x=1"])
def test_what_is_no_runtime_and_address_is_refused_with_an_example(text):
    with pytest.raises(InvalidSettings, match="such as onnx=http"):
        Elsewhere.parse(text)
