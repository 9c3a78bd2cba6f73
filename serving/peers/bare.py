"""uvicorn and a Starlette handler: what is left when there is no serving framework.

python -m serving.peers.bare --port 3001
"""

from __future__ import annotations

import uvicorn
from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import PlainTextResponse, Response
from starlette.routing import Route

from contract.errors import InvalidImage
from serving.answers import encode_json
from serving.peers.work import HOST, Work, load_work, read_arguments


def application(work: Work) -> Starlette:
    """``POST /v1/classify`` takes the bytes of an image."""

    async def classify(request: Request) -> Response:
        try:
            answer = work.classify(await request.body())
        except InvalidImage as error:
            return Response(encode_json({"error": str(error)}), error.status, media_type="application/json")
        return Response(encode_json(answer), media_type="application/json")

    async def ready(request: Request) -> Response:
        return PlainTextResponse("ready")

    return Starlette(routes=[Route("/v1/classify", classify, methods=["POST"]), Route("/readyz", ready)])


def main() -> None:
    """Serve until told to stop."""
    settings = read_arguments(__doc__)
    app = application(load_work(settings.artifacts, settings.resolution_px))
    uvicorn.run(app, host=HOST, port=settings.port, access_log=False, log_level="warning")


if __name__ == "__main__":
    main()
