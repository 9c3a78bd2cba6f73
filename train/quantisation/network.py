"""An ONNX network in int8: weights per channel, activations per tensor, scales from images (static quantisation)."""

from __future__ import annotations

import os
from collections.abc import Iterable, Iterator
from pathlib import Path

from contract.arrays import FloatArray
from contract.parity import Predict

CALIBRATION_IMAGES = 256


def quantise(source: Path, target: Path, batches: Iterable[FloatArray]) -> None:
    """Write ``target``: ``source`` with QuantizeLinear and DequantizeLinear around what may run in eight bits.

    The ranges of activations are the smallest and largest value that each takes in ``batches``.
    Activations are unsigned and weights signed, the pairing that int8 products of x86 take: with signed activations
    hemanet ran three to four times as slow, in ONNX Runtime as in OpenVINO.
    """
    from onnxruntime.quantization import (
        CalibrationDataReader,
        CalibrationMethod,
        QuantFormat,
        QuantType,
        quantize_static,
    )
    from onnxruntime.quantization.shape_inference import quant_pre_process

    class Images(CalibrationDataReader):  # type: ignore[misc]  # ONNX Runtime's types are not followed
        def __init__(self, batches: Iterator[FloatArray]) -> None:
            self._batches = batches

        def get_next(self) -> dict[str, FloatArray] | None:
            batch = next(self._batches, None)
            return None if batch is None else {"images": batch}

    prepared = target.with_suffix(".prepared")
    quant_pre_process(source, prepared, skip_symbolic_shape=True)  # its shapes are known but for the batch
    quantize_static(
        prepared,
        target,
        Images(iter(batches)),
        quant_format=QuantFormat.QDQ,
        per_channel=True,
        activation_type=QuantType.QUInt8,
        weight_type=QuantType.QInt8,
        calibrate_method=CalibrationMethod.MinMax,
    )
    prepared.unlink()


def predict_of(path: Path) -> Predict:
    """The network in ``path``, on every core."""
    import onnxruntime

    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = len(os.sched_getaffinity(0))
    session = onnxruntime.InferenceSession(str(path), options, providers=["CPUExecutionProvider"])

    def predict(images: FloatArray) -> FloatArray:
        logits: FloatArray = session.run(["logits"], {"images": images})[0]
        return logits

    return predict
