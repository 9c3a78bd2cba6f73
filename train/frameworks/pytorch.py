"""The network in PyTorch."""

from __future__ import annotations

import warnings
from collections.abc import Mapping
from pathlib import Path

import numpy as np
import torch
from torch import nn
from torch.nn import functional as F  # noqa: N812 (PyTorch's own habit)

from contract import architecture
from contract.architecture import ModelSpec
from contract.arrays import FloatArray
from contract.errors import InvalidSettings
from contract.parity import Predict
from contract.weights import Weights
from train.batches import Batch
from train.settings import TrainSettings
from train.snapshots import Arrays

LARGEST_BATCH = 1024


class BatchNorm(nn.BatchNorm2d):
    """Batch norm whose running variance is the biased one, as in Keras and Flax.

    PyTorch's own multiplies the batch's variance by n / (n - 1) before it averages,
    a difference of 0.2 % in the deepest layer at 28 px, and enough to break parity of
    trained weights.
    """

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        if not self.training:
            return F.batch_norm(x, self.running_mean, self.running_var, self.weight, self.bias, False, 0.0, self.eps)
        y, mean, inverse_deviation = torch.native_batch_norm(x, self.weight, self.bias, None, None, True, 0.0, self.eps)
        with torch.no_grad():
            variance = inverse_deviation.detach().float() ** -2 - self.eps
            self.running_mean.lerp_(mean.detach().float(), self.momentum)
            self.running_var.lerp_(variance, self.momentum)
        return y


class ConvNorm(nn.Module):
    def __init__(self, layer: architecture.ConvNorm, channels: int, spec: ModelSpec) -> None:
        super().__init__()
        self.layer_name, self.relu = layer.name, layer.relu
        self.conv = nn.Conv2d(channels, layer.filters, layer.kernel_px, layer.stride, layer.padding_px, bias=False)
        # PyTorch's momentum is the share of the new value, the others' that of the old.
        self.norm = BatchNorm(layer.filters, eps=spec.norm_epsilon, momentum=1 - spec.norm_momentum)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        y = self.norm(self.conv(x))
        return F.relu(y) if self.relu else y


class Residual(nn.Module):
    def __init__(self, layer: architecture.Residual, channels: int, spec: ModelSpec) -> None:
        super().__init__()
        widths = [channels, *(conv.filters for conv in layer.body)]
        self.body = nn.Sequential(*(ConvNorm(conv, w, spec) for conv, w in zip(layer.body, widths, strict=False)))
        self.shortcut = nn.Identity() if layer.shortcut is None else ConvNorm(layer.shortcut, channels, spec)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return F.relu(self.shortcut(x) + self.body(x))


class Network(nn.Module):
    """Takes (batch, height, width, channels): that memory, seen as NCHW, is PyTorch's ``channels_last``."""

    def __init__(self, spec: ModelSpec) -> None:
        super().__init__()
        channels = spec.input_channels
        layers: list[nn.Module] = []
        for layer in spec.layers:
            if isinstance(layer, architecture.ConvNorm):
                layers.append(ConvNorm(layer, channels, spec))
                channels = layer.filters
            elif isinstance(layer, architecture.Residual):
                layers.append(Residual(layer, channels, spec))
                channels = layer.body[-1].filters
        self.features = nn.Sequential(*layers)
        self.head = nn.Linear(channels, spec.head.units)
        self.head_name = spec.head.name

    def forward(self, images: torch.Tensor) -> torch.Tensor:
        features = self.features(images.permute(0, 3, 1, 2))
        return self.head(features.mean(dim=(2, 3)))


def build(spec: ModelSpec, weights: Mapping[str, FloatArray]) -> Network:
    """The network of ``spec`` with ``weights``, in ``channels_last``."""
    network = Network(spec)
    write_weights(network, weights)
    return network.to(memory_format=torch.channels_last)


def canonical_tensors(network: Network) -> dict[str, torch.Tensor]:
    """Every tensor under its canonical name, still in PyTorch's layout."""
    tensors: dict[str, torch.Tensor] = {}
    for module in network.modules():
        if isinstance(module, ConvNorm):
            norm = module.norm
            parts = (module.conv.weight, norm.weight, norm.bias, norm.running_mean, norm.running_var)
            for part, tensor in zip(("kernel", "scale", "shift", "mean", "variance"), parts, strict=True):
                tensors[f"{module.layer_name}.{part}"] = tensor
    tensors[f"{network.head_name}.kernel"] = network.head.weight
    tensors[f"{network.head_name}.bias"] = network.head.bias
    return tensors


def _to_canonical(tensor: torch.Tensor) -> FloatArray:
    array = tensor.detach().float().cpu()
    order = {4: (2, 3, 1, 0), 2: (1, 0), 1: (0,)}[array.ndim]
    return np.array(array.permute(order).numpy(), order="C", copy=True)


def _from_canonical(array: FloatArray) -> torch.Tensor:
    order = {4: (3, 2, 0, 1), 2: (1, 0), 1: (0,)}[array.ndim]
    return torch.from_numpy(np.ascontiguousarray(array.transpose(order)))


def write_weights(network: Network, weights: Mapping[str, FloatArray]) -> None:
    """Copy canonical ``weights`` into ``network``."""
    with torch.no_grad():
        for name, tensor in canonical_tensors(network).items():
            tensor.copy_(_from_canonical(weights[name]))


class Trainer:
    """See `train.frameworks.Trainer`."""

    def __init__(self, spec: ModelSpec, weights: Mapping[str, FloatArray], settings: TrainSettings) -> None:
        torch.manual_seed(settings.seed)
        self._device = "cuda" if torch.cuda.is_available() else "cpu"
        self._names = tuple(spec.parameter_shapes())
        self._network = build(spec, weights).to(self._device)
        self._bfloat16 = settings.precision == "bfloat16"
        self._forward = torch.compile(self._network) if settings.compiled else self._network
        self._optimizer = _adamw(self._network, settings)

    def step(self, batch: Batch, learning_rate: float) -> float:
        for group in self._optimizer.param_groups:
            group["lr"] = learning_rate
        self._optimizer.zero_grad(set_to_none=True)
        loss = self._loss(batch)
        loss.backward()
        self._optimizer.step()
        return loss.item()

    def gradients(self, batch: Batch) -> Weights:
        statistics = {name: tensor.clone() for name, tensor in self._network.named_buffers()}
        self._optimizer.zero_grad(set_to_none=True)
        self._loss(batch).backward()
        self._network.load_state_dict(statistics, strict=False)
        tensors = canonical_tensors(self._network)
        return {name: _to_canonical(tensors[name].grad) for name in self._names if tensors[name].requires_grad}

    def predict(self, images: FloatArray) -> FloatArray:
        self._network.eval()
        with torch.inference_mode():
            return self._network(torch.from_numpy(images).to(self._device)).float().cpu().numpy()

    def weights(self) -> Weights:
        tensors = canonical_tensors(self._network)
        return {name: _to_canonical(tensors[name]) for name in self._names}

    def replace_weights(self, weights: Mapping[str, FloatArray]) -> None:
        write_weights(self._network, weights)

    def optimizer_state(self) -> Arrays:
        tensors = canonical_tensors(self._network)
        return {
            f"{name}.{part}": value.detach().cpu().numpy().copy()
            for name in self._names
            for part, value in self._optimizer.state.get(tensors[name], {}).items()
        }

    def restore_optimizer(self, state: Arrays) -> None:
        tensors = canonical_tensors(self._network)
        for key, array in state.items():
            name, _, part = key.rpartition(".")
            tensor = tensors[name]
            value = torch.from_numpy(array.copy())
            # A fused step relies on moments that lie in memory as their kernel does, and on all of it on one device.
            moment = torch.empty_like(tensor).copy_(value) if part != "step" else value.to(tensor.device)
            self._optimizer.state[tensor][part] = moment

    def _loss(self, batch: Batch) -> torch.Tensor:
        self._network.train()
        images = torch.from_numpy(batch.images).to(self._device)
        targets = torch.from_numpy(batch.targets).to(self._device)
        with torch.autocast(self._device, torch.bfloat16, enabled=self._bfloat16):
            logits = self._forward(images)
        return F.cross_entropy(logits.float(), targets)


def _adamw(network: Network, settings: TrainSettings) -> torch.optim.AdamW:
    wanted = settings.optimizer
    tensors = {name: tensor for name, tensor in canonical_tensors(network).items() if tensor.requires_grad}
    kernels = [tensor for name, tensor in tensors.items() if name.endswith(".kernel")]
    others = [tensor for name, tensor in tensors.items() if not name.endswith(".kernel")]
    groups = [{"params": kernels, "weight_decay": wanted.weight_decay}, {"params": others, "weight_decay": 0.0}]
    return torch.optim.AdamW(groups, betas=(wanted.beta1, wanted.beta2), eps=wanted.epsilon, fused=True)


def export(spec: ModelSpec, weights: Mapping[str, FloatArray], resolution_px: int, format_: str, path: Path) -> None:
    """Write a ``torch_export`` or ``onnx`` file; see `train.frameworks.Framework`."""
    network = build(spec, weights).eval()
    example = (torch.zeros(2, resolution_px, resolution_px, spec.input_channels),)
    batch = torch.export.Dim("batch", min=1, max=LARGEST_BATCH)
    program = torch.export.export(network, example, dynamic_shapes=({0: batch},))
    if format_ == "torch_export":
        _save_program(program, path)
    elif format_ == "onnx":
        _save_onnx(program, path)
    else:
        raise InvalidSettings(f"pytorch does not export {format_!r}")


def _save_program(program: torch.export.ExportedProgram, path: Path) -> None:
    program.example_inputs = None  # 1.2 MB at 224 px that nobody reads
    with warnings.catch_warnings():
        # Kernels lie in channels_last, which the archive's writer takes for views of something larger.
        warnings.filterwarnings("ignore", message="No complete tensor found in the group")
        torch.export.save(program, path)


def _save_onnx(program: torch.export.ExportedProgram, path: Path) -> None:
    torch.onnx.export(
        program,
        f=path,
        input_names=["images"],
        output_names=["logits"],
        external_data=False,  # one file: nothing beside it that could be swapped
        verbose=False,
    )


def reload(format_: str, path: Path) -> Predict:
    """See `train.frameworks.Framework`."""
    return _reload_onnx(path) if format_ == "onnx" else _reload_program(path)


def _reload_program(path: Path) -> Predict:
    module = torch.export.load(path).module()

    def predict(images: FloatArray) -> FloatArray:
        with torch.inference_mode():
            return module(torch.from_numpy(images)).numpy()

    return predict


def _reload_onnx(path: Path) -> Predict:
    import onnxruntime

    session = onnxruntime.InferenceSession(path, providers=["CPUExecutionProvider"])

    def predict(images: FloatArray) -> FloatArray:
        return session.run(["logits"], {"images": images})[0]

    return predict
