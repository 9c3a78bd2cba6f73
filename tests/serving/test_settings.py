"""What a service is told is checked before it starts."""

from __future__ import annotations

from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from contract.blood_cells import RESOLUTIONS_PX
from contract.errors import ArtifactUnavailable, DeviceUnavailable, InvalidSettings, RuntimeUnavailable
from serving.inference.devices import CPU, Device, parse_device, require_device
from serving.runtimes import RUNTIMES, RuntimeEntry, create_runtime
from serving.settings import DEFAULT_ARTIFACTS, ServiceSettings

all_settings = st.builds(
    ServiceSettings,
    runtime=st.sampled_from(sorted(RUNTIMES)),
    device=st.sampled_from(["cpu", "cuda", "cuda:3"]),
    resolutions_px=st.lists(st.sampled_from(RESOLUTIONS_PX), unique=True).map(tuple),
    artifacts=st.just(Path("/srv/artifacts")),
    threads=st.integers(1, 256),
    max_body_bytes=st.integers(1, 10**9),
    body_deadline_s=st.floats(0.001, 1e3),
    line_limit=st.integers(1, 10**6),
    line_deadline_s=st.floats(0.001, 1e3),
    audit_log=st.sampled_from([None, Path("/srv/audit.jsonl")]),
    logged_share=st.none() | st.floats(0, 1),
    reload_s=st.floats(0, 1e3),
)


@given(all_settings)
def test_settings_survive_the_environment(settings):
    assert ServiceSettings.from_environment(settings.to_environment()) == settings


def test_nothing_said_means_onnx_on_the_cpu():
    settings = ServiceSettings.from_environment({"HEMABENCH_DATA_ROOT": "/elsewhere", "HEMABENCH_DEVICE": ""})
    assert settings == ServiceSettings()
    assert (settings.runtime, settings.device, settings.artifacts) == ("onnx", "cpu", DEFAULT_ARTIFACTS)


@pytest.mark.parametrize(
    ("variable", "value"),
    [
        ("HEMABENCH_RUNTIME", "mxnet"),
        ("HEMABENCH_DEVICE", "tpu"),
        ("HEMABENCH_DEVICE", "cuda:"),
        ("HEMABENCH_RESOLUTIONS", "28,abc"),
        ("HEMABENCH_RESOLUTIONS", "29"),
        ("HEMABENCH_THREADS", "0"),
        ("HEMABENCH_THREADS", "two"),
        ("HEMABENCH_LINE_DEADLINE_S", "-1"),
        ("HEMABENCH_MAX_BODY_BYTES", "1e6"),
        ("HEMABENCH_RELOAD_S", "-1"),
        ("HEMABENCH_REQUEST_LOG", "some"),
        ("HEMABENCH_REQUEST_LOG", "1.5"),
        ("HEMABENCH_REQUEST_LOG", "nan"),
    ],
)
def test_a_setting_that_cannot_be_meant_is_refused(variable, value):
    with pytest.raises(InvalidSettings):
        ServiceSettings.from_environment({variable: value})


def test_without_resolutions_all_exported_ones_are_served(onnx_artifacts):
    assert ServiceSettings(artifacts=onnx_artifacts).resolutions_to_serve() == (28, 64)
    assert ServiceSettings(artifacts=onnx_artifacts, resolutions_px=(64, 28)).resolutions_to_serve() == (28, 64)
    assert ServiceSettings(runtime="null").resolutions_to_serve() == RESOLUTIONS_PX


def test_without_artifacts_the_next_step_is_named(tmp_path):
    with pytest.raises(ArtifactUnavailable, match="hemabench export"):
        ServiceSettings(artifacts=tmp_path).resolutions_to_serve()


def test_a_device_is_spelt_as_frameworks_spell_it():
    assert parse_device("cpu") == CPU
    assert str(parse_device("cuda")) == "cuda:0"
    assert parse_device("cuda:2") == Device("cuda", 2)


def test_a_card_that_is_not_there_is_never_a_cpu():
    with pytest.raises(DeviceUnavailable, match="cuda:99"):
        require_device(parse_device("cuda:99"))
    for name in RUNTIMES:
        with pytest.raises(DeviceUnavailable):
            create_runtime(name, parse_device("cuda:99"))


def test_a_missing_package_is_answered_with_the_command_that_helps(monkeypatch):
    monkeypatch.setitem(
        RUNTIMES, "other", RuntimeEntry("serving.runtimes.other:Other", None, "no_such_package", "other")
    )
    with pytest.raises(RuntimeUnavailable, match=r"pip install -c constraints.txt -e '\.\[other\]'"):
        create_runtime("other")
