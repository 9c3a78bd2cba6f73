"""The line in front of the model: one inference at a time, first come first served, bounded.

Inference runs in the event loop's own thread. For one connection that saves the two
thread switches that would cost as much as a small image's inference (measured: decision 8);
batches have a thread of their own and take turns here like everyone else. The price, other
requests waiting unseen in their sockets, is not paid either, because every request
passes the loop once before its inference starts: those that arrived together are read,
decoded and waiting in this line, and their queue time is in their answers.

Small images take their turns in groups: several in one pass of the loop, as many as are over
in `BREATH_S`. Each inference then finds the model in the processor's caches where the one before left
it, and the loop does not look for news after each (decision 8 has the gain).
"""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import Awaitable
from time import monotonic
from types import TracebackType

from serving.http.refusal import RETRY_SOON, Refusal

# How long the loop may be busy with inferences before it looks for news, where one alone is not longer.
BREATH_S = 0.005
# One who waited that long for the model may have left; asking costs a microsecond.
LONG_WAIT_NS = 5_000_000
LARGEST_GROUP = 8


class Line:
    """Places for ``limit`` requests, and turns for those that hold a place, in groups of up to ``largest_group``.

    Those of a group run in one pass of the loop, one after the other as long as none gives way
    during its turn. Who does needs a ``largest_group`` of 1: a turn is then had alone.
    """

    def __init__(self, limit: int, deadline_s: float, largest_group: int = 1) -> None:
        self._limit = limit
        self._deadline_s = deadline_s
        self._largest_group = largest_group
        self._places = 0
        self._waiting: deque[asyncio.Future[None]] = deque()
        self._turns = 0  # given and not over
        self._room = 1  # how many turns there may be
        self._turns_of_group = 0
        self._group_began_s = 0.0

    @property
    def deadline_s(self) -> float:
        """How long one may wait."""
        return self._deadline_s

    @property
    def length(self) -> int:
        """Requests that hold a place: being decoded, waiting, or running."""
        return self._places

    def require_room(self) -> None:
        """Raise `Refusal` (503) where one more would be too many."""
        if self._places >= self._limit:
            raise Refusal(
                f"{self._places} requests are waiting for the model already",
                code="overloaded",
                status=503,
                headers=(RETRY_SOON,),
            )

    def place(self) -> _Place:
        """Hold a place, ``with line.place():``; raises `Refusal` (503) where there is none."""
        return _Place(self)

    def turn(self) -> _Turn:
        """Have the model, ``async with line.turn():``; raises `Refusal` (504) where it was not free in time."""
        return _Turn(self)

    def _enter(self) -> None:
        self.require_room()
        self._places += 1

    def _leave(self) -> None:
        self._places -= 1

    async def _take(self) -> None:
        if self._waiting or self._turns >= self._room:
            await self._wait()
        else:
            self._give_turn()
            await self._let_others_arrive()

    async def _let_others_arrive(self) -> None:
        try:
            await asyncio.sleep(0)
        except asyncio.CancelledError:
            self._pass_on()
            raise

    async def _wait(self) -> None:
        joined_s = monotonic()
        turn: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        self._waiting.append(turn)
        try:
            await turn
        except asyncio.CancelledError:
            if turn.done() and not turn.cancelled():
                self._pass_on()  # the turn came in the moment of giving up
            else:
                self._waiting.remove(turn)
            raise
        if monotonic() - joined_s > self._deadline_s:
            self._pass_on()
            raise self.too_late()

    def too_late(self) -> Refusal:
        """The refusal of one who waited past the deadline."""
        return Refusal(
            f"the model was not free within {self._deadline_s:g} s",
            code="deadline",
            status=504,
            headers=(RETRY_SOON,),
        )

    def _give_turn(self) -> None:
        if not self._turns:
            self._group_began_s = monotonic()
            self._turns_of_group = 0
        self._turns += 1
        self._turns_of_group += 1

    def _pass_on(self) -> None:
        self._turns -= 1
        if self._turns:
            return
        turn_s = max(monotonic() - self._group_began_s, 1e-6) / self._turns_of_group
        self._room = max(1, min(self._largest_group, int(BREATH_S / turn_s)))
        while self._waiting and self._turns < self._room:
            turn = self._waiting.popleft()
            if not turn.done():
                self._give_turn()
                turn.set_result(None)


class _Place:
    """A place in the line. Classes, as `contextlib`'s generators cost three times as much in a request's path."""

    __slots__ = ("_line",)

    def __init__(self, line: Line) -> None:
        self._line = line

    def __enter__(self) -> None:
        self._line._enter()

    def __exit__(self, *error: object) -> None:
        self._line._leave()


class _Turn:
    """A turn at the model."""

    __slots__ = ("_line",)

    def __init__(self, line: Line) -> None:
        self._line = line

    def __aenter__(self) -> Awaitable[None]:
        return self._line._take()

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        self._line._pass_on()
