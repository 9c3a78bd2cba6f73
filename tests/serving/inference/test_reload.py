"""What a newer model costs those who are answered meanwhile."""

from __future__ import annotations

import asyncio
import subprocess
import sys
import threading
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

import serving.inference.reload
from contract.blood_cells import LABELS
from serving.answers import ModelName
from serving.http.refusal import Refusal
from serving.inference.classifier import FIRST_CALLS, WARM_UP_PREDICTIONS, Classifier, ServedModel
from serving.inference.devices import CPU
from serving.inference.line import Line
from serving.inference.reload import reloaded, warm_up_in_turns
from serving.runtimes.null import NullRuntime

ROOT = Path(__file__).parents[3]
SIDES = (28, 64)


class Model:
    """Notes in whose thread it predicts; chokes where the test says so."""

    def __init__(self, order=None, error=None):
        self.threads = []
        self._order, self._error = order, error

    def predict(self, images):
        self.threads.append(threading.current_thread())
        if self._order is not None:
            self._order.append("first call")
        if self._error is not None:
            raise self._error
        return np.zeros((len(images), len(LABELS)), np.float32)


def served(model, side=28, digest="0" * 64):
    return ServedModel(name=ModelName("test", "null", side, digest), model=model, labels=LABELS, temperature=1.0)


def classifier():
    return Classifier(NullRuntime(CPU, 1), {side: served(Model(), side) for side in SIDES}, {})


def test_the_first_calls_of_a_newer_model_take_turns_with_requests():
    order = []

    async def scenario():
        line = Line(limit=64, deadline_s=10)

        async def request():
            async with line.turn():
                order.append("request")

        await asyncio.gather(warm_up_in_turns([served(Model(order))], line), *(request() for _ in range(FIRST_CALLS)))

    asyncio.run(scenario())
    assert order.count("first call") == FIRST_CALLS
    assert "request" in order[: order.index("first call", 1)]


def test_the_deadline_of_those_who_wait_for_an_answer_is_not_that_of_first_calls():
    model = Model()

    async def scenario():
        line = Line(limit=64, deadline_s=1e-9)
        async with line.turn():
            warming = asyncio.create_task(warm_up_in_turns([served(model)], line))
            late = asyncio.create_task(turn_of(line))
            await asyncio.sleep(0.001)
        with pytest.raises(Refusal):
            await late
        await warming

    asyncio.run(scenario())
    assert len(model.threads) == FIRST_CALLS


async def turn_of(line):
    async with line.turn():
        pass


def test_the_thread_that_loads_warms_what_has_changed_and_nothing_else(monkeypatch):
    before, newer = classifier(), Model()
    monkeypatch.setattr(serving.inference.reload, "_has_changed", lambda classifier, artifacts, side: side == 28)
    monkeypatch.setattr(serving.inference.reload, "load_model", lambda runtime, artifacts, side: served(newer, side))
    after = reloaded(before, Path("unused"))
    assert newer.threads == [threading.current_thread()] * WARM_UP_PREDICTIONS
    assert after.models[64] is before.models[64]
    assert before.models[64].model.threads == []


def replaced_by(open_endpoints, newer):
    """The endpoints after a newer model at 28 px took over, and the models before."""
    endpoints, before = open_endpoints(), classifier()
    endpoints.open(before)
    after = replace(before, models=before.models | {28: served(newer, digest="1" * 64)})
    asyncio.run(endpoints.replace(after, 0))
    return endpoints, before


def test_the_loops_thread_makes_the_first_calls_of_what_has_changed_and_nothing_else(open_endpoints):
    newer = Model()
    endpoints, before = replaced_by(open_endpoints, newer)
    assert newer.threads == [threading.current_thread()] * FIRST_CALLS
    assert [model.model.threads for model in before.models.values()] == [[], []]
    assert digest_at(endpoints, 28) == "1" * 64


def digest_at(endpoints, side):
    return endpoints._model_for(b"resolution=%d" % side).name.digest


def test_sizes_of_batches_are_warmed_of_what_has_changed_and_nothing_else(open_endpoints):
    endpoints, before = open_endpoints(batching=True), classifier()
    endpoints.open(before)
    newer = Model()
    endpoints.prepare(replace(before, models=before.models | {28: served(newer)}))
    assert newer.threads
    assert [model.model.threads for model in before.models.values()] == [[], []]


def test_the_old_model_goes_on_where_the_first_call_of_a_newer_one_fails(open_endpoints):
    endpoints, before = open_endpoints(), classifier()
    endpoints.open(before)
    broken = served(Model(error=RuntimeError("broken")), digest="1" * 64)
    with pytest.raises(RuntimeError, match="broken"):
        asyncio.run(endpoints.replace(replace(before, models=before.models | {28: broken}), 0))
    assert digest_at(endpoints, 28) == "0" * 64


RELOADED = """
import asyncio, gc
from dataclasses import replace
import serving.service as service
from serving.inference.classifier import load_classifier
from serving.settings import ServiceSettings

before = load_classifier(ServiceSettings(runtime="null", resolutions_px=(28,)))
after = replace(before, models={28: replace(before.models[28])})
service.endpoints.open(before)
service.reloaded = lambda *_: after

async def main():
    this = object.__new__(service.HemaBench.inner)
    this._loop = asyncio.get_running_loop()
    newer = await asyncio.to_thread(this._reload, before)
    print(newer is after, service.endpoints._classifier is after, gc.get_freeze_count())

asyncio.run(main())
"""


def test_the_heap_of_a_framework_is_not_walked_again():
    """Which froze every thread for 0.2 s of processor time with PyTorch."""
    words = [sys.executable, "-W", "ignore", "-c", RELOADED]
    ran = subprocess.run(words, cwd=ROOT, capture_output=True, text=True, check=False)
    assert ran.stdout.split() == ["True", "True", "0"], ran.stderr
