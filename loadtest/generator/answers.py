"""What an answer says, read after the clock has stopped.

Kinds of failure, as they stand in a record:

    connect_failed    nobody listens there, or the address cannot be reached
    timeout           no whole answer within the time that the plan allows
    connection_lost   the connection ended before the answer was whole
    http_<status>     an answer that is not 200
    bad_answer        not HTTP, or a 200 whose body is no classification
    aborted           the load ended before the answer came
"""

from __future__ import annotations

import msgspec

CONNECT_FAILED = "connect_failed"
TIMEOUT = "timeout"
CONNECTION_LOST = "connection_lost"
BAD_ANSWER = "bad_answer"
HTTP_OK = 200
MOST_CLASSES = 256  # a data set keeps its labels in bytes


class _Classification(msgspec.Struct):
    """The one field that a record needs; the rest of the answer is skipped."""

    class_index: int


_decode = msgspec.json.Decoder(_Classification).decode


def read_answer(status: int, body: bytes) -> tuple[int | None, str | None]:
    """The class that was answered, or why there is none: exactly one of the two is None."""
    if status != HTTP_OK:
        return None, f"http_{status}"
    try:
        index = _decode(body).class_index
    except (msgspec.DecodeError, UnicodeDecodeError):
        return None, BAD_ANSWER
    return (index, None) if 0 <= index < MOST_CLASSES else (None, BAD_ANSWER)
