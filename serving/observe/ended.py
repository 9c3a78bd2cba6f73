"""How a request ended, told to everybody who keeps an account of it: traces, the log, the audit log."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Sequence
from time import perf_counter_ns

import msgspec

from contract.errors import InvalidImage
from serving.http.door import Handler, Request, Response
from serving.http.refusal import ClientGone, Refusal
from serving.observe.metrics import ABORTED, OK


class Ended(msgspec.Struct, frozen=True, kw_only=True):
    """One request to ``path``. ``status`` is 0 where nobody was left to answer; ``response`` only where one was made.

    ``began_ns`` and ``ended_ns`` are of the clock that `PartClock` reads.
    """

    path: str
    request: Request
    status: int
    code: str
    began_ns: int
    ended_ns: int
    response: Response | None = None


Observer = Callable[[Ended], None]


def observed(handler: Handler, path: str, observers: Sequence[Observer]) -> Handler:
    """``handler``, whose every end is told to ``observers`` in their order before the answer goes out.

    The handler itself where nobody observes: then it costs nothing.
    """
    if not observers:
        return handler

    async def handle(request: Request) -> Response:
        began_ns = perf_counter_ns()

        def tell(status: int, code: str, response: Response | None = None) -> None:
            ended = Ended(
                path=path,
                request=request,
                status=status,
                code=code,
                began_ns=began_ns,
                ended_ns=perf_counter_ns(),
                response=response,
            )
            for observe in observers:
                observe(ended)

        try:
            response = await handler(request)
        except (Refusal, InvalidImage) as refusal:
            tell(refusal.status, refusal.code)
            raise
        except (ClientGone, asyncio.CancelledError):
            tell(0, ABORTED)
            raise
        except Exception:
            tell(500, "internal")
            raise
        tell(response.status, OK, response)
        return response

    return handle
