"""Shared subjects of the training tests."""

from __future__ import annotations

import csv
from collections.abc import Callable, Iterator
from hashlib import md5
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from io import BytesIO
from pathlib import Path
from threading import Event, Thread
from zipfile import ZipFile

import numpy as np
import pytest
from PIL import Image

from contract.architecture import HEMANET
from contract.blood_cells import LABELS
from contract.environment import Environment
from contract.manifest import Metric
from train.checkpoints import checkpoint_path, save_checkpoint
from train.initial_weights import initial_weights
from train.settings import TrainSettings
from train.training import Trained, TrainingRecord

ENVIRONMENT = Environment(
    cpu_model="a processor",
    cores=2,
    memory_bytes=2**30,
    accelerator=None,
    governor=None,
    system="Linux",
    python="3.11",
    libraries={},
)
SCORE = Metric(name="accuracy", value=0.5, low=0.4, high=0.6, images=100, data="rendered", split="test")


def trained(seed: int = 0, resolution_px: int = 28) -> Trained:
    """Untrained weights with the record of a run that took no step."""
    record = TrainingRecord(
        settings=TrainSettings(seed=seed, resolution_px=resolution_px),
        started_from="random",
        data_source="synthetic",
        data_description="rendered",
        data_digest="0" * 64,
        splits_sha256="5" * 64,
        environment=ENVIRONMENT,
        first_step_ns=1,
        peak_memory_bytes=1,
        epochs=(),
        metrics=(SCORE,),
    )
    return Trained(initial_weights(HEMANET, seed), record)


@pytest.fixture
def save_trained(tmp_path: Path) -> Callable[..., Path]:
    """Writes `trained` as a checkpoint; returns its folder."""

    def save(seed: int = 0, resolution_px: int = 28) -> Path:
        folder = tmp_path / "checkpoints"
        save_checkpoint(checkpoint_path(folder, "hemanet", resolution_px), trained(seed, resolution_px))
        return folder

    return save


@pytest.fixture
def pbc_root(tmp_path: Path) -> Path:
    """A data root in the PBC layout: ten images of each class, three sets of copies, one pair that contradicts."""
    root = tmp_path / "root"
    copies = {
        "basophil/7.jpg": "basophil/2.jpg",
        "monocyte/1.jpg": "monocyte/0.jpg",
        "monocyte/2.jpg": "monocyte/0.jpg",
    }
    copies |= {"neutrophil/9.jpg": "eosinophil/9.jpg"}
    contents: dict[str, bytes] = {}
    (root / "pbc").mkdir(parents=True)
    for label in LABELS:
        with ZipFile(root / "pbc" / f"{label}.zip", "w") as archive:
            for name in (f"{label}/{number}.jpg" for number in range(10)):
                contents[name] = contents[copies[name]] if name in copies else _jpeg(seed=len(contents))
                archive.writestr(name, contents[name])
    _write_table(root / "pbc" / "index.csv", [_index_row(name, content) for name, content in contents.items()])
    pairs = [("basophil/2.jpg", "basophil/7.jpg"), ("monocyte/0.jpg", "monocyte/1.jpg")]
    pairs += [("monocyte/1.jpg", "monocyte/2.jpg"), ("neutrophil/9.jpg", "eosinophil/9.jpg")]
    _write_table(root / "pbc" / "duplicates.csv", [_pair_row(*pair) for pair in pairs])
    return root


def _jpeg(seed: int) -> bytes:
    """A 200×208 image that no other seed gives."""
    pixels = np.random.default_rng(seed).integers(0, 256, (26, 25, 3), dtype=np.uint8)
    stored = BytesIO()
    Image.fromarray(pixels).resize((200, 208)).save(stored, "JPEG", quality=90)
    return stored.getvalue()


def _index_row(name: str, content: bytes) -> dict[str, object]:
    size = {"width": 200, "height": 208, "crop_left": 0, "crop_top": 2}
    return {"file": name, "label": name.split("/")[0], **size, "md5": md5(content).hexdigest(), "src_md5": "0" * 32}


def _pair_row(one: str, other: str) -> dict[str, object]:
    same = int(one.split("/")[0] == other.split("/")[0])
    return {"file_a": one, "file_b": other, "rms_diff_28px": 0.0, "same_label": same}


def _write_table(path: Path, rows: list[dict[str, object]]) -> None:
    with path.open("w", newline="") as file:
        writer = csv.DictWriter(file, rows[0].keys())
        writer.writeheader()
        writer.writerows(rows)


class FileServer(ThreadingHTTPServer):
    """Serves ``content`` at any path; the n-th answer stops after ``sends[n]`` bytes."""

    daemon_threads = True

    def __init__(self, content: bytes, sends: list[int], status: int, *, ranges: bool, stalls: bool) -> None:
        super().__init__(("127.0.0.1", 0), _FileRequest)
        self.content, self.sends, self.status = content, sends, status
        self.ranges, self.stalls = ranges, stalls
        self.asked_for: list[str | None] = []
        self.released = Event()
        self.url = f"http://127.0.0.1:{self.server_port}/cells.npz"

    def handle_error(self, request: object, client_address: object) -> None:
        """A client that gives up is what these tests are about."""


class _FileRequest(BaseHTTPRequestHandler):
    server: FileServer

    def do_GET(self) -> None:
        server = self.server
        wanted = self.headers.get("Range")
        server.asked_for.append(wanted)
        limit = server.sends.pop(0) if server.sends else len(server.content)
        start = int(wanted.removeprefix("bytes=").removesuffix("-")) if wanted and server.ranges else 0
        body = server.content[start:]
        self.send_response(206 if start else server.status)
        if start:
            self.send_header("Content-Range", f"bytes {start}-{len(server.content) - 1}/{len(server.content)}")
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body[:limit])
        if server.stalls and limit < len(body):
            server.released.wait(30)

    def log_message(self, format: str, *arguments: object) -> None:  # noqa: A002 (the base class's name)
        """Tests keep their own count."""


@pytest.fixture
def serve() -> Iterator[Callable[..., FileServer]]:
    """Starts a `FileServer`; all of them stop with the test."""
    running: list[FileServer] = []

    def start(
        content: bytes, sends: list[int] | None = None, *, status: int = 200, ranges: bool = True, stalls: bool = False
    ) -> FileServer:
        server = FileServer(content, list(sends or []), status, ranges=ranges, stalls=stalls)
        Thread(target=server.serve_forever, args=(0.01,), daemon=True).start()
        running.append(server)
        return server

    yield start
    for server in running:
        server.released.set()
        server.shutdown()
        server.server_close()
