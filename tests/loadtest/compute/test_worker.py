from __future__ import annotations

import shutil
from dataclasses import replace
from itertools import pairwise

import numpy as np
import pytest

from contract.errors import ParityError
from contract.manifest import GOLDEN_FILE, digests_of_files, load_artifact, save_manifest
from contract.parity import GoldenBatch
from contract.records.compute import Shape
from loadtest.compute.worker import Command, Worker, WorkerSettings, block, repeated, require_logits
from serving.runtimes.null import NullRuntime

SMALL, LARGE = Shape(resolution_px=28, batch=1), Shape(resolution_px=64, batch=32)


def timed(link, shape, **changes):
    command = {"settling": 2, "fewest": 20, "most": 20, "limit_ns": 0} | changes
    return link.ask(Command(kind="time", shape=shape, **command))


def test_the_first_call_is_proved_and_the_others_are_timed(worker, tiny_artifacts):
    with worker("onnx", tiny_artifacts) as link:
        first = link.ask(Command(kind="first", shape=Shape(resolution_px=28, batch=3)))
        reply = timed(link, Shape(resolution_px=28, batch=3))
        described = link.ask(Command(kind="describe"))
    assert first.largest_difference is not None
    assert first.largest_difference < 1e-4
    assert first.peak_memory_bytes > 10_000_000
    assert len(reply.took_ns) == 20
    assert len(reply.settling_ns) == 2
    assert 0 < sum(reply.took_ns) <= reply.wall_ns
    assert reply.cpu_ns > 0
    assert reply.busy_threads >= 1
    assert reply.compilations == 0
    assert (reply.event_ns, reply.to_card_ns, reply.to_host_ns, reply.energy_mj) == ((), (), (), None)  # no card
    assert described.import_ns > 0
    assert set(described.load_ns) == {28, 64}
    assert described.facts["threads"] == "1"


def test_more_images_of_more_pixels_take_longer(worker, tiny_artifacts):
    with worker("onnx", tiny_artifacts) as link:
        small, large = (min(timed(link, shape).took_ns) for shape in (SMALL, LARGE))
    assert large > small  # 167 times the work: a clock that stops early is what this catches


def test_pixels_are_scaled_inside_the_call(worker, tiny_artifacts):
    with worker("onnx", tiny_artifacts, input="uint8") as link:
        first = link.ask(Command(kind="first", shape=LARGE))
    assert first.largest_difference is not None  # the golden images went in as pixels and the logits were right
    assert first.largest_difference < 1e-4


def test_what_is_compiled_to_time_copies_is_not_counted_against_the_calls(monkeypatch):
    programs = []
    monkeypatch.setattr(NullRuntime, "compilations", lambda self: len(programs))
    monkeypatch.setattr("loadtest.compute.worker.transfer_times_ns", lambda *_: programs.append("copy") or ((), ()))
    settings = {"runtime": "null", "threads": 1, "device": "cpu", "artifacts": "", "input": "float32"}
    alone = Worker(WorkerSettings(resolutions_px=(28,), **settings))
    assert alone.time(Command(kind="time", shape=SMALL, fewest=3, most=3)).compilations == 0
    assert programs == ["copy"]


def test_wrong_logits_are_refused_before_anything_is_timed(worker, tiny_artifacts, tmp_path):
    root = shutil.copytree(tiny_artifacts, tmp_path / "wrong")
    folder = root / "onnx" / "28px"
    artifact = load_artifact(folder)
    golden = artifact.golden()
    GoldenBatch(golden.images, golden.logits + np.float32(0.01)).save(folder / GOLDEN_FILE)
    save_manifest(folder, replace(artifact.manifest, files=digests_of_files(folder)))
    with worker("onnx", root) as link, pytest.raises(ParityError, match="onnx at 28 px, batch 1"):
        link.ask(Command(kind="first", shape=SMALL))


def test_a_block_ends_with_its_budget_but_not_before_the_fewest():
    took, logits = block(lambda images: images, [np.ones((1, 8), np.float32)], fewest=7, most=1_000, limit_ns=0)
    assert len(took) == 7
    assert logits.shape == (1, 8)


def test_a_block_ends_with_the_most_calls():
    took, _ = block(lambda images: images, [np.ones((1, 8), np.float32)], fewest=1, most=9, limit_ns=10**12)
    assert len(took) == 9


def test_a_block_gives_its_inputs_in_turn():
    inputs = [np.full((1, 8), number, np.float32) for number in range(3)]
    seen = []
    block(lambda images: seen.append(images[0, 0]) or images, inputs, fewest=7, most=7, limit_ns=0)
    assert seen == [0, 1, 2, 0, 1, 2, 0]


def test_golden_images_are_repeated_to_the_batch():
    rows = repeated(np.arange(3), 8)
    assert rows.tolist() == [0, 1, 2, 0, 1, 2, 0, 1]
    assert all(rows[one] != rows[other] for one, other in pairwise(range(8)))


@pytest.mark.parametrize(
    ("logits", "words"),
    [
        (np.zeros((2, 8), np.float64), r"float64 \(2, 8\)"),
        (np.zeros((1, 8), np.float32), r"float32 \(1, 8\)"),
        (np.full((2, 8), np.nan, np.float32), "not finite"),
        ([[0.0] * 8] * 2, "list"),
    ],
)
def test_an_answer_that_is_no_float32_host_array_is_refused(logits, words):
    with pytest.raises(ParityError, match=words):
        require_logits("some runtime", logits, 2)
