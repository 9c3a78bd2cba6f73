"""Whatever arrives together, each request gets its own image's answer, and a failing one fails alone."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import httpx
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from contract.blood_cells import LABELS
from contract.manifest import artifact_folder, load_artifact
from contract.timing import parse_server_timing
from serving.http.refusal import Refusal
from serving.inference.batching import Batches, predict_padded, warmed_sizes
from serving.inference.line import Line
from serving.observe.clock import PartClock
from serving.runtimes import create_runtime
from serving.settings import ServiceSettings

IMAGES = np.random.default_rng(5).uniform(-1, 1, (24, 28, 28, 3)).astype(np.float32)
POISON = np.float32(2)  # outside of [-1, 1]: no image has it


class Model:
    """Each image's sum as its first logit; notes the sizes and threads it ran with; chokes on `POISON`."""

    def __init__(self, gate: threading.Event | None = None) -> None:
        self.sizes: list[int] = []
        self.threads: set[str] = set()
        self._gate = gate

    def predict(self, images):
        self.sizes.append(len(images))
        self.threads.add(threading.current_thread().name)
        if self._gate is not None:
            self._gate.wait(10)
        if (images == POISON).any():
            raise ValueError("poison")
        logits = np.zeros((len(images), len(LABELS)), np.float32)
        logits[:, 0] = images.sum((1, 2, 3))
        return logits


async def begun(model):
    """Until the first batch is in the model, and nobody can join it any more."""
    while not model.sizes:
        await asyncio.sleep(0.001)


def batches(max_images=8, delay_s=0.0, limit=64, deadline_s=10.0):
    return Batches(Line(limit, deadline_s), max_images=max_images, delay_s=delay_s)


def poisoned():
    return np.full((1, 28, 28, 3), POISON, np.float32)


@pytest.fixture(scope="module")
def onnx_model(onnx_artifacts: Path):
    pytest.importorskip("onnxruntime", reason="the extra 'onnx' is not installed")
    return create_runtime("onnx").load(load_artifact(artifact_folder(onnx_artifacts, "onnx", 28)))


def test_warmed_sizes_are_powers_of_two_and_the_largest():
    assert warmed_sizes(1) == (1,)
    assert warmed_sizes(16) == (1, 2, 4, 8, 16)
    assert warmed_sizes(12) == (1, 2, 4, 8, 12)


@given(images=st.integers(1, 24), max_images=st.integers(1, 20))
def test_a_model_meets_warmed_sizes_only(images, max_images):
    model, sizes = Model(), warmed_sizes(max_images)
    logits = predict_padded(model, IMAGES[:images], sizes)
    assert set(model.sizes) <= set(sizes)
    np.testing.assert_allclose(logits[:, 0], IMAGES[:images].sum((1, 2, 3)), rtol=1e-6)


# Each request: which images it holds, and after how many turns of the event loop it comes.
arrivals = st.lists(st.tuples(st.integers(0, 20), st.integers(1, 4), st.integers(0, 6)), min_size=1, max_size=24)


@given(arrivals=arrivals, max_images=st.integers(1, 9), delay_s=st.sampled_from([0.0, 0.001]))
@settings(max_examples=40, deadline=None)
def test_any_arrival_pattern_gives_each_request_its_own_answer(onnx_model, arrivals, max_images, delay_s):
    async def visit(subject, first, count, turns):
        for _ in range(turns):
            await asyncio.sleep(0)
        clock = PartClock()
        logits = await subject.predict(onnx_model, IMAGES[first : first + count], clock)
        assert set(clock.parts_ns) == {"queue", "infer"}
        assert clock.batch_images >= count
        return logits

    async def scenario():
        subject = batches(max_images, delay_s)
        return await asyncio.gather(*(visit(subject, *arrival) for arrival in arrivals))

    for (first, count, _), logits in zip(arrivals, asyncio.run(scenario()), strict=True):
        np.testing.assert_allclose(logits, onnx_model.predict(IMAGES[first : first + count]), atol=1e-5)


def test_those_who_wait_while_a_batch_runs_are_the_next_one():
    gate = threading.Event()

    async def scenario():
        model, subject = Model(gate), batches(max_images=8)
        first = asyncio.create_task(subject.predict(model, IMAGES[:1], PartClock()))
        await begun(model)
        others = [asyncio.create_task(subject.predict(model, IMAGES[n : n + 1], PartClock())) for n in range(1, 6)]
        await asyncio.sleep(0)
        gate.set()
        await asyncio.gather(first, *others)
        assert model.sizes == [1, 8]  # five, padded
        assert all(name.startswith("infer") for name in model.threads)

    asyncio.run(scenario())


def test_models_are_not_mixed():
    async def scenario():
        small, large, subject = Model(), Model(), batches()
        answers = await asyncio.gather(
            *(subject.predict((small, large)[n % 2], IMAGES[n : n + 1], PartClock()) for n in range(6))
        )
        for n, logits in enumerate(answers):
            assert logits[0, 0] == pytest.approx(IMAGES[n].sum(), rel=1e-5)
        assert (small.sizes, large.sizes) == ([4], [4])

    asyncio.run(scenario())


@pytest.mark.acceptance("O7")
@given(st.lists(st.booleans(), min_size=1, max_size=12))
@settings(max_examples=100, deadline=None)
def test_a_request_that_breaks_the_model_fails_alone(healthy):
    async def scenario():
        subject, model = batches(), Model()
        answers = await asyncio.gather(
            *(
                subject.predict(model, IMAGES[n : n + 1] if fine else poisoned(), PartClock())
                for n, fine in enumerate(healthy)
            ),
            return_exceptions=True,
        )
        for n, (fine, answer) in enumerate(zip(healthy, answers, strict=True)):
            if fine:
                assert answer[0, 0] == pytest.approx(IMAGES[n].sum(), rel=1e-5)
            else:
                assert isinstance(answer, ValueError)

    asyncio.run(scenario())


@pytest.mark.acceptance("O2")
def test_past_its_deadline_a_request_is_dropped_unexecuted_from_a_batch():
    gate = threading.Event()

    async def scenario():
        model, subject = Model(gate), batches(deadline_s=0.5)
        first = asyncio.create_task(subject.predict(model, IMAGES[:1], PartClock()))
        await begun(model)
        late = asyncio.create_task(subject.predict(model, IMAGES[1:2], PartClock()))
        await asyncio.sleep(0.6)
        gate.set()
        await first
        with pytest.raises(Refusal) as refused:
            await late
        assert (refused.value.status, refused.value.code) == (504, "deadline")
        assert model.sizes == [1]

    asyncio.run(scenario())


@pytest.mark.acceptance("O8")
def test_a_batch_of_a_model_that_is_served_goes_in_between_those_that_warm_another():
    order, warming, joined = [], threading.Event(), threading.Event()

    class Newer:
        def predict(self, images):
            if threading.current_thread().name.startswith("infer"):
                order.append("newer")
                warming.set()
                joined.wait(10)
            return np.zeros((len(images), len(LABELS)), np.float32)

    class Served:
        def predict(self, images):
            order.append("served")
            return np.zeros((len(images), len(LABELS)), np.float32)

    async def scenario():
        both = batches(max_images=2)
        warm_up = asyncio.create_task(asyncio.to_thread(both.warm_up, [(Newer(), 28)]))
        await asyncio.to_thread(warming.wait, 10)
        answer = asyncio.create_task(both.predict(Served(), IMAGES[:1], PartClock()))
        while not both._counts:
            await asyncio.sleep(0)
        joined.set()
        await asyncio.gather(warm_up, answer)

    asyncio.run(scenario())
    assert order[:3] == ["newer", "served", "newer"]


def test_one_who_gives_up_is_left_out_of_the_batch():
    gate = threading.Event()

    async def scenario():
        model, subject = Model(gate), batches()
        first = asyncio.create_task(subject.predict(model, IMAGES[:1], PartClock()))
        await begun(model)
        given_up, other = (asyncio.create_task(subject.predict(model, IMAGES[n : n + 1], PartClock())) for n in (1, 2))
        await asyncio.sleep(0)
        given_up.cancel()
        await asyncio.sleep(0)
        gate.set()
        assert (await other)[0, 0] == pytest.approx(IMAGES[2].sum(), rel=1e-5)
        await first
        assert given_up.cancelled()
        assert model.sizes == [1, 1]

    asyncio.run(scenario())


def test_with_a_delay_the_first_waits_for_others():
    async def scenario():
        model, subject = Model(), batches(max_images=4, delay_s=60.0)
        tasks = []
        for n in range(4):
            tasks.append(asyncio.create_task(subject.predict(model, IMAGES[n : n + 1], PartClock())))
            await asyncio.sleep(0.005)
        await asyncio.gather(*tasks)  # long before the delay is over: the batch is full
        assert model.sizes == [4]

    asyncio.run(asyncio.wait_for(scenario(), 50))


def test_a_turn_in_the_line_keeps_a_batch_waiting():
    async def scenario():
        line, model = Line(8, 10.0), Model()
        subject = Batches(line, max_images=4)
        async with line.turn():
            waiting = asyncio.create_task(subject.predict(model, IMAGES[:1], PartClock()))
            await asyncio.sleep(0.05)
            assert not model.sizes
        await waiting
        assert model.sizes == [1]

    asyncio.run(scenario())


def test_a_service_with_batching_answers_alike_and_compiles_nothing_once_it_is_ready(
    runtime_settings: ServiceSettings, serve: Callable, tmp_path: Path, cell_png: bytes
):
    async def burst(url):
        async with httpx.AsyncClient(base_url=url, timeout=30) as client:
            return await asyncio.gather(
                *(
                    client.post("/v1/classify", content=cell_png, headers={"Content-Type": "image/png"})
                    for _ in range(24)
                )
            )

    with serve(replace(runtime_settings, resolutions_px=(28,), batching=True, batch_max_images=8), tmp_path) as service:
        responses = asyncio.run(burst(service.url))
        assert {response.status_code for response in responses} == {200}
        probabilities = np.array([list(response.json()["probabilities"].values()) for response in responses])
        assert np.ptp(probabilities, axis=0).max() < 1e-5
        for response in responses:
            header = response.headers["Server-Timing"]
            assert 'batch;desc="' in header
            assert {"queue", "infer", "total"} <= set(parse_server_timing(header))
        assert service.metric("hemabench_batch_images_count") >= 3
        assert service.metric("hemabench_batch_images_sum") == 24
        form = [("image", ("cell.png", cell_png, "image/png"))] * 11
        together = httpx.post(f"{service.url}/v1/classify", files=form, timeout=30)
        assert [result["outcome"] for result in together.json()["results"]] == ["answer"] * 11
        assert service.metric("hemabench_compilations_after_ready_total") == 0


@pytest.mark.parametrize("runtime", ["jax"])
def test_a_size_that_was_not_warmed_is_counted_as_a_compilation(artifacts_of: Callable, runtime: str):
    """In a process of its own, which shows that the counter can count."""
    import subprocess
    import sys

    pytest.importorskip("jax", reason="the extra 'jax' is not installed")
    code = f"""
import numpy as np
from pathlib import Path
from contract.manifest import artifact_folder, load_artifact
from serving.runtimes import create_runtime
runtime = create_runtime({runtime!r})
model = runtime.load(load_artifact(artifact_folder(Path({str(artifacts_of("stablehlo"))!r}), "stablehlo", 28)))
counts = []
for size in (1, 1, 2, 2, 3):
    model.predict(np.zeros((size, 28, 28, 3), np.float32))
    counts.append(runtime.compilations())
assert counts[0] == counts[1] < counts[2] == counts[3] < counts[4], counts
"""
    root = Path(__file__).parents[3]
    finished = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, cwd=root, check=False)
    assert finished.returncode == 0, finished.stderr[-2000:]
