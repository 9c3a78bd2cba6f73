"""The same image as PNG, JPEG, raw tensor and JSON numbers, in random order, round after round, at every resolution."""

from __future__ import annotations

import http.client
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from datetime import UTC, datetime
from io import BytesIO
from pathlib import Path
from urllib.parse import urlsplit

import msgspec
import numpy as np
from PIL import Image

from contract.arrays import ImageArray
from contract.environment import describe_environment
from contract.errors import InvalidSettings, ServiceFailed
from contract.preprocessing import scale_pixels
from contract.progress import Progress, silent
from contract.records.payloads import JPEG, NUMBERS, PAYLOADS_FILE, PNG, TENSOR, PayloadComparison, PayloadWindow
from contract.records.seal import seal_folder
from contract.storage import write_json
from contract.timing import TIMING_HEADER, parse_server_timing
from loadtest.generator.payloads import MEDIA_TYPE, encode_png, one_image
from loadtest.peers.wire import closed_loop, request_bytes
from loadtest.service.processes import split_cores
from loadtest.service.server import ask_service, running_service, serve_command
from loadtest.service.turns import on_cores

INPUT_NAME = "images"
JPEG_QUALITY = 95
_ASKED_FOR_PARTS = 20
_TIMEOUT_S = 10.0


@dataclass(frozen=True, slots=True, kw_only=True)
class PayloadPlan:
    """What to measure; ``datasets`` holds a folder per resolution. A round of four forms takes 4 windows of each."""

    artifacts: Path
    datasets: dict[int, Path]
    runtime: str = "onnx"
    rounds: int = 5
    window_s: float = 1.0
    warmup_s: float = 0.2
    seed: int = 0

    def __post_init__(self) -> None:
        if self.rounds < 1 or self.window_s <= 0 or self.warmup_s < 0 or not self.datasets:
            raise InvalidSettings("payloads need at least one round and one resolution, and a window longer than 0 s")


@dataclass(frozen=True, slots=True, kw_only=True)
class Form:
    """A request as it goes out: where to, its headers, its body."""

    path: str
    headers: dict[str, str]
    body: bytes


def as_png(pixels: ImageArray, side: int, model: str) -> Form:
    """A PNG file."""
    return Form(path=_classify(side), headers={"Content-Type": MEDIA_TYPE}, body=encode_png(pixels))


def as_jpeg(pixels: ImageArray, side: int, model: str) -> Form:
    """A JPEG file; the only form that loses something."""
    buffer = BytesIO()
    Image.fromarray(pixels).save(buffer, format="JPEG", quality=JPEG_QUALITY)
    return Form(path=_classify(side), headers={"Content-Type": "image/jpeg"}, body=buffer.getvalue())


def as_tensor(pixels: ImageArray, side: int, model: str) -> Form:
    """The model's input as the Open Inference Protocol's binary data."""
    tensor = scale_pixels(pixels[np.newaxis])
    said = _tensor(side) | {"parameters": {"binary_data_size": tensor.nbytes}}
    head = msgspec.json.encode({"inputs": [said]})
    headers = {"Content-Type": "application/octet-stream", "Inference-Header-Content-Length": str(len(head))}
    return Form(path=_infer(model, side), headers=headers, body=head + tensor.tobytes())


def as_numbers(pixels: ImageArray, side: int, model: str) -> Form:
    """The model's input as numbers in JSON, one flat list."""
    said = _tensor(side) | {"data": scale_pixels(pixels[np.newaxis]).ravel().tolist()}
    body = msgspec.json.encode({"inputs": [said]})
    return Form(path=_infer(model, side), headers={"Content-Type": "application/json"}, body=body)


FORMS: dict[str, Callable[[ImageArray, int, str], Form]] = {
    PNG: as_png,
    JPEG: as_jpeg,
    TENSOR: as_tensor,
    NUMBERS: as_numbers,
}


def compare_payloads(
    plan: PayloadPlan, folder: Path, *, command: str, progress: Progress = silent
) -> PayloadComparison:
    """Measure every form at every resolution; ``folder`` gets the records, and what the services print.

    Raises `ServiceFailed` where a service does not start, or refuses a form.
    """
    cores = split_cores(threads=1)
    windows: list[PayloadWindow] = []
    for number, (side, dataset) in enumerate(sorted(plan.datasets.items())):
        progress(f"{side} px: start the service", number, len(plan.datasets))
        serve = serve_command(runtime=plan.runtime, resolution_px=side, artifacts=plan.artifacts)
        with running_service(serve, log=folder / f"{side}px.log", cores=cores.service) as service:
            model = ask_service(service.url, side).facts.get("model", "")
            pixels = one_image(dataset, side, plan.seed)
            forms = {name: encode(pixels, side, model) for name, encode in FORMS.items()}
            tell = lambda what: progress(what, number, len(plan.datasets))  # noqa: B023, E731 (called in this turn)
            with on_cores(cores.generator):
                windows += _measure(plan, service.url, side, forms, tell)
    progress("measured", len(plan.datasets), len(plan.datasets))
    comparison = PayloadComparison(
        environment=describe_environment(),
        measured_at=datetime.now(UTC).isoformat(timespec="seconds"),
        command=command,
        runtime=plan.runtime,
        service_cores=cores.service,
        client_cores=cores.generator,
        windows=tuple(windows),
    )
    write_json(folder / PAYLOADS_FILE, comparison)
    seal_folder(folder)
    return comparison


def _measure(
    plan: PayloadPlan, url: str, side: int, forms: dict[str, Form], tell: Callable[[str], None]
) -> Iterator[PayloadWindow]:
    rng, names = np.random.default_rng((plan.seed, side)), list(forms)
    for round_ in range(plan.rounds):
        for position in rng.permutation(len(names)):
            tell(f"{side} px, round {round_ + 1}: {names[position]}")
            yield _window(plan, url, side, round_, names[position], forms[names[position]])


def _window(plan: PayloadPlan, url: str, side: int, round_: int, name: str, form: Form) -> PayloadWindow:
    address = urlsplit(url)
    host, port = str(address.hostname), int(address.port or 80)
    request = _on_the_wire(host, port, form)
    closed_loop(host, port, request, connections=1, duration_s=plan.warmup_s)
    decode_ns = _decode_times_ns(host, port, name, form)
    loop = closed_loop(host, port, request, connections=1, duration_s=plan.window_s)
    if loop.failures:
        raise ServiceFailed(f"the service refused {loop.failures} of {len(loop.round_trips_ns)} images sent as {name}")
    return PayloadWindow(
        form=name,
        resolution_px=side,
        round=round_,
        wire_bytes=len(request),
        round_trips_ns=tuple(loop.round_trips_ns),
        decode_ns=decode_ns,
    )


def _on_the_wire(host: str, port: int, form: Form) -> bytes:
    others = "".join(f"\r\n{name}: {value}" for name, value in form.headers.items() if name != "Content-Type")
    return request_bytes(host, port, form.path, form.headers["Content-Type"] + others, form.body)


def _decode_times_ns(host: str, port: int, name: str, form: Form) -> tuple[int, ...]:
    """The service's own ``decode`` of some requests."""
    connection = http.client.HTTPConnection(host, port, timeout=_TIMEOUT_S)
    times = []
    try:
        for _ in range(_ASKED_FOR_PARTS):
            connection.request("POST", form.path, body=form.body, headers=form.headers)
            response = connection.getresponse()
            said = response.read()
            if response.status != http.client.OK:
                raise ServiceFailed(
                    f"the service refused an image sent as {name}: {said[:200].decode(errors='replace')}"
                )
            times.append(parse_server_timing(response.headers.get(TIMING_HEADER, ""))["decode"])
    except (OSError, http.client.HTTPException, KeyError) as error:
        raise ServiceFailed(f"no whole answer to an image sent as {name}: {error!r}. Next: read its log") from error
    finally:
        connection.close()
    return tuple(times)


def _classify(side: int) -> str:
    return f"/v1/classify?resolution={side}"


def _infer(model: str, side: int) -> str:
    return f"/v2/models/{model}-{side}px/infer"


def _tensor(side: int) -> dict[str, object]:
    return {"name": INPUT_NAME, "shape": [1, side, side, 3], "datatype": "FP32"}
