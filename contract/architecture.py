"""The network as data: layers, shapes, parameters and FLOPs.

Each framework builds the network natively from a `ModelSpec`; nothing about it is
written twice. Batch-norm constants stand here because the frameworks' defaults differ
(epsilon 1e-3 in Keras, 1e-5 in PyTorch and Flax; momentum 0.99, 0.9 and 0.99).
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterator
from dataclasses import asdict, dataclass, replace
from math import prod

from contract.errors import InvalidSettings

FLOAT32_BYTES = 4


@dataclass(frozen=True, slots=True, kw_only=True)
class ConvNorm:
    """Convolution without bias, batch norm, and ReLU unless ``relu`` is false.

    Padding is ``kernel_px // 2`` zeros on every side. It is symmetric on purpose:
    "same" means another thing at stride 2 in TensorFlow than in PyTorch.
    """

    name: str
    filters: int
    kernel_px: int = 3
    stride: int = 1
    relu: bool = True

    @property
    def padding_px(self) -> int:
        """Zeros added on each of the four sides."""
        return self.kernel_px // 2


@dataclass(frozen=True, slots=True, kw_only=True)
class Residual:
    """``relu(shortcut(x) + body(x))``; without ``shortcut`` the input itself is added."""

    name: str
    body: tuple[ConvNorm, ...]
    shortcut: ConvNorm | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class GlobalAveragePool:
    """Mean over height and width: what lets one set of weights serve every resolution."""

    name: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Dense:
    """``x @ kernel + bias``."""

    name: str
    units: int


Layer = ConvNorm | Residual | GlobalAveragePool | Dense


@dataclass(frozen=True, slots=True, kw_only=True)
class LayerCost:
    """What one layer does to one image.

    ``output_shape`` is (height, width, channels), or (units,) after pooling. A
    multiplication and an addition count as two FLOPs. ``activation_bytes`` is the
    float32 output alone.
    """

    name: str
    output_shape: tuple[int, ...]
    parameters: int
    flops: int

    @property
    def activation_bytes(self) -> int:
        """Size of the layer's float32 output for one image."""
        return FLOAT32_BYTES * prod(self.output_shape)


@dataclass(frozen=True, slots=True, kw_only=True)
class ModelSpec:
    """A network whose layer list is the same at every resolution."""

    name: str
    layers: tuple[Layer, ...]
    input_channels: int = 3
    norm_epsilon: float = 1e-5
    # The share of the running statistics that a training step keeps.
    norm_momentum: float = 0.9

    def __post_init__(self) -> None:
        kinds = [type(layer) for layer in self.layers]
        if kinds[-2:] != [GlobalAveragePool, Dense] or {GlobalAveragePool, Dense} & set(kinds[:-2]):
            raise InvalidSettings(f"{self.name}: the last two layers, and only they, are GlobalAveragePool and Dense")
        names = [*(conv.name for conv in self.convolutions()), self.head.name]
        if len(set(names)) != len(names):
            raise InvalidSettings(f"{self.name}: two layers share a name: {sorted(names)}")

    @property
    def head(self) -> Dense:
        """The last layer, whose outputs are the logits."""
        head = self.layers[-1]
        assert isinstance(head, Dense)  # held by __post_init__
        return head

    @property
    def digest(self) -> str:
        """SHA-256 of the layer list; two specs with one digest take the same weights."""
        return hashlib.sha256(json.dumps(asdict(self), sort_keys=True).encode()).hexdigest()

    def convolutions(self) -> Iterator[ConvNorm]:
        """Every convolution, in the order of execution; a shortcut comes after its body."""
        for layer in self.layers:
            if isinstance(layer, ConvNorm):
                yield layer
            elif isinstance(layer, Residual):
                yield from layer.body
                if layer.shortcut is not None:
                    yield layer.shortcut

    def parameter_shapes(self) -> dict[str, tuple[int, ...]]:
        """Name and shape of every array, trained or running statistic, in canonical order.

        Convolution kernels are (height, width, in, out), the dense kernel is (in, out).
        """
        shapes: dict[str, tuple[int, ...]] = {}
        channels = self.input_channels
        for layer in self.layers:
            if isinstance(layer, ConvNorm):
                shapes |= _conv_norm_shapes(layer, channels)
                channels = layer.filters
            elif isinstance(layer, Residual):
                channels = _add_residual_shapes(shapes, layer, channels)
            elif isinstance(layer, Dense):
                shapes |= {f"{layer.name}.kernel": (channels, layer.units), f"{layer.name}.bias": (layer.units,)}
                channels = layer.units
        return shapes

    @property
    def parameter_count(self) -> int:
        """Trained parameters; running means and variances are not trained and not counted."""
        return sum(prod(shape) for name, shape in self.parameter_shapes().items() if is_trained(name))

    def costs(self, resolution_px: int) -> list[LayerCost]:
        """What every layer costs for one image of ``resolution_px`` squared."""
        costs: list[LayerCost] = []
        shape: tuple[int, ...] = (resolution_px, resolution_px, self.input_channels)
        for layer in self.layers:
            costs += _layer_costs(layer, shape)
            shape = costs[-1].output_shape
        return costs

    def flops(self, resolution_px: int) -> int:
        """FLOPs of one image, multiplications and additions counted apart."""
        return sum(cost.flops for cost in self.costs(resolution_px))


def is_trained(name: str) -> bool:
    """Whether the array ``name`` is a trained parameter and not a running statistic."""
    return not name.endswith((".mean", ".variance"))


def _conv_norm_shapes(conv: ConvNorm, channels: int) -> dict[str, tuple[int, ...]]:
    kernel = (conv.kernel_px, conv.kernel_px, channels, conv.filters)
    norm = {f"{conv.name}.{part}": (conv.filters,) for part in ("scale", "shift", "mean", "variance")}
    return {f"{conv.name}.kernel": kernel, **norm}


def _add_residual_shapes(shapes: dict[str, tuple[int, ...]], residual: Residual, channels: int) -> int:
    inside = channels
    for conv in residual.body:
        shapes |= _conv_norm_shapes(conv, inside)
        inside = conv.filters
    stride = prod(conv.stride for conv in residual.body)
    shortcut = residual.shortcut
    if shortcut is not None:
        shapes |= _conv_norm_shapes(shortcut, channels)
    added = (channels, 1) if shortcut is None else (shortcut.filters, shortcut.stride)
    if added != (inside, stride):
        raise InvalidSettings(
            f"{residual.name}: the body gives {inside} channels at stride {stride}, what is added to it has "
            f"{added[0]} at stride {added[1]}"
        )
    return inside


def _layer_costs(layer: Layer, shape: tuple[int, ...]) -> list[LayerCost]:
    match layer:
        case ConvNorm():
            return [_conv_cost(layer, shape)]
        case Residual():
            return _residual_costs(layer, shape)
        case GlobalAveragePool():
            return [LayerCost(name=layer.name, output_shape=(shape[-1],), parameters=0, flops=prod(shape))]
        case Dense():
            weights = shape[-1] * layer.units
            return [
                LayerCost(
                    name=layer.name, output_shape=(layer.units,), parameters=weights + layer.units, flops=2 * weights
                )
            ]


def _conv_cost(conv: ConvNorm, shape: tuple[int, ...]) -> LayerCost:
    height, width, channels = shape
    out = tuple((side + 2 * conv.padding_px - conv.kernel_px) // conv.stride + 1 for side in (height, width))
    kernel = conv.kernel_px**2 * channels * conv.filters
    elements = prod(out) * conv.filters
    norm_and_relu = elements * (3 if conv.relu else 2)
    return LayerCost(
        name=conv.name,
        output_shape=(*out, conv.filters),
        parameters=kernel + 2 * conv.filters,
        flops=2 * kernel * prod(out) + norm_and_relu,
    )


def _residual_costs(residual: Residual, shape: tuple[int, ...]) -> list[LayerCost]:
    costs: list[LayerCost] = []
    inside = shape
    for conv in residual.body:
        costs.append(_conv_cost(conv, inside))
        inside = costs[-1].output_shape
    if residual.shortcut is not None:
        costs.append(_conv_cost(residual.shortcut, shape))
    addition_and_relu = 2 * prod(inside)
    costs.append(LayerCost(name=residual.name, output_shape=inside, parameters=0, flops=addition_and_relu))
    return costs


def _residual(name: str, filters: int, depth: int) -> Residual:
    convs = (ConvNorm(name=f"{name}.conv{i}", filters=filters, relu=i < depth) for i in range(1, depth + 1))
    return Residual(name=name, body=tuple(convs))


def _basic_block(name: str, filters: int, stride: int) -> Residual:
    body = (
        ConvNorm(name=f"{name}.conv1", filters=filters, stride=stride),
        ConvNorm(name=f"{name}.conv2", filters=filters, relu=False),
    )
    projects = stride != 1
    shortcut = ConvNorm(name=f"{name}.shortcut", filters=filters, kernel_px=1, stride=stride, relu=False)
    return Residual(name=name, body=body, shortcut=shortcut if projects else None)


HEMANET = ModelSpec(
    name="hemanet",
    layers=(
        ConvNorm(name="stem", filters=16),
        ConvNorm(name="down1", filters=32, stride=2),
        _residual("stage1", 32, depth=1),
        ConvNorm(name="down2", filters=64, stride=2),
        _residual("stage2", 64, depth=2),
        ConvNorm(name="down3", filters=128, stride=2),
        _residual("stage3", 128, depth=1),
        ConvNorm(name="down4", filters=192, stride=2),
        GlobalAveragePool(name="pool"),
        Dense(name="head", units=8),
    ),
)

# ResNet-18 as MedMNIST's own experiments use it: a 3x3 stem of stride 1 and no max pooling.
RESNET18 = ModelSpec(
    name="resnet18",
    layers=(
        ConvNorm(name="stem", filters=64),
        *(
            _basic_block(
                f"stage{stage}.block{block}", 64 * 2 ** (stage - 1), stride=2 if stage > 1 and block == 1 else 1
            )
            for stage in (1, 2, 3, 4)
            for block in (1, 2)
        ),
        GlobalAveragePool(name="pool"),
        Dense(name="head", units=8),
    ),
)

SPECS = {spec.name: spec for spec in (HEMANET, RESNET18)}


def spec_named(name: str, classes: int | None = None) -> ModelSpec:
    """The network called ``name``, with a logit for each of ``classes``; None: those of blood cells.

    A network for another data set has that set's name behind its own, ``hemanet-pathmnist``, so
    that its weights are never taken for those of blood cells. `InvalidSettings` names the ones that exist.
    """
    network, _, data_set = name.partition("-")
    if network not in SPECS or (data_set and classes is None):
        raise InvalidSettings(f"no network is called {name!r}; choose one of: {', '.join(SPECS)}")
    spec = SPECS[network]
    if not data_set and classes in (None, spec.head.units):
        return spec
    head = replace(spec.head, units=classes or spec.head.units)
    return replace(spec, name=name, layers=(*spec.layers[:-1], head))
