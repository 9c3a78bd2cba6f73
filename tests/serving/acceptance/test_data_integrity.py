"""D: nothing is lost, and nothing half done is read. Most is shown beside the code that writes."""

from __future__ import annotations

import tempfile
import threading
from pathlib import Path

import httpx
import pytest

from contract.storage import write_atomically

REWRITES = 1_000


@pytest.fixture
def memory_folder():
    """A folder in memory where the system has one: a thousand fsyncs cost a disk ten seconds."""
    with tempfile.TemporaryDirectory(dir="/dev/shm" if Path("/dev/shm").is_dir() else None) as folder:
        yield Path(folder)


@pytest.mark.acceptance("D5")
def test_a_reader_never_sees_a_part_of_a_file_that_is_being_rewritten(memory_folder):
    path, over, seen = memory_folder / "manifest.json", threading.Event(), set()
    contents = [bytes([65 + number % 26]) * (1 + 997 * (number % 50)) for number in range(REWRITES)]
    write_atomically(path, contents[0])

    def read():
        while not over.is_set():
            seen.add(path.read_bytes())

    reader = threading.Thread(target=read)
    reader.start()
    for content in contents:
        write_atomically(path, content)
    over.set()
    reader.join()
    assert len(seen) > 1
    assert seen <= set(contents)
    assert list(memory_folder.iterdir()) == [path]


@pytest.mark.acceptance("D1")
def test_what_a_client_sent_is_what_the_service_counted(onnx_service, connect, head_of, eventually, classify, cell_png):
    def counted():
        return httpx.get(f"{onnx_service.url}/v1/models").json()["service"]["requests"]

    before = counted()
    statuses = [classify(onnx_service, image).status_code for image in (cell_png, b"no image", cell_png, b"")]
    with connect(onnx_service) as connection:
        connection.sendall(head_of(len(cell_png)) + cell_png[:10])
        assert eventually(lambda: counted()["running"] == 1, 5)
    assert eventually(lambda: counted()["running"] == 0, 5)
    grown = {name: value - before[name] for name, value in counted().items()}
    assert statuses == [200, 415, 200, 400]
    assert grown == {"started": 5, "ok": 2, "refused": 2, "failed": 0, "aborted": 1, "running": 0}
