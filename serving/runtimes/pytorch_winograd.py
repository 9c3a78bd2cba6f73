"""PyTorch through AOTInductor, with what oneDNN does not do: Winograd's algorithm where channels are many.

One library for a single image, in which oneDNN's kernels of a large one are packed, and one for every other batch size.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import torch
from torch._inductor.package import AOTICompiledModel
from torch.fx import GraphModule, Node

from serving.inference.devices import Device
from serving.runtimes.convolutions import MANY_CHANNELS, as_products, is_rewritable, of_products
from serving.runtimes.pytorch_tuned import Call, TunedPyTorchRuntime, one_and_several

CONVOLUTION = torch.ops.aten.conv2d.default
DEFAULTS: tuple[Any, ...] = (None, [1, 1], [0, 0])  # bias, strides and padding where they are left out


class Arrays:
    """PyTorch under the names that `as_products` uses."""

    reshape, stack, matmul = torch.reshape, torch.stack, torch.matmul

    @staticmethod
    def pad(images: torch.Tensor, edges: Sequence[Sequence[int]]) -> torch.Tensor:
        """``images`` with zeros around; PyTorch names the last dimension first."""
        return torch.nn.functional.pad(images, [zeros for edge in reversed(edges) for zeros in edge])


class Winograd(torch.nn.Module):  # type: ignore[misc]  # PyTorch's types are not followed
    """A 3 x 3 convolution of ``channels_last`` images (n, channels, height, width) with ``kernel`` (out, in, 3, 3)."""

    def __init__(self, kernel: torch.Tensor) -> None:
        super().__init__()
        transformed = of_products(kernel.detach().permute(2, 3, 1, 0).numpy())
        self.kernel = torch.nn.Parameter(torch.from_numpy(transformed), requires_grad=False)

    def forward(self, images: torch.Tensor) -> torch.Tensor:
        """The convolution's outputs (n, out, height, width)."""
        outputs: torch.Tensor = as_products(images.permute(0, 2, 3, 1), self.kernel, Arrays).permute(0, 3, 1, 2)
        return outputs


def rewrite(network: GraphModule) -> int:
    """Put `Winograd` in the place of every convolution of ``network`` that it suits; how many there were."""
    suited = [node for node in network.graph.nodes if node.target is CONVOLUTION and _is_suited(network, node)]
    for number, node in enumerate(suited):
        images, kernel = node.args[:2]
        network.add_module(f"winograd_{number}", Winograd(network.get_parameter(kernel.target)))
        with network.graph.inserting_before(node):
            node.replace_all_uses_with(network.graph.call_module(f"winograd_{number}", (images,)))
        network.graph.erase_node(node)
    network.recompile()
    return len(suited)


def _is_suited(network: GraphModule, node: Node) -> bool:
    given: list[Any] = [*node.args[1:], *DEFAULTS[len(node.args) - 2 :]]
    kernel, bias, strides, padding, *others = given
    if bias is not None or others or kernel.op != "get_attr":
        return False
    canonical = network.get_parameter(kernel.target).permute(2, 3, 1, 0)
    return canonical.shape[2] >= MANY_CHANNELS and is_rewritable(canonical, strides, [[side] * 2 for side in padding])


def ahead_of_time_by_size(network: GraphModule, example: torch.Tensor) -> Call:
    """A library for one image and one for several."""
    rewrite(network)
    one, several = map(_past_the_wrapper, one_and_several(network, example))
    return lambda images: one(images) if len(images) == 1 else several(images)


def _past_the_wrapper(package: AOTICompiledModel) -> Call:
    """``package`` without what takes apart and puts together any nesting of arguments, some 40 us for one tensor."""
    run: Callable[[list[torch.Tensor]], list[torch.Tensor]] = package.loader.run
    return lambda images: run([images])[0]


def winograd(device: Device, threads: int) -> TunedPyTorchRuntime:
    """AOTInductor, float32, convolutions rewritten."""
    return TunedPyTorchRuntime("pytorch-winograd", ahead_of_time_by_size, device, threads)
