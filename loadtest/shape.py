"""A closed loop whose number of users changes, as Locust shapes it; goes beside the locustfile where it is wanted.

    locust -f loadtest/locustfile.py,loadtest/shape.py --host http://127.0.0.1:3000 --user-stages 2,2,16,2,2

is a rush during the middle fifth, ``--user-stages 1,2,4,8,16`` a ladder of users. Users wait
for answers: a service that slows down is asked less, and what it would have done to those who
come regardless is not seen. For that there are the scenarios ``spike`` and ``ladder``.
"""

from __future__ import annotations

import sys
from argparse import ArgumentParser
from collections.abc import Sequence
from typing import Any

from locust import LoadTestShape, events  # noqa: TID253 (beside the locustfile, the one file about Locust's shapes)

from contract.errors import InvalidSettings

PATIENCE_S = 30.0  # with the last request of a user who goes


def add_option(parser: ArgumentParser) -> None:
    """On the command line and on the web page."""
    parser.add_argument("--user-stages", default="1,2,4,8,16", help="Closed loop: users, stage by stage of --duration")


def prepare(environment: Any, **_: Any) -> None:
    """Refuse what cannot be done before anything is sent, and let users who go finish their request."""
    environment.stop_timeout = PATIENCE_S
    try:
        stages_in(environment.parsed_options.user_stages)
    except InvalidSettings as error:
        sys.exit(str(error))


class UserStages(LoadTestShape):  # type: ignore[misc]  # Locust is not typed
    """As many users as ``--user-stages`` says, each number during an equal part of what is measured."""

    use_common_options = True

    def tick(self) -> tuple[int, float]:
        """How many users there shall be now, and how many may come or go in a second."""
        options = self.runner.environment.parsed_options
        stages = stages_in(options.user_stages)
        return users_at((self.get_run_time() - options.warmup) / options.duration, stages), max(stages)


def stages_in(text: str) -> tuple[int, ...]:
    """``1,2,4`` as numbers; raises `InvalidSettings`."""
    words = text.split(",")
    if not all(word.strip().isdecimal() and int(word) > 0 for word in words):
        raise InvalidSettings(f"user-stages ({text}) are numbers of users. Next: --user-stages 2,2,16,2,2, say")
    return tuple(int(word) for word in words)


def users_at(share: float, stages: Sequence[int]) -> int:
    """The users of the stage that ``share`` of the measured time falls in; of the nearest one outside it."""
    return stages[min(max(int(share * len(stages)), 0), len(stages) - 1)]


events.init_command_line_parser.add_listener(add_option)
events.init.add_listener(prepare)
