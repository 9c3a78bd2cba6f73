from __future__ import annotations

from dataclasses import replace
from math import prod

import pytest
from hypothesis import given
from hypothesis import strategies as st

from contract.architecture import (
    HEMANET,
    RESNET18,
    SPECS,
    ConvNorm,
    Dense,
    GlobalAveragePool,
    ModelSpec,
    Residual,
    is_trained,
    spec_named,
)
from contract.blood_cells import LABELS, RESOLUTIONS_PX
from contract.errors import InvalidSettings

# One convolution over a 6x6 RGB image, small enough to count by hand.
CONV = ConvNorm(name="conv", filters=4, kernel_px=3, stride=2)


def test_parameters_and_flops_of_one_convolution_are_those_counted_by_hand(spec_of) -> None:
    conv, pool, head = spec_of(CONV, classes=2).costs(6)
    assert conv.output_shape == (3, 3, 4)
    assert conv.parameters == 3 * 3 * 3 * 4 + 4 + 4
    # 9 positions x 4 filters, each 27 products and 27 sums; then scale, shift and ReLU on 36 values.
    assert conv.flops == 2 * 27 * 9 * 4 + 3 * 36
    assert conv.activation_bytes == 4 * 36
    assert (pool.output_shape, pool.parameters, pool.flops) == ((4,), 0, 36)
    assert (head.output_shape, head.parameters, head.flops) == ((2,), 4 * 2 + 2, 16)


def test_a_shortcut_costs_and_the_addition_counts(spec_of) -> None:
    spec = spec_of(
        Residual(
            name="block",
            body=(ConvNorm(name="block.conv", filters=2, relu=False),),
            shortcut=ConvNorm(name="block.shortcut", filters=2, kernel_px=1, relu=False),
        )
    )
    body, shortcut, addition, *_ = spec.costs(4)
    assert shortcut.flops == 2 * 3 * 16 * 2 + 2 * 32
    assert addition.flops == 2 * 32
    assert body.output_shape == shortcut.output_shape == addition.output_shape == (4, 4, 2)


@pytest.mark.parametrize("spec", SPECS.values(), ids=SPECS)
def test_costs_count_the_parameters_that_the_shapes_hold(spec: ModelSpec) -> None:
    for side in RESOLUTIONS_PX:
        assert sum(cost.parameters for cost in spec.costs(side)) == spec.parameter_count
    trained = [prod(shape) for name, shape in spec.parameter_shapes().items() if is_trained(name)]
    assert sum(trained) == spec.parameter_count


@pytest.mark.parametrize("spec", SPECS.values(), ids=SPECS)
@pytest.mark.parametrize("side", RESOLUTIONS_PX)
def test_every_network_answers_one_logit_per_class_at_every_resolution(spec: ModelSpec, side: int) -> None:
    assert spec.costs(side)[-1].output_shape == (len(LABELS),)


def test_resnet18_has_the_published_size_of_the_small_image_variant() -> None:
    assert RESNET18.parameter_count == 11_172_936  # torchvision's 11,689,512, less 1000 classes and the 7x7 stem


def test_the_smaller_network_is_smaller_and_grows_with_the_area() -> None:
    assert HEMANET.parameter_count < RESNET18.parameter_count / 10
    assert 3.9 < HEMANET.flops(128) / HEMANET.flops(64) < 4.1


@given(side=st.integers(1, 64), kernel=st.integers(1, 7), stride=st.integers(1, 4))
def test_output_sides_are_those_of_counting_window_positions(side: int, kernel: int, stride: int) -> None:
    conv = ConvNorm(name="conv", filters=1, kernel_px=kernel, stride=stride)
    spec = ModelSpec(name="one", layers=(conv, GlobalAveragePool(name="pool"), Dense(name="head", units=1)))
    padded = side + 2 * (kernel // 2)
    positions = len(range(0, padded - kernel + 1, stride))
    assert spec.costs(side)[0].output_shape == (positions, positions, 1)


def test_arrays_come_in_the_order_of_execution_with_the_shortcut_last(spec_of) -> None:
    names = list(dict.fromkeys(name.rsplit(".", 1)[0] for name in spec_of().parameter_shapes()))
    assert names == ["stem", "same.conv1", "down.conv1", "down.conv2", "down.shortcut", "head"]


def test_running_statistics_are_not_trained() -> None:
    assert [is_trained(f"stem.{part}") for part in ("kernel", "scale", "shift", "mean", "variance")] == [
        True,
        True,
        True,
        False,
        False,
    ]


def test_the_digest_follows_the_layers(spec_of) -> None:
    assert spec_of().digest == spec_of().digest
    assert spec_of().digest != spec_of(classes=4).digest
    assert spec_of().digest != replace(spec_of(), norm_epsilon=1e-3).digest


def test_the_head_is_the_last_layer(spec_of) -> None:
    assert spec_of(classes=5).head == Dense(name="head", units=5)


POOL, HEAD = GlobalAveragePool(name="pool"), Dense(name="head", units=2)


@pytest.mark.parametrize(
    "layers",
    [
        (),
        (CONV,),
        (HEAD,),
        (CONV, HEAD, POOL),
        (CONV, POOL, CONV, HEAD),
        (POOL, POOL, HEAD),
        (Dense(name="early", units=3), POOL, HEAD),
    ],
)
def test_a_network_ends_in_one_pooling_and_one_dense_layer(layers) -> None:
    with pytest.raises(InvalidSettings, match="last two layers"):
        ModelSpec(name="wrong", layers=layers)


@pytest.mark.parametrize(
    "layers", [(CONV, CONV, POOL, HEAD), (CONV, POOL, Dense(name="conv", units=2))], ids=["conv", "dense"]
)
def test_two_layers_with_arrays_may_not_share_a_name(layers) -> None:
    with pytest.raises(InvalidSettings, match="share a name"):
        ModelSpec(name="wrong", layers=layers)


@pytest.mark.parametrize(
    "residual",
    [
        Residual(name="block", body=(ConvNorm(name="a", filters=5),)),
        Residual(name="block", body=(ConvNorm(name="a", filters=3, stride=2),)),
        Residual(name="block", body=(ConvNorm(name="a", filters=5),), shortcut=ConvNorm(name="s", filters=4)),
        Residual(name="block", body=(ConvNorm(name="a", filters=5, stride=2),), shortcut=ConvNorm(name="s", filters=5)),
    ],
    ids=["channels", "stride", "shortcut-channels", "shortcut-stride"],
)
def test_a_residual_whose_two_ways_differ_in_shape_is_refused(spec_of, residual: Residual) -> None:
    with pytest.raises(InvalidSettings, match="block: the body gives"):
        spec_of(residual).parameter_shapes()


def test_an_unknown_network_is_refused_with_the_known_ones() -> None:
    with pytest.raises(InvalidSettings, match="hemanet, resnet18"):
        spec_named("vgg")


def test_networks_are_found_by_their_name() -> None:
    assert all(spec_named(name).name == name for name in SPECS)
