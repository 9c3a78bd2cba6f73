"""A service whose every answer is known beforehand: the test bench of the load test itself.

    python fake_service.py --port 0 --behaviour '{"service_ms": 20, "faults": {"3": "cut"}}'

It speaks HTTP/1.1 with keep-alive and works on one request at a time, first come first
served, like a service with one core. What it did is asked for at ``/truth``, which also
counts what it answered. It ends by itself after ``lifetime_s``.
"""

from __future__ import annotations

import argparse
import asyncio
import json
import sys
import time
from dataclasses import asdict, dataclass, field

NS_PER_MS = 1_000_000
WRONG_BODIES = {
    "no_class": b'{"label": "ig"}',
    "wrong_class": b'{"class_index": 256}',
    "not_json": b"<html>sign in, please</html>",
    "empty": b"",
}
# What is still said before the connection is closed.
LAST_WORDS = {
    "garbage": b"\x00\x01 this is not HTTP at all\r\n\r\n",
    "cut": b'HTTP/1.1 200 OK\r\nContent-Length: 1000\r\n\r\n{"class_index"',
    "cut_head": b"HTTP/1.1 200 OK\r\nContent-Le",
    "close": b"",
}
PARTS = ("read", "decode", "preprocess", "queue", "infer", "encode")


@dataclass(frozen=True, kw_only=True)
class Behaviour:
    """``faults`` and ``stalls_s`` are keyed by the number of the request, counted from 0 as they arrive."""

    service_ms: float = 0.0
    slow_ms: float = 0.0  # of every ``slow_every``-th request
    slow_every: int = 0
    faults: dict[str, str] = field(default_factory=dict)
    stalls_s: dict[str, float] = field(default_factory=dict)
    ready_after_s: float = 0.0
    never_ready: bool = False
    die_at_start: bool = False
    die_after: int | None = None
    lifetime_s: float = 120.0
    class_index: int = 3
    digest: str = "f" * 64
    pad_bytes: int = 0  # that every good answer is longer
    compiles_at: int | None = None  # the number of the request that meets a compilation


class Truth:
    """What really happened."""

    def __init__(self) -> None:
        self.requests = 0
        self.ok = 0
        self.ok_at: dict[str, int] = {}
        self.service_ns: list[int] = []
        self.resolutions: list[str] = []


class Connection(asyncio.Protocol):
    """One client's connection."""

    def __init__(self, behaviour: Behaviour, truth: Truth, started: float) -> None:
        self.behaviour, self.truth, self.started = behaviour, truth, started
        self.buffer = b""

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        assert isinstance(transport, asyncio.Transport)
        self.transport = transport

    def data_received(self, data: bytes) -> None:
        self.buffer += data
        while (end := self.buffer.find(b"\r\n\r\n")) >= 0:
            head = self.buffer[:end].decode("latin-1")
            length = next(
                (int(line.split(":")[1]) for line in head.split("\r\n") if line.lower().startswith("content-length:")),
                0,
            )
            if len(self.buffer) < end + 4 + length:
                return
            body = self.buffer[end + 4 : end + 4 + length]
            self.buffer = self.buffer[end + 4 + length :]
            self.answer(head.split(" ")[0], head.split(" ")[1], body)

    def answer(self, method: str, target: str, body: bytes) -> None:
        if method == "POST":
            self.classify(target, body)
        elif target == "/readyz":
            ready = not self.behaviour.never_ready and time.monotonic() - self.started >= self.behaviour.ready_after_s
            self.send(200 if ready else 503, b"")
        elif target == "/truth":
            self.send(200, json.dumps(vars(self.truth)).encode())
        elif target == "/v1/models":
            self.send(200, json.dumps(models(self.truth, self.behaviour.digest)).encode())
        elif target == "/metrics":
            count = self.behaviour.compiles_at is not None and self.truth.requests > self.behaviour.compiles_at
            self.send(200, f"# a metric\nhemabench_compilations_after_ready_total {float(count)}\n".encode())
        else:
            self.send(404, b"")

    def classify(self, target: str, body: bytes) -> None:
        number = self.truth.requests
        self.truth.requests += 1
        self.truth.resolutions.append(target.partition("resolution=")[2])
        if not body.startswith(b"\x89PNG"):
            self.send(415, b"{}")
            return
        if self.behaviour.die_after is not None and number >= self.behaviour.die_after:
            print("fake service: fatal: ran into a wall", flush=True)
            sys.exit(7)
        time.sleep(self.behaviour.stalls_s.get(str(number), 0.0))
        fault = self.behaviour.faults.get(str(number)) or self.behaviour.faults.get("all")
        if fault is not None:
            self.fail(fault)
            return
        self.classify_well(self.truth.resolutions[-1])

    def classify_well(self, side: str) -> None:
        slow = self.behaviour.slow_every and self.truth.requests % self.behaviour.slow_every == 0
        began = time.perf_counter_ns()
        time.sleep((self.behaviour.slow_ms if slow else self.behaviour.service_ms) / 1000)
        took = time.perf_counter_ns() - began
        self.truth.service_ns.append(took)
        self.truth.ok += 1
        self.truth.ok_at[side] = self.truth.ok_at.get(side, 0) + 1
        parts = dict.fromkeys(PARTS, 0) | {"infer": took, "total": took}
        timing = ", ".join(f"{name};dur={ns / NS_PER_MS:.6f}" for name, ns in parts.items())
        answer = {"label": "ig", "class_index": self.behaviour.class_index, "request_id": "r"}
        answer |= {"padding": " " * self.behaviour.pad_bytes} if self.behaviour.pad_bytes else {}
        self.send(200, json.dumps(answer).encode(), f"Server-Timing: {timing}\r\n")

    def fail(self, fault: str) -> None:
        if fault.startswith("http_"):
            self.send(int(fault[5:]), b'{"error": {"code": "fake", "message": "asked for", "request_id": "r"}}')
        elif fault in WRONG_BODIES:
            self.send(200, WRONG_BODIES[fault])
        elif fault in LAST_WORDS:
            self.transport.write(LAST_WORDS[fault])
            self.transport.close()
        elif fault == "reset":
            self.transport.abort()
        elif fault == "drip":
            self.transport.write(b"HTTP/1.1 200 OK\r\nContent-Length: 100000\r\n\r\n")
            self.drip()
        elif fault != "hang":
            raise ValueError(fault)

    def drip(self) -> None:
        """A byte at a time, so that no single read ever times out."""
        if not self.transport.is_closing():
            self.transport.write(b" ")
            asyncio.get_running_loop().call_later(0.05, self.drip)

    def send(self, status: int, body: bytes, headers: str = "") -> None:
        head = (
            f"HTTP/1.1 {status} Said\r\nContent-Type: application/json\r\n{headers}Content-Length: {len(body)}\r\n\r\n"
        )
        self.transport.write(head.encode() + body)


def models(truth: Truth, digest: str) -> dict[str, object]:
    """The facts that a load test asks for, as far as a fake has them."""
    served = [
        {"name": "fakenet", "resolution": side, "digest": digest, "answered": truth.ok_at.get(str(side), 0)}
        for side in (28, 64)
    ]
    return {"runtime": {"name": "fake", "threads": 1}, "models": served}


async def serve(port: int, behaviour: Behaviour) -> None:
    """Listen until the end of ``lifetime_s``."""
    truth, started = Truth(), time.monotonic()
    loop = asyncio.get_running_loop()
    server = await loop.create_server(lambda: Connection(behaviour, truth, started), "127.0.0.1", port)
    print(f"listening on {server.sockets[0].getsockname()[1]}", flush=True)
    print(json.dumps(asdict(behaviour)), flush=True)
    await asyncio.sleep(behaviour.lifetime_s)


def main() -> None:
    """Read the command line and serve."""
    parser = argparse.ArgumentParser()
    parser.add_argument("--port", type=int, default=0)
    parser.add_argument("--behaviour", default="{}")
    arguments = parser.parse_args()
    behaviour = Behaviour(**json.loads(arguments.behaviour))
    if behaviour.die_at_start:
        print("fake service: fatal: no model to serve", flush=True)
        sys.exit(3)
    asyncio.run(serve(arguments.port, behaviour))


if __name__ == "__main__":
    main()
