"""One ONNX service for all that leaves it unharmed, and plain sockets for what no HTTP client would send."""

from __future__ import annotations

import os
import socket
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import httpx
import pytest

from serving.settings import ServiceSettings


@pytest.fixture(scope="session")
def onnx_settings(onnx_artifacts: Path) -> ServiceSettings:
    return ServiceSettings(artifacts=onnx_artifacts, resolutions_px=(28, 64))


@pytest.fixture(scope="session")
def onnx_service(
    serve: Callable[..., Any], onnx_settings: ServiceSettings, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[Any]:
    with serve(onnx_settings, tmp_path_factory.mktemp("acceptance")) as service:
        yield service


@pytest.fixture(scope="session")
def connect() -> Callable[[Any], socket.socket]:
    """A connection to a service, on which anything can be sent."""

    def connected(service: Any) -> socket.socket:
        where = urlsplit(service.url)
        return socket.create_connection((where.hostname, where.port), timeout=15)

    return connected


@pytest.fixture(scope="session")
def classify() -> Callable[..., httpx.Response]:
    """``classify(service, content)`` over HTTP."""

    def classified(service: Any, content: bytes, **options: Any) -> httpx.Response:
        headers = {"Content-Type": "application/octet-stream", **options.pop("headers", {})}
        return httpx.post(f"{service.url}/v1/classify", content=content, headers=headers, timeout=20, **options)

    return classified


@pytest.fixture(scope="session")
def head_of() -> Callable[[int], bytes]:
    """The head of a request for a classification, whose body has that many bytes."""
    return b"POST /v1/classify HTTP/1.1\r\nHost: x\r\nContent-Type: image/png\r\nContent-Length: %d\r\n\r\n".__mod__


@pytest.fixture(scope="session")
def read_to_end() -> Callable[[socket.socket], bytes]:
    """All that comes until the other side closes; a timeout where it does not."""

    def read(connection: socket.socket) -> bytes:
        received = b""
        while piece := connection.recv(65_536):
            received += piece
        return received

    return read


@pytest.fixture(scope="session")
def eventually() -> Callable[[Callable[[], bool], float], bool]:
    """Whether something becomes true within so many seconds."""

    def wait(condition: Callable[[], bool], limit_s: float) -> bool:
        deadline_s = time.monotonic() + limit_s
        while time.monotonic() < deadline_s:
            if condition():
                return True
            time.sleep(0.05)
        return condition()

    return wait


@pytest.fixture(scope="session")
def soak_s() -> float:
    """How long the soak lasts; HEMABENCH_SOAK_S sets it (25,000 for a long job)."""
    return float(os.environ.get("HEMABENCH_SOAK_S", "30"))
