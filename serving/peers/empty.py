"""uvicorn and Starlette with an empty answer: the floor under every other figure, HTTP and nothing else.

python -m serving.peers.empty --port 3001
"""

from __future__ import annotations

import uvicorn
from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Route

from serving.peers.work import HOST, read_arguments


async def _classify(request: Request) -> Response:
    await request.body()
    return Response(b"{}", media_type="application/json")


async def _ready(request: Request) -> Response:
    return Response(b"ready")


def main() -> None:
    """Serve until told to stop."""
    settings = read_arguments(__doc__)
    app = Starlette(routes=[Route("/v1/classify", _classify, methods=["POST"]), Route("/readyz", _ready)])
    uvicorn.run(app, host=HOST, port=settings.port, access_log=False, log_level="warning")


if __name__ == "__main__":
    main()
