"""Whether a run's first steps, repeated, give the same weights: found out, not promised."""

from __future__ import annotations

from collections.abc import Mapping
from itertools import islice

from contract.architecture import spec_named
from contract.arrays import FloatArray
from contract.records.training import NOT_CHECKED
from contract.weights import digest_of_weights
from train.batches import Stream
from train.frameworks import load_framework
from train.settings import TrainSettings, learning_rate_at

REPLAYED_STEPS = 3
SAME = f"bit for bit on this machine: the first {REPLAYED_STEPS} steps, repeated at the end, gave the same weights"
DIFFERENT = (
    f"not bit for bit: the first {REPLAYED_STEPS} steps, repeated at the end, gave other weights; initial weights and "
    "batches were the same, so the framework's own kernels add up in an order that changes"
)


def replayed(settings: TrainSettings, start: Mapping[str, FloatArray], stream: Stream, digest_at_first: str) -> str:
    """Repeat the first steps from ``start`` with a network built anew, and say how the weights compare.

    ``digest_at_first`` is that of the run's own weights after these steps; empty where the run had fewer.
    """
    if not digest_at_first or stream.steps_per_epoch < REPLAYED_STEPS:
        return NOT_CHECKED
    trainer = load_framework(settings.framework).Trainer(spec_named(settings.model, settings.classes), start, settings)
    for step, batch in enumerate(islice(stream.epoch(0), REPLAYED_STEPS)):
        trainer.step(batch, learning_rate_at(step, stream.steps_per_epoch, settings))
    return SAME if digest_of_weights(trainer.weights()) == digest_at_first else DIFFERENT
