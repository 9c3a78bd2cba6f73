from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest

from analysis.statistics import fewest_requests
from contract.errors import ArtifactUnavailable, DeviceUnavailable, InvalidSettings
from contract.records.compute import Shape
from loadtest.compute.planning import (
    CALLS_OF_A_MEDIAN,
    PROFILES,
    ComputeSettings,
    plan_compute,
    profile_named,
    runtimes_of,
)
from loadtest.service.processes import own_cores
from serving.inference.devices import CPU, Device
from serving.runtimes import RUNTIMES

SMOKE = profile_named("smoke")


def settings(**changes) -> ComputeSettings:
    return ComputeSettings(**({"profile": SMOKE, "artifacts": Path("none"), "runtimes": ("null",)} | changes))


@pytest.mark.parametrize("name", PROFILES)
def test_every_profile_makes_enough_calls_for_a_median(name):
    plan = plan_compute(settings(profile=replace(profile_named(name), processes=3)))
    assert plan.fewest_calls * plan.rounds * 3 >= CALLS_OF_A_MEDIAN == fewest_requests(0.5)
    assert plan.shapes == tuple(sorted(set(plan.shapes)))


def test_one_thread_and_all_cores_are_the_default():
    assert {sitting.threads for sitting in plan_compute(settings()).sittings} == {1, len(own_cores())}


def test_all_threads_are_tried_before_the_next_repetition():
    sittings = plan_compute(settings(threads=(1,))).sittings
    assert [sitting.name for sitting in sittings] == ["r1-1thread", "r2-1thread"]


def test_the_null_runtime_is_always_there():
    assert plan_compute(settings()).runtimes == ("null",)
    assert Shape(resolution_px=28, batch=1) in plan_compute(settings()).shapes


def test_the_closed_division_is_the_four_native_artifacts():
    assert runtimes_of("closed") == ("pytorch", "tensorflow", "jax", "onnx")


@pytest.mark.parametrize("device", [CPU, Device("cuda", 1)])
def test_both_divisions_are_all_that_is_made_for_the_device_but_the_null_runtime(device):
    both = {*runtimes_of("closed", device), *runtimes_of("open", device)}
    assert both == {*runtimes_of("all", device)}
    assert both == {name for name, entry in RUNTIMES.items() if device.kind in entry.devices} - {"null"}
    assert {"pytorch", "tensorflow", "jax", "onnx", "pytorch-compile-bf16"} <= both
    assert ("pytorch-graphs" in both) == device.is_cuda != ("openvino" in both)


def test_a_runtime_made_for_another_device_is_refused_before_anything_starts():
    with pytest.raises(DeviceUnavailable, match=r"cpu was asked for; pytorch-graphs is made for a card.*--device cuda"):
        plan_compute(settings(runtimes=("pytorch-graphs",)))
    with pytest.raises(DeviceUnavailable, match=r"openvino is made for the processor. Next: --device cpu"):
        plan_compute(settings(runtimes=("openvino",), device="cuda:0"))


def test_an_artifact_that_is_missing_is_refused_before_anything_starts(tmp_path):
    with pytest.raises(ArtifactUnavailable, match="hemabench export"):
        plan_compute(settings(runtimes=("onnx",), artifacts=tmp_path))


@pytest.mark.parametrize(
    ("changes", "words"),
    [
        ({"runtimes": ()}, "name at least one"),
        ({"threads": (len(own_cores()) + 1,)}, "cores there are"),
        ({"resume": True}, "name the folder"),
    ],
)
def test_settings_that_contradict_themselves_are_refused(changes, words):
    with pytest.raises(InvalidSettings, match=words):
        settings(**changes)


def test_a_profile_and_a_division_that_are_not_there_name_those_that_are():
    with pytest.raises(InvalidSettings, match="full, card, quick, smoke"):
        profile_named("slow")
    with pytest.raises(InvalidSettings, match="closed, open, all"):
        runtimes_of("tuned")
