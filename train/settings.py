"""How a network is trained: every choice that a framework would otherwise make by its own default."""

from __future__ import annotations

from dataclasses import dataclass, replace
from math import cos, pi
from typing import Literal

from contract.errors import InvalidSettings

Precision = Literal["float32", "bfloat16"]


@dataclass(frozen=True, slots=True, kw_only=True)
class Optimizer:
    """AdamW, written out. Decay is decoupled and touches kernels only, not scales, shifts and biases.

    Epsilon is 1e-8 by default in PyTorch and Optax and 1e-7 in Keras. Equal numbers are not quite equal: Keras adds it
    before the bias correction, so in the others' form it is epsilon / sqrt(1 - beta2**t), 32 times as large at step 1.
    """

    beta1: float = 0.9
    beta2: float = 0.999
    epsilon: float = 1e-8
    weight_decay: float = 0.05


@dataclass(frozen=True, slots=True, kw_only=True)
class TrainSettings:
    """One training run.

    ``jpeg_share`` of the images go through a JPEG round trip (quality 75, 4:2:0), the
    step that the official 28 px file shows. ``turned_share`` of them are turned by any angle
    and zoomed, the others by quarter turns. ``mixed_share`` is the strength of mixup (0 is
    none). ``teacher_share`` of each target is what a teacher says of the same image.
    ``precision`` and ``compiled`` are PyTorch's only; they make the reference weights
    affordable on a CPU and stay at float32 and false where frameworks are compared.
    """

    model: str = "hemanet"
    classes: int = 8
    framework: str = "pytorch"
    resolution_px: int = 28
    seed: int = 0
    epochs: int = 40
    batch_images: int = 128
    peak_learning_rate: float = 3e-3
    warmup_epochs: float = 2.0
    label_smoothing: float = 0.05
    mixed_share: float = 0.0
    jpeg_share: float = 0.5
    turned_share: float = 0.0
    teacher_share: float = 0.0
    largest_shift: float = 0.07  # of the side
    average_decay: float = 0.98
    average_every_steps: int = 16
    optimizer: Optimizer = Optimizer()
    precision: Precision = "float32"
    compiled: bool = False

    def __post_init__(self) -> None:
        if self.epochs < 1 or self.batch_images < 2:
            raise InvalidSettings(f"epochs ({self.epochs}) must be >= 1 and batch_images ({self.batch_images}) >= 2")
        if not 0 <= self.warmup_epochs < self.epochs:
            raise InvalidSettings(f"warmup_epochs ({self.warmup_epochs}) leaves nothing of epochs ({self.epochs})")
        for name in ("label_smoothing", "mixed_share", "largest_shift", "average_decay"):
            if not 0 <= getattr(self, name) < 1:
                raise InvalidSettings(f"{name} ({getattr(self, name)}) must be in [0, 1)")
        for name in ("jpeg_share", "turned_share", "teacher_share"):
            if not 0 <= getattr(self, name) <= 1:
                raise InvalidSettings(f"{name} ({getattr(self, name)}) must be in [0, 1]")
        if self.framework != "pytorch" and (self.precision != "float32" or self.compiled):
            raise InvalidSettings(f"precision and compiled are choices of pytorch, not of {self.framework}")


# What each resolution needs beyond the defaults. Higher ones start from the weights below
# them (global pooling makes one layer list fit all), and so need fewer epochs.
RECIPES = {
    28: TrainSettings(resolution_px=28),
    64: TrainSettings(resolution_px=64, epochs=20, peak_learning_rate=2e-3),
    128: TrainSettings(resolution_px=128, epochs=12, peak_learning_rate=1.5e-3, batch_images=64),
    224: TrainSettings(resolution_px=224, epochs=8, peak_learning_rate=1e-3, batch_images=64),
}


# MedMNIST's own peak rate for ResNet-18 (Yang et al., Sci. Data 10 (2023) 41). Its 11 million parameters take
# smaller steps than the 0.4 million of hemanet, for which the recipes above were chosen.
RESNET18_LEARNING_RATE = 1e-3


def recipe_for(resolution_px: int, model: str = "hemanet") -> TrainSettings:
    """The settings that the committed weights of that resolution were trained with, seed and framework apart.

    Those of another ``model`` differ by its name, and for ResNet-18 by a lower learning rate.
    """
    nearest = min(RECIPES, key=lambda known: abs(known - resolution_px))
    recipe = replace(RECIPES[nearest], resolution_px=resolution_px, model=model)
    if not model.startswith("resnet18"):  # resnet18, or resnet18-SET for another set's classes
        return recipe
    return replace(recipe, peak_learning_rate=min(recipe.peak_learning_rate, RESNET18_LEARNING_RATE))


def taught(recipe: TrainSettings) -> TrainSettings:
    """``recipe`` for a network that has a teacher: longer, from harder images, with less smoothing of its own."""
    return replace(
        recipe,
        epochs=max(recipe.epochs, 60),
        label_smoothing=0.02,
        mixed_share=0.1,
        jpeg_share=0.7,
        turned_share=0.7,
        teacher_share=0.7,
    )


def learning_rate_at(step: int, steps_per_epoch: int, settings: TrainSettings) -> float:
    """Linear warm-up, then a half cosine to zero; ``step`` counts from 0. Evaluated outside every framework."""
    warmup = settings.warmup_epochs * steps_per_epoch
    total = settings.epochs * steps_per_epoch
    if step < warmup:
        return settings.peak_learning_rate * (step + 1) / (warmup + 1)
    return settings.peak_learning_rate * 0.5 * (1 + cos(pi * (step - warmup) / (total - warmup)))
