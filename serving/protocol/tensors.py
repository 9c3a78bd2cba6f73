"""Tensors as the Open Inference Protocol writes them, in JSON or as binary data behind it.

What is taken from a request is known to fit before memory is taken for it: the shape is
compared with the one model's own, never multiplied out, and JSON numbers are counted by
their commas and brackets before any of them becomes an object.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, TypeVar

import msgspec
import numpy as np

from contract.arrays import FloatArray
from serving.answers import encode_json
from serving.http.refusal import Refusal

T = TypeVar("T")

DATATYPE = "FP32"
CHANNELS = 3
BYTES_PER_VALUE = 4
MAX_BATCH = 32
MAX_ID_CHARACTERS = 256
# The JSON before binary data only describes it, and so does a list of outputs.
MAX_DESCRIPTION_BYTES = 65_536
# Well outside [-1, 1], which the models are trained on. Pixels that nobody scaled, from 0 to 255, are above it:
# they would get an answer, and a sure one.
LARGEST_VALUE = 16.0
_LITTLE_ENDIAN = np.dtype("<f4")


class InputParameters(msgspec.Struct, frozen=True):
    """What an input's parameters may say; others are not read."""

    binary_data_size: int | None = None
    shared_memory_region: str | None = None


class TensorIn(msgspec.Struct, frozen=True):
    """One input."""

    name: str
    shape: tuple[int, int, int, int]
    datatype: str
    parameters: InputParameters = InputParameters()
    data: msgspec.Raw = msgspec.Raw()


class OutputParameters(msgspec.Struct, frozen=True):
    """What a wanted output's parameters may say; others are not read."""

    binary_data: bool | None = None
    classification: int = 0
    shared_memory_region: str | None = None


class OutputWanted(msgspec.Struct, frozen=True):
    """One output by name."""

    name: str
    parameters: OutputParameters = OutputParameters()


class RequestParameters(msgspec.Struct, frozen=True):
    """What a request's parameters may say; others, a sequence or a priority, are not read."""

    binary_data_output: bool = False


class InferenceRequest(msgspec.Struct, frozen=True):
    """A whole request, but for its binary data. The models take one input."""

    inputs: tuple[TensorIn]
    id: str | None = None
    parameters: RequestParameters = RequestParameters()
    outputs: msgspec.Raw = msgspec.Raw()


class TensorOut(msgspec.Struct, frozen=True, omit_defaults=True):
    """One output: its ``data`` in JSON, or the size of its binary data in ``parameters``."""

    name: str
    datatype: str
    shape: tuple[int, ...]
    data: list[float] | None = None
    parameters: dict[str, int] | None = None


class InferenceAnswer(msgspec.Struct, frozen=True, omit_defaults=True):
    """A whole answer, but for its binary data."""

    model_name: str
    model_version: str
    outputs: list[TensorOut]
    parameters: dict[str, str]
    id: str | None = None


_decode_request = msgspec.json.Decoder(InferenceRequest).decode
_decode_outputs = msgspec.json.Decoder(list[OutputWanted]).decode
_decode_flat = msgspec.json.Decoder(list[float]).decode
_decode_nested = msgspec.json.Decoder(list[list[list[list[float]]]]).decode


def split_body(body: bytes, header_lengths: Sequence[bytes]) -> tuple[InferenceRequest, memoryview]:
    """The request and its binary data; ``header_lengths`` are the values of ``Inference-Header-Content-Length``.

    Raises `Refusal` (400 ``bad_request_body``).
    """
    view = memoryview(body)
    if not header_lengths:
        return _decoded(InferenceRequest, _decode_request, view), view[len(view) :]
    text = header_lengths[0]
    if len(header_lengths) > 1 or not text.isdigit() or len(text) > 10:
        raise _bad_body("Inference-Header-Content-Length is not one whole number")
    length = int(text)
    if length > len(view):
        raise _bad_body("Inference-Header-Content-Length is larger than the body")
    if length > MAX_DESCRIPTION_BYTES:
        raise _bad_body(f"the JSON before binary data is longer than {MAX_DESCRIPTION_BYTES:,} bytes")
    return _decoded(InferenceRequest, _decode_request, view[:length]), view[length:]


def images_of(request: InferenceRequest, binary: memoryview, input_name: str, resolution_px: int) -> FloatArray:
    """The images (n, side, side, 3) of ``request``, with 1 <= n <= `MAX_BATCH`.

    Raises `Refusal`: 400 ``bad_tensor`` for a wrong name, datatype, shape or size, 413
    ``batch_too_large``, 422 ``value_out_of_range`` where a value is not finite or far from [-1, 1].
    """
    (tensor,) = request.inputs
    if request.id is not None and len(request.id) > MAX_ID_CHARACTERS:
        raise _bad_body(f"the id is longer than {MAX_ID_CHARACTERS} characters")
    _require_fit(tensor, input_name, resolution_px)
    if tensor.parameters.binary_data_size is None:
        if len(binary):
            raise _bad_tensor("binary data follows, which no input claims by its parameter 'binary_data_size'")
        images = _from_json(tensor)
    else:
        images = _from_binary(tensor, binary)
    if not (images.max() <= LARGEST_VALUE and images.min() >= -LARGEST_VALUE):  # false for NaN, as it must be
        raise Refusal(
            f"every value of {input_name!r} must be finite and within ±{LARGEST_VALUE:g}; "
            "the models are trained on [-1, 1], which is pixel / 127.5 - 1",
            code="value_out_of_range",
            status=422,
        )
    return images


def outputs_wanted(request: InferenceRequest, names: Sequence[str]) -> dict[str, bool]:
    """The outputs to answer with, in the order wanted, and whether each goes as binary data.

    All of ``names`` where none is asked for. Raises `Refusal` (400).
    """
    binary = request.parameters.binary_data_output
    if len(bytes(request.outputs)) > MAX_DESCRIPTION_BYTES:
        raise _bad_body(f"the list of outputs is longer than {MAX_DESCRIPTION_BYTES:,} bytes")
    asked = _decoded(list[OutputWanted], _decode_outputs, request.outputs) if bytes(request.outputs) else []
    wanted: dict[str, bool] = {}
    for output in asked:
        if output.name not in names or output.name in wanted:
            raise _bad_tensor(f"each output may be asked for once, and is one of: {', '.join(names)}")
        if output.parameters.classification or output.parameters.shared_memory_region is not None:
            raise _bad_tensor("the classification and shared memory extensions are not offered")
        given = output.parameters.binary_data
        wanted[output.name] = binary if given is None else given
    return wanted or dict.fromkeys(names, binary)


def encode_answer(
    model: tuple[str, str],
    request_id: str | None,
    tensors: dict[str, FloatArray],
    binary: dict[str, bool],
    parameters: dict[str, str],
) -> tuple[bytes, int | None]:
    """The body of an answer, and the length of its JSON where binary data follows.

    ``model`` is its name and version; ``binary`` gives the outputs of ``tensors`` their order.
    """
    pieces = [tensors[name].astype(_LITTLE_ENDIAN).tobytes() for name, is_binary in binary.items() if is_binary]
    outputs = [_described(name, tensors[name], is_binary) for name, is_binary in binary.items()]
    described = encode_json(InferenceAnswer(*model, outputs, parameters, request_id))
    return b"".join((described, *pieces)), len(described) if pieces else None


def _described(name: str, tensor: FloatArray, is_binary: bool) -> TensorOut:
    if is_binary:
        return TensorOut(name, DATATYPE, tensor.shape, parameters={"binary_data_size": tensor.size * BYTES_PER_VALUE})
    return TensorOut(name, DATATYPE, tensor.shape, data=tensor.ravel().tolist())


def _require_fit(tensor: TensorIn, name: str, resolution_px: int) -> None:
    if tensor.name != name:
        raise _bad_tensor(f"the model takes one input, which is called {name!r}")
    if tensor.datatype != DATATYPE:
        raise _bad_tensor(f"the datatype of {name!r} is {DATATYPE}")
    images, *image = tensor.shape
    if image != [resolution_px, resolution_px, CHANNELS] or images < 1:
        raise _bad_tensor(f"the shape of {name!r} is [n, {resolution_px}, {resolution_px}, {CHANNELS}] with n >= 1")
    if images > MAX_BATCH:
        raise Refusal(f"a request may hold {MAX_BATCH} images", code="batch_too_large", status=413)
    if tensor.parameters.shared_memory_region is not None:
        raise _bad_tensor("the shared memory extension is not offered")


def _from_binary(tensor: TensorIn, binary: memoryview) -> FloatArray:
    size = BYTES_PER_VALUE * _values_in(tensor.shape)
    if bytes(tensor.data):
        raise _bad_tensor("an input has 'data' or the parameter 'binary_data_size', not both")
    if tensor.parameters.binary_data_size != size:
        raise _bad_tensor(f"the parameter 'binary_data_size' is {size:,} for this shape")
    if len(binary) != size:
        raise _bad_tensor(f"{len(binary):,} bytes of binary data came; this shape has {size:,}")
    # A copy: behind JSON of any length the data is not aligned, and the whole body need not wait in the line.
    return np.frombuffer(binary, _LITTLE_ENDIAN).astype(np.float32).reshape(tensor.shape)


def _from_json(tensor: TensorIn) -> FloatArray:
    text = bytes(tensor.data)
    if not text:
        raise _bad_tensor("the input has neither 'data' nor the parameter 'binary_data_size'")
    count, brackets = text.count(b",") + 1, text.count(b"[")
    if count != _values_in(tensor.shape) or brackets not in (1, _lists_in(tensor.shape)):
        raise _bad_tensor("'data' does not have as many numbers as the shape, in one list or nested like the shape")
    try:
        numbers = _decode_flat(text) if brackets == 1 else _decode_nested(text)
        with np.errstate(over="ignore"):  # what is too large for float32 becomes infinite, and is refused as such
            return np.array(numbers, np.float32).reshape(tensor.shape)
    except (ValueError, RecursionError) as error:
        raise _bad_tensor("'data' is not numbers, in one list or nested like the shape") from error


def _values_in(shape: tuple[int, int, int, int]) -> int:
    images, height, width, channels = shape
    return images * height * width * channels


def _lists_in(shape: tuple[int, int, int, int]) -> int:
    """How many opening brackets data of ``shape`` has when it is nested."""
    images, height, width, _ = shape
    return 1 + images + images * height + images * height * width


def _decoded(kind: type[T], decode: Any, text: Any) -> T:
    try:
        decoded: T = decode(text)
    except (ValueError, RecursionError) as error:  # msgspec's own errors, and text that is not UTF-8
        where = str(error) if isinstance(error, msgspec.DecodeError) else "the JSON cannot be parsed"
        raise _bad_body(where) from error
    return decoded


def _bad_body(what: str) -> Refusal:
    return Refusal(f"this is no inference request: {what}", code="bad_request_body", status=400)


def _bad_tensor(what: str) -> Refusal:
    return Refusal(f"the tensors do not fit the model: {what}", code="bad_tensor", status=400)
