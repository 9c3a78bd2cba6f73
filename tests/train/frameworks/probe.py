"""Runs in a process of its own: what one framework computes for a network, as one .npz file.

python probe.py FRAMEWORK SPEC OUTPUT
"""

from __future__ import annotations

import sys
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from contract.architecture import ConvNorm, Dense, GlobalAveragePool, ModelSpec, Residual, spec_named
from contract.preprocessing import scale_pixels
from train.batches import Batch, smoothed_targets
from train.frameworks import load_framework
from train.initial_weights import initial_weights
from train.settings import Optimizer, TrainSettings, learning_rate_at
from train.sources.synthetic import render_cells

SIDE_PX, STEPS_PER_EPOCH = 28, 20


@dataclass(frozen=True, slots=True, kw_only=True)
class Effort:
    """How much of a network's course is compared; gradients once for each of ``gradient_seeds``.

    Gradients must agree to ``gradient_tolerance``, relative to the norm of each array.
    """

    images: int = 32
    steps: int = 10
    gradient_seeds: tuple[int, ...] = (11, 12, 13)
    gradient_tolerance: float = 1e-4


# ResNet-18 costs so much more than hemanet that a few images and steps must do. Of the millions of values in its
# sixteen deep layers some lie within rounding of a ReLU's corner in every batch, and the gradients of those batches
# differ by 2e-3 to 2e-2 (corner_probe.py shows that this is the reason); its logits, losses and weights are held to
# the same tolerances as the others'.
EFFORTS = {
    "hemanet": Effort(),
    "small": Effort(),
    "resnet18": Effort(images=8, steps=3, gradient_tolerance=2e-2),
}

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


def batch(spec_name: str, seed: int = 11) -> Batch:
    """Images and labels, the same for every framework: rendered cells for ResNet-18, else random ones."""
    images = EFFORTS[spec_name].images
    if spec_name == "resnet18":
        cells, labels = render_cells(images, SIDE_PX, seed=seed)
        return Batch(scale_pixels(cells), smoothed_targets(labels, 8, 0.05))
    rng = np.random.default_rng(seed)
    pixels = rng.uniform(-1, 1, (images, SIDE_PX, SIDE_PX, 3)).astype(np.float32)
    return Batch(pixels, smoothed_targets(rng.integers(0, 8, images).astype(np.uint8), 8, 0.05))


def main(framework: str, spec_name: str, output: str) -> None:
    """Logits, gradients, the loss of every step, and weights before and after."""
    spec, effort = spec_of(spec_name), EFFORTS[spec_name]
    # A decay that is seen after few steps, so that one on the wrong arrays is seen too.
    settings = TrainSettings(framework=framework, optimizer=Optimizer(weight_decay=50.0))
    trainer = load_framework(framework).Trainer(spec, initial_weights(spec, seed=5), settings)
    data = batch(spec_name)
    found = {"logits": trainer.predict(data.images)}
    for seed in effort.gradient_seeds:
        found |= {f"gradient/{seed}/{name}": array for name, array in trainer.gradients(batch(spec_name, seed)).items()}
    found |= {f"before/{name}": array for name, array in trainer.weights().items()}
    rates = [learning_rate_at(step, STEPS_PER_EPOCH, settings) for step in range(effort.steps)]
    found["losses"] = np.array([trainer.step(data, rate) for rate in rates])
    found |= {f"after/{name}": array for name, array in trainer.weights().items()}
    found["logits_after"] = trainer.predict(data.images)
    trainer.replace_weights(initial_weights(spec, seed=5))
    found["logits_again"] = trainer.predict(data.images)
    np.savez(Path(output), **found)


if __name__ == "__main__":
    main(*sys.argv[1:])
