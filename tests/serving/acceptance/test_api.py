"""A: what is sent as a request."""

from __future__ import annotations

import socket

import httpx
import pytest

BAD_FRAMING = {
    "two framings": b"Content-Length: 4\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n",
    "two framings, the other way": b"Transfer-Encoding: chunked\r\nContent-Length: 4\r\n\r\n0\r\n\r\n",
    "two lengths": b"Content-Length: 4\r\nContent-Length: 5\r\n\r\nabcd",
    "a negative length": b"Content-Length: -1\r\n\r\n",
    "a signed length": b"Content-Length: +2\r\n\r\nab",
    "a space before the colon": b"Transfer-Encoding : chunked\r\n\r\n0\r\n\r\n",
    "no such encoding": b"Transfer-Encoding: xchunked\r\n\r\n0\r\n\r\n",
    "no chunk size": b"Transfer-Encoding: chunked\r\n\r\nzz\r\n\r\n",
    "a chunk size beyond 64 bits": b"Transfer-Encoding: chunked\r\n\r\nfffffffffffffffff\r\n\r\n",
}
NEXT_REQUEST = b"GET /v1/models HTTP/1.1\r\nHost: x\r\n\r\n"
A_MILLION = 1_000_000


@pytest.mark.acceptance("A4")
@pytest.mark.parametrize("framing", BAD_FRAMING.values(), ids=BAD_FRAMING)
def test_ambiguous_framing_gets_one_400_and_a_closed_connection(onnx_service, connect, read_to_end, framing):
    with connect(onnx_service) as connection:
        connection.sendall(b"POST /v1/classify HTTP/1.1\r\nHost: x\r\n" + framing + NEXT_REQUEST)
        answered = read_to_end(connection)
    assert answered.startswith(b"HTTP/1.1 400 ")
    assert answered.count(b"HTTP/1.1 ") == 1
    assert b"connection: close" in answered.lower()
    assert b'{"error":{"code":"' in answered


@pytest.mark.acceptance("A2")
def test_nothing_that_a_client_names_is_fetched(onnx_service, classify):
    with socket.socket() as trap:
        trap.bind(("127.0.0.1", 0))
        trap.listen()
        trap.setblocking(False)
        url = f"http://127.0.0.1:{trap.getsockname()[1]}/cell.png"
        where = f"{onnx_service.url}/v1/classify"
        responses = [
            classify(onnx_service, url.encode()),
            classify(onnx_service, url.encode(), headers={"Content-Type": "text/plain"}),
            httpx.post(where, data={"image": url}),
            httpx.post(where, files={"image": (None, url)}),
            httpx.post(where, files={"image": ("cell.png", url.encode(), "image/png")}),
            httpx.post(where, json={"image": url}),
        ]
        assert {response.status_code for response in responses} <= {400, 415}
        with pytest.raises(BlockingIOError):
            trap.accept()


@pytest.mark.acceptance("A3")
def test_a_million_chunks_of_one_byte_leave_no_memory_behind(onnx_service, connect):
    body = b"Transfer-Encoding: chunked\r\n\r\n" + b"1\r\na\r\n" * A_MILLION + b"0\r\n\r\n"

    def send():
        with connect(onnx_service) as connection:
            connection.sendall(b"POST /v1/classify HTTP/1.1\r\nHost: x\r\nContent-Type: image/png\r\n" + body)
            assert b" 415 " in connection.recv(1_000)

    for _ in range(3):
        send()
    before = onnx_service.metric("process_resident_memory_bytes")
    for _ in range(3):
        send()
    assert onnx_service.metric("process_resident_memory_bytes") - before <= 1 << 20


@pytest.mark.acceptance("A3")
@pytest.mark.parametrize(
    ("request_head", "status", "code"),
    [
        (b"GET /" + b"a" * 100_000 + b" HTTP/1.1\r\nHost: x\r\n\r\n", 414, b"url_too_long"),
        (b"GET /v1/models?" + b"a" * 9_000 + b" HTTP/1.1\r\nHost: x\r\n\r\n", 414, b"url_too_long"),
        (b"GET / HTTP/1.1\r\nHost: x\r\nX: " + b"a" * 100_000, 400, b"headers_too_large"),
        (b"GET / HTTP/1.1\r\n" + b"X: a\r\n" * 20_000, 400, b"headers_too_large"),
    ],
    ids=["a long path", "a long query", "an endless header", "endless headers"],
)
def test_a_head_has_a_limit(onnx_service, connect, read_to_end, request_head, status, code):
    with connect(onnx_service) as connection:
        connection.sendall(request_head)
        answered = read_to_end(connection)
    assert answered.startswith(b"HTTP/1.1 %d " % status)
    assert b'"code":"%b"' % code in answered


@pytest.mark.acceptance("A1")
def test_no_route_reads_a_pickle(onnx_service, tmp_path):
    canary = tmp_path / "canary"
    pickled = f"cos\nsystem\n(S'touch {canary}'\ntR.".encode()
    endpoints = httpx.get(onnx_service.url).json()["endpoints"]
    paths = {line.split()[1] for line in endpoints} | {"/submit", "/v1/classify/submit", "/v1/classify/status"}
    for path in sorted(paths):
        for kind in ("application/vnd.bentoml+pickle", "APPLICATION/vnd.bentoml+PICKLE", "x/y; application/pickle"):
            response = httpx.post(onnx_service.url + path, content=pickled, headers={"Content-Type": kind})
            assert response.status_code in (404, 405, 415), (path, kind, response.text)
            beside = {"code", "request_id"} if path.startswith("/v2") else set()  # the protocol's own form
            assert response.json().keys() == {"error"} | beside
    assert not canary.exists()


@pytest.mark.acceptance("A8")
def test_every_public_path_is_in_the_index_and_bentomls_own_pages_are_off(onnx_service):
    index = httpx.get(onnx_service.url).json()["endpoints"]
    for path in ("/", "/metrics", "/v1/models", "/v1/card", "/schema.json", "/docs.json"):
        assert f"GET {path}" in index
        assert httpx.get(onnx_service.url + path).status_code == 200
    for path in ("/docs", "/static_content/favicon.ico"):
        assert httpx.get(onnx_service.url + path).status_code == 404
