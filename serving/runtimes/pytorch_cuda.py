"""PyTorch on a card at its best: copies and network recorded once for each shape as a CUDA graph, then replayed.

A replay is one launch in place of one for every operator, which at small sizes takes longer
than the operators themselves. Source of the method: PyTorch's manual, "CUDA Graphs", capture after a warm-up
on a stream of its own. Written without a card at hand; tests/serving/test_cuda.py runs it where there is one.
"""

from __future__ import annotations

from collections.abc import Callable

import torch

from contract.arrays import FloatArray
from contract.manifest import Artifact
from serving.inference.devices import Device
from serving.runtimes.pytorch import PyTorchRuntime, program_on

Call = Callable[[torch.Tensor], torch.Tensor]
WARM_UP_CALLS = 3  # cuDNN chooses its algorithms and allocates before anything is recorded


class RecordedCall:
    """One batch size: pinned host memory in and out, and the graph between them."""

    def __init__(self, call: Call, images: FloatArray, device: torch.device) -> None:
        self._images = torch.from_numpy(images).pin_memory()
        self._on_card = torch.empty_like(self._images, device=device)
        self._call = call
        self._logits = self._warmed_up(device)
        self._graph = torch.cuda.CUDAGraph()
        with torch.cuda.graph(self._graph):
            self._pass()

    def replay(self, images: FloatArray) -> FloatArray:
        """Logits of ``images``, of the shape that was recorded; waits for the card."""
        self._images.copy_(torch.from_numpy(images))
        self._graph.replay()
        torch.cuda.current_stream().synchronize()
        logits: FloatArray = self._logits.numpy().copy()  # the next replay writes over it
        return logits

    def _warmed_up(self, device: torch.device) -> torch.Tensor:
        """Host memory for the logits, after calls that are not recorded."""
        before, aside = torch.cuda.current_stream(device), torch.cuda.Stream(device)
        aside.wait_stream(before)
        with torch.cuda.stream(aside):
            for _ in range(WARM_UP_CALLS):
                logits = self._call(self._on_card.copy_(self._images))
        before.wait_stream(aside)
        return torch.empty(logits.shape, dtype=logits.dtype, pin_memory=True)

    def _pass(self) -> None:
        self._on_card.copy_(self._images, non_blocking=True)
        self._logits.copy_(self._call(self._on_card), non_blocking=True)


class GraphedModel:
    """One exported program; a batch size is recorded when it is first met."""

    def __init__(self, call: Call, device: torch.device) -> None:
        self._call = call
        self._device = device
        self._recorded: dict[int, RecordedCall] = {}

    @property
    def recorded(self) -> int:
        """How many batch sizes have been met."""
        return len(self._recorded)

    def predict(self, images: FloatArray) -> FloatArray:
        """Logits (n, classes)."""
        with torch.inference_mode(), torch.cuda.device(self._device):
            if len(images) not in self._recorded:
                self._recorded[len(images)] = RecordedCall(self._call, images, self._device)
            return self._recorded[len(images)].replay(images)


class GraphedPyTorchRuntime:
    """Exported programs on one card; with ``tf32`` products and convolutions in TensorFloat-32."""

    def __init__(self, name: str, device: Device, threads: int, *, tf32: bool = False) -> None:
        self.name = name
        self._native = PyTorchRuntime(device, threads)
        self._device = torch.device(str(device))
        self._tf32 = tf32
        self._models: list[GraphedModel] = []
        torch.backends.cuda.matmul.allow_tf32 = tf32
        torch.backends.cudnn.allow_tf32 = tf32
        torch.backends.cudnn.benchmark = True  # shapes repeat, so the search for the fastest algorithm pays

    def load(self, artifact: Artifact) -> GraphedModel:
        """The program of ``artifact`` on the card."""
        # Without the guards, whose checks read values back from the card.
        network = program_on(self._device, artifact).module(check_guards=False)
        model = GraphedModel(network.forward, self._device)
        self._models.append(model)
        return model

    def compilations(self) -> int:
        """Batch sizes that were recorded."""
        return sum(model.recorded for model in self._models)

    def describe(self) -> dict[str, str]:
        """As PyTorch reports it."""
        return self._native.describe() | {"precision": "tf32" if self._tf32 else "float32"}


def graphs(device: Device, threads: int) -> GraphedPyTorchRuntime:
    """CUDA graphs, float32."""
    return GraphedPyTorchRuntime("pytorch-graphs", device, threads)


def graphs_in_tf32(device: Device, threads: int) -> GraphedPyTorchRuntime:
    """CUDA graphs, TensorFloat-32: what a framework calls float32 where nobody forbids it."""
    return GraphedPyTorchRuntime("pytorch-graphs-tf32", device, threads, tf32=True)
