"""What copying a call's input to a card takes, and its logits back: what every call there pays beside computing."""

from __future__ import annotations

import sys
from collections.abc import Callable
from time import perf_counter_ns
from typing import Any

import numpy as np

from contract.arrays import FloatArray
from serving.inference.devices import parse_device

Copy = Callable[[], object]


def transfer_times_ns(
    device: str, images: FloatArray, logits: FloatArray, calls: int
) -> tuple[tuple[int, ...], tuple[int, ...]]:
    """To the card and to the host, ``calls`` times each, by PyTorch or JAX, whichever is in the process.

    Both empty on the CPU and for other frameworks, which copy inside a call only.
    """
    if not device.startswith("cuda"):
        return (), ()
    for module, copies_of in (("torch", _torch_copies), ("jax", _jax_copies)):
        if (library := sys.modules.get(module)) is not None:  # TensorFlow's runtime puts None in JAX's place
            to_card, to_host = copies_of(library, device, images, logits)
            return _times_ns(to_card, calls), _times_ns(to_host, calls)
    return (), ()


def _torch_copies(torch: Any, device: str, images: FloatArray, logits: FloatArray) -> tuple[Copy, Copy]:
    on_card = torch.from_numpy(logits).to(device)

    def to_card() -> None:
        torch.from_numpy(images).to(device)
        torch.cuda.synchronize(device)

    return to_card, lambda: on_card.cpu().numpy()


def _jax_copies(jax: Any, device: str, images: FloatArray, logits: FloatArray) -> tuple[Copy, Copy]:
    card = jax.devices("gpu")[parse_device(device).index]
    # An array keeps its copy on the host once it was asked for it, so each call gets an array of its own.
    to_host = jax.jit(lambda values: values + 0)
    on_card = jax.device_put(logits, card)
    return lambda: jax.device_put(images, card).block_until_ready(), lambda: np.asarray(to_host(on_card))


def _times_ns(copy: Copy, calls: int) -> tuple[int, ...]:
    copy()
    times = []
    for _ in range(calls):
        began_ns = perf_counter_ns()
        copy()
        times.append(perf_counter_ns() - began_ns)
    return tuple(times)
