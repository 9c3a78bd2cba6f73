"""Runs in a process of its own: what one framework computes for a network, as one .npz file.

python probe.py FRAMEWORK SPEC OUTPUT
"""

from __future__ import annotations

import sys
from pathlib import Path

import numpy as np

from contract.architecture import ConvNorm, Dense, GlobalAveragePool, ModelSpec, Residual, spec_named
from train.batches import Batch, smoothed_targets
from train.frameworks import load_framework
from train.initial_weights import initial_weights
from train.settings import Optimizer, TrainSettings, learning_rate_at

IMAGES, SIDE_PX, STEPS, STEPS_PER_EPOCH = 32, 28, 10, 20
GRADIENT_SEEDS = (11, 12, 13)

# Small, and with every kind of layer: a projecting shortcut, an identity, both strides, an odd side.
SMALL = ModelSpec(
    name="small",
    layers=(
        ConvNorm(name="stem", filters=8),
        Residual(
            name="wider",
            body=(
                ConvNorm(name="wider.a", filters=12, stride=2),
                ConvNorm(name="wider.b", filters=12, relu=False),
            ),
            shortcut=ConvNorm(name="wider.shortcut", filters=12, kernel_px=1, stride=2, relu=False),
        ),
        Residual(name="same", body=(ConvNorm(name="same.a", filters=12, relu=False),)),
        ConvNorm(name="down", filters=16, stride=2),
        ConvNorm(name="down_odd", filters=16, stride=2),
        GlobalAveragePool(name="pool"),
        Dense(name="head", units=8),
    ),
)


def spec_of(name: str) -> ModelSpec:
    """``small``, or a network of the project."""
    return SMALL if name == "small" else spec_named(name)


def batch(seed: int = 11) -> Batch:
    """Random images and labels, the same for every framework."""
    rng = np.random.default_rng(seed)
    images = rng.uniform(-1, 1, (IMAGES, SIDE_PX, SIDE_PX, 3)).astype(np.float32)
    return Batch(images, smoothed_targets(rng.integers(0, 8, IMAGES).astype(np.uint8), 8, 0.05))


def main(framework: str, spec_name: str, output: str) -> None:
    """Logits, gradients, the loss of every step, and weights before and after."""
    spec = spec_of(spec_name)
    # A decay that is seen after ten steps, so that one on the wrong arrays is seen too.
    settings = TrainSettings(framework=framework, optimizer=Optimizer(weight_decay=50.0))
    trainer = load_framework(framework).Trainer(spec, initial_weights(spec, seed=5), settings)
    data = batch()
    found = {"logits": trainer.predict(data.images)}
    for seed in GRADIENT_SEEDS:
        found |= {f"gradient/{seed}/{name}": array for name, array in trainer.gradients(batch(seed)).items()}
    found |= {f"before/{name}": array for name, array in trainer.weights().items()}
    rates = [learning_rate_at(step, STEPS_PER_EPOCH, settings) for step in range(STEPS)]
    found["losses"] = np.array([trainer.step(data, rate) for rate in rates])
    found |= {f"after/{name}": array for name, array in trainer.weights().items()}
    found["logits_after"] = trainer.predict(data.images)
    trainer.replace_weights(initial_weights(spec, seed=5))
    found["logits_again"] = trainer.predict(data.images)
    np.savez(Path(output), **found)


if __name__ == "__main__":
    main(*sys.argv[1:])
