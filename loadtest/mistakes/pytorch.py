"""PyTorch, called carefully and as its users call it."""

from __future__ import annotations

from functools import cached_property

import numpy as np
import torch
from torch.nn import functional as F  # noqa: N812 (PyTorch's own habit)

from contract.arrays import FloatArray
from loadtest.mistakes.sample import Sample, Subject, divided_twice, preprocess
from train.frameworks.pytorch import Network, build, write_weights


class Ways:
    """Each method takes a sample to logits on the host, which PyTorch's CPU operators wait for by themselves."""

    def __init__(self, subject: Subject, threads: int | None) -> None:
        if threads:
            torch.set_num_threads(threads)
        self._subject = subject
        self._side = subject.resolution_px
        self._network = build(subject.spec, subject.weights).eval()
        self._compiled = torch.compile(self._network)

    def careful(self, sample: Sample) -> FloatArray:
        """Compiled, channels last, without autograd."""
        return self._call(self._compiled, torch.from_numpy(sample.nhwc))

    def eager(self, sample: Sample) -> FloatArray:
        """The same without ``torch.compile``: what ``model(x)`` does unless it is told otherwise."""
        return self._call(self._network, torch.from_numpy(sample.nhwc))

    def nchw_copied(self, sample: Sample) -> FloatArray:
        """The harness holds NHWC, PyTorch's default is NCHW: a copy for every call, and weights as they were made."""
        images = torch.from_numpy(np.ascontiguousarray(sample.nhwc.transpose(0, 3, 1, 2)))
        # The network takes NHWC and permutes: this view gives its convolutions the NCHW memory of the copy.
        return self._call(self._in_default_layout, images.permute(0, 2, 3, 1))

    def low_precision(self, sample: Sample) -> FloatArray:
        """One line that guides to faster training recommend; on this CPU it lets oneDNN compute in bfloat16."""
        before = torch.get_float32_matmul_precision()
        torch.set_float32_matmul_precision("medium")
        try:
            return self.eager(sample)
        finally:
            torch.set_float32_matmul_precision(before)

    def pil_resize(self, sample: Sample) -> FloatArray:
        """From the photograph, with the project's preprocessing."""
        return self._call(self._compiled, torch.from_numpy(preprocess(sample.photograph, self._side)))

    def native_resize(self, sample: Sample) -> FloatArray:
        """From the photograph, with ``interpolate`` as it comes: no antialiasing, which torchvision's Resize has."""
        pixels = torch.from_numpy(sample.photograph).permute(2, 0, 1).unsqueeze(0).float()
        smaller = F.interpolate(pixels, size=(self._side, self._side), mode="bilinear")
        return self._call(self._compiled, (smaller / 127.5 - 1).permute(0, 2, 3, 1).contiguous())

    def divided_twice(self, sample: Sample) -> FloatArray:
        """From the photograph, scaled by the loader and once more before the network."""
        return self._call(self._compiled, torch.from_numpy(divided_twice(sample.photograph, self._side)))

    @cached_property
    def _in_default_layout(self) -> torch.nn.Module:
        network = Network(self._subject.spec)
        write_weights(network, self._subject.weights)
        return network.eval()

    @staticmethod
    def _call(network: torch.nn.Module, images: torch.Tensor) -> FloatArray:
        with torch.inference_mode():
            logits: FloatArray = network(images).numpy()
        return logits

    @staticmethod
    def wait(result: object) -> None:
        """Nothing is ever on its way: operators on the CPU return when they have computed."""

    @staticmethod
    def describe() -> dict[str, str]:
        """As PyTorch reports it."""
        return {"library": f"torch {torch.__version__}", "threads": str(torch.get_num_threads())}
