"""Runs in a process of its own: what rounding alone does to ResNet-18's gradients, in PyTorch, as JSON.

python corner_probe.py
"""

from __future__ import annotations

import json
import sys
from collections.abc import Callable
from pathlib import Path

import torch  # noqa: TID253
import torch.nn.functional as F  # noqa: N812, TID253 (PyTorch's own convention)
from torch import nn  # noqa: TID253

from train.frameworks import pytorch
from train.initial_weights import initial_weights

sys.path.insert(0, str(Path(__file__).parent))
import probe

Activation = Callable[[torch.Tensor], torch.Tensor]
SPEC = probe.spec_of("resnet18")


def smooth(x: torch.Tensor) -> torch.Tensor:
    """Like a ReLU, without its corner."""
    return F.softplus(x, beta=5)


class Seen:
    """An activation that remembers which of its inputs were above zero."""

    def __init__(self, activation: Activation) -> None:
        self._activation, self.above_zero = activation, list[torch.Tensor]()

    def __call__(self, x: torch.Tensor) -> torch.Tensor:
        self.above_zero.append(x.detach() > 0)
        return self._activation(x)


def gradients(precision: torch.dtype, activation: Seen) -> dict[str, torch.Tensor]:
    """Of the loss of one batch, by name."""
    network = pytorch.build(SPEC, initial_weights(SPEC, seed=5)).to(precision)
    for module in network.modules():
        if isinstance(module, nn.BatchNorm2d):
            module.forward = batch_norm_of(module)  # the same norm, without running statistics, in any precision
    pytorch.F.relu = activation  # type: ignore[assignment]
    data = probe.batch("resnet18")
    answered = network(torch.from_numpy(data.images).to(precision))
    F.cross_entropy(answered, torch.from_numpy(data.targets).to(precision)).backward()
    return {name: parameter.grad.double() for name, parameter in network.named_parameters()}


def batch_norm_of(module: nn.BatchNorm2d) -> Activation:
    return lambda x: F.batch_norm(x, None, None, module.weight, module.bias, True, 0.0, module.eps)


def difference(activation: Activation) -> tuple[float, int]:
    """The largest relative difference of any array's gradient between float32 and float64, and how many signs."""
    rounded, exact = Seen(activation), Seen(activation)
    found, reference = gradients(torch.float32, rounded), gradients(torch.float64, exact)
    signs = sum(int((a != b).sum()) for a, b in zip(rounded.above_zero, exact.above_zero, strict=True))
    return max(float((found[name] - reference[name]).norm() / reference[name].norm()) for name in found), signs


if __name__ == "__main__":
    (corner, signs), (without, _) = difference(torch.relu), difference(smooth)
    print(json.dumps({"relu": corner, "signs": signs, "smooth": without}))
