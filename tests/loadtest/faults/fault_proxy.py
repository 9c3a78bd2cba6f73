"""A proxy of bytes between load generator and service that does to answers what bad networks do.

    python fault_proxy.py --to 40001 --faults '{"3": "cut", "5": "reset"}'

An answer's number counts from 0 over all connections. ``latency`` waits before it, ``slow``
passes 1 kB a second, ``cut`` closes and ``reset`` resets the connection in its middle,
``garbage`` replaces its first bytes. Whatever else comes passes as it is.
"""

from __future__ import annotations

import argparse
import asyncio
import json
import socket
import struct
import sys

LATENCY_S = 0.2
SLOW_BYTES, SLOW_EVERY_S = 64, 0.064  # 1 kB/s, in pieces as small as a modem's
LIFETIME_S = 120.0
GARBAGE = b"\x16\x03\x01\x00\xff\xfe no HTTP \r\n\r\n"


class FaultProxy:
    """Passes connections on to ``to``; ``faults`` are keyed by the number of the POST that is answered."""

    def __init__(self, to: int, faults: dict[str, str]) -> None:
        self.to, self.faults, self.requests = to, faults, 0

    async def serve(self) -> None:
        server = await asyncio.start_server(self.connected, "127.0.0.1", 0)
        sys.stdout.write(f"{server.sockets[0].getsockname()[1]}\n")
        sys.stdout.flush()
        await asyncio.sleep(LIFETIME_S)

    async def connected(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        from_service, to_service = await asyncio.open_connection("127.0.0.1", self.to)
        try:
            while piece := await reader.read(65_536):
                if piece.startswith(b"POST "):
                    fault = self.faults.get(str(self.requests))
                    self.requests += 1
                    to_service.write(await whole(piece, reader))
                    if not await self.answered(fault, await whole(b"", from_service), writer):
                        return
                else:
                    to_service.write(piece)
                    writer.write(await whole(b"", from_service))
        except OSError:
            return  # one side has gone, as it may
        finally:
            to_service.close()
            writer.close()

    async def answered(self, fault: str | None, answer: bytes, writer: asyncio.StreamWriter) -> bool:
        """Whether the connection goes on."""
        if fault == "latency":
            await asyncio.sleep(LATENCY_S)
        if fault == "slow":
            for begin in range(0, len(answer), SLOW_BYTES):
                writer.write(answer[begin : begin + SLOW_BYTES])
                await writer.drain()
                await asyncio.sleep(SLOW_EVERY_S)
            return True
        if fault in ("cut", "reset"):
            writer.write(answer[: len(answer) // 2])
            await writer.drain()
            if fault == "reset":
                lingering = struct.pack("ii", 1, 0)  # close with RST
                writer.get_extra_info("socket").setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, lingering)
                writer.transport.abort()
            return False
        writer.write(GARBAGE + answer if fault == "garbage" else answer)
        await writer.drain()
        return fault != "garbage"


async def whole(begun: bytes, reader: asyncio.StreamReader) -> bytes:
    """One HTTP message with its body."""
    message = begun
    while b"\r\n\r\n" not in message:
        message += await more(reader)
    head, _, body = message.partition(b"\r\n\r\n")
    lines = head.decode("latin-1").lower().split("\r\n")
    length = next((int(line.split(":")[1]) for line in lines if line.startswith("content-length:")), 0)
    while len(body) < length:
        body += await more(reader)
    return head + b"\r\n\r\n" + body


async def more(reader: asyncio.StreamReader) -> bytes:
    if not (piece := await reader.read(65_536)):
        raise ConnectionResetError("it has gone")
    return piece


if __name__ == "__main__":
    parser = argparse.ArgumentParser()
    parser.add_argument("--to", type=int, required=True)
    parser.add_argument("--faults", default="{}")
    arguments = parser.parse_args()
    asyncio.run(FaultProxy(arguments.to, json.loads(arguments.faults)).serve())
