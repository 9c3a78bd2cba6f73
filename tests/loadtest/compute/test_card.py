"""What a card adds to a block of calls: read where there is one, absent where there is none."""

from __future__ import annotations

import sys
from unittest.mock import Mock

import numpy as np
import pytest

from contract.records.compute import Shape
from loadtest.compute.energy import energy_counter
from loadtest.compute.limits import CARD_PRECISIONS, measure_limits, torch_peak
from loadtest.compute.transfers import transfer_times_ns
from loadtest.compute.worker import Command
from loadtest.service.processes import own_cores
from serving.inference.devices import count_cuda_cards
from serving.runtimes import RUNTIMES

needs_a_card = pytest.mark.skipif(count_cuda_cards() == 0, reason="the CUDA driver of this machine shows no card")
IMAGES, LOGITS = np.zeros((2, 28, 28, 3), np.float32), np.zeros((2, 8), np.float32)


def test_the_processor_has_no_copies_and_no_counter_of_a_card():
    assert transfer_times_ns("cpu", IMAGES, LOGITS, 3) == ((), ())
    assert energy_counter("cpu") is None


def test_a_framework_that_was_kept_out_of_the_process_copies_nothing(monkeypatch):
    # TensorFlow's runtime puts None in JAX's place, so that TensorFlow does not import it.
    monkeypatch.delitem(sys.modules, "torch", raising=False)
    monkeypatch.setitem(sys.modules, "jax", None)
    assert transfer_times_ns("cuda:0", IMAGES, LOGITS, 3) == ((), ())


@pytest.mark.parametrize(("device", "in_columns"), [("cpu", False), ("cuda:0", True)])
def test_the_right_factor_of_a_cards_int8_product_lies_in_columns(device, in_columns):
    torch = Mock(__version__="2")
    torch_peak(torch, device, "int8")
    drawn = torch.randint.return_value
    assert torch._int_mm.call_args.args == (drawn, drawn.t.return_value if in_columns else drawn)


@needs_a_card
@pytest.mark.parametrize("name", ["pytorch", "pytorch-graphs", "pytorch-graphs-tf32", "jax"])
def test_on_a_card_copies_are_timed_apart_and_are_shorter_than_a_call(name, worker, tiny_artifacts_of):
    pytest.importorskip(RUNTIMES[name].module)
    shape = Shape(resolution_px=64, batch=32)
    with worker(name, tiny_artifacts_of(RUNTIMES[name].format), device="cuda:0") as link:
        first = link.ask(Command(kind="first", shape=shape))
        reply = link.ask(
            Command(kind="time", shape=shape, settling=3, fewest=20, most=100_000, limit_ns=300_000_000, event_calls=9)
        )
    assert first.largest_difference is not None
    assert len(reply.to_card_ns) == len(reply.to_host_ns) == 9
    assert np.median(reply.to_host_ns) < np.median(reply.took_ns)
    assert len(reply.event_ns) == (0 if name == "jax" else 9)
    assert reply.energy_mj is None or reply.energy_mj > 0
    assert reply.compilations == 0


@needs_a_card
def test_the_limits_of_a_card_are_above_those_of_the_processor(tmp_path):
    pytest.importorskip("torch")
    card, processor = (measure_limits(device, 1, own_cores()[:1], tmp_path / "log") for device in ("cuda:0", "cpu"))
    assert (card.device, processor.device) == ("cuda:0", "cpu")
    assert {peak.precision for peak in card.peaks} | set(card.missing) == set(CARD_PRECISIONS)
    assert card.peaks[0].flops / min(card.peaks[0].took_ns) > processor.peaks[0].flops / min(processor.peaks[0].took_ns)
