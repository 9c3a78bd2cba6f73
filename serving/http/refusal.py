"""Why a request is not answered, in the words that the client gets."""

from __future__ import annotations

from contract.errors import HemaBenchError


class Refusal(HemaBenchError):
    """A request that this service will not or cannot answer.

    ``code`` is the stable word that a client may branch on. The message is sent to the
    client as it stands: it holds no path, file name, image byte or stack.
    """

    def __init__(
        self,
        message: str,
        *,
        code: str,
        status: int,
        headers: tuple[tuple[bytes, bytes], ...] = (),
    ) -> None:
        super().__init__(message)
        self.code = code
        self.status = status
        self.headers = headers


class ClientGone(Exception):
    """The client closed the connection before its request was complete; there is nobody to answer."""


CLOSE_CONNECTION = (b"connection", b"close")
RETRY_SOON = (b"retry-after", b"1")
