"""What the two processes of a service, BentoML's supervisor and its worker, owe each other."""

from __future__ import annotations

import atexit
import ctypes
import gc
import logging
import os
import secrets
import signal
import sys
import tempfile
from pathlib import Path
from typing import Any

from serving.process.stopping import WORKER_LIMIT_S

FAILURE_FILE = "HEMABENCH_FAILURE_FILE"
# A collection of the youngest objects after 50,000 more, of older ones after 20 and 1,000 of those.
GC_THRESHOLDS = (50_000, 20, 50)
_PR_SET_PDEATHSIG = 1
WORKER_CHECK_S = 1.0


def freeze_heap() -> None:
    """Take all that lives now out of the garbage collector's sight.

    A stock service's slowest requests (40 to 60 ms) are full collections that walk the
    modules of a framework, which will never be garbage. After this a collection sees
    what requests left behind, and is over in well under a millisecond.

    Once, before the first request: nobody is answered meanwhile, whatever thread calls it. A model that is
    loaded later stays in sight, with some thousand objects at most, and is collected when another replaces it.
    """
    gc.collect()
    gc.freeze()
    gc.set_threshold(*GC_THRESHOLDS)


def die_with_parent() -> None:
    """Ask the kernel (Linux) to end this worker when its supervisor is gone, however that ended: no orphans."""
    if sys.platform == "linux":
        ctypes.CDLL(None).prctl(_PR_SET_PDEATHSIG, signal.SIGTERM)


def watch_for_failure() -> None:
    """In the supervisor: exit with status 1 when a worker could not start.

    BentoML's supervisor starts a dead worker again and again, which is right for a crash
    and wrong for an artifact that will never load; and told to stop, it exits with 0.
    """
    folder = os.environ.get("BENTOML_HOME", tempfile.gettempdir())
    path = Path(folder, f"hemabench-failure-{secrets.token_hex(8)}")
    os.environ[FAILURE_FILE] = str(path)  # inherited by the workers
    atexit.register(_exit_as_the_worker_failed, path)


def watch_workers_closely() -> None:
    """In the supervisor, before it starts workers: miss a dead one for a second, not for ten, and kill one that
    does not stop after `WORKER_LIMIT_S`, not after a day.

    BentoML leaves no setting for either, so the class that it is about to use is exchanged.
    """
    from bentoml._internal.utils import circus

    class CloseWatch(circus.Arbiter):  # type: ignore[misc]
        def __init__(self, watchers: list[Any], *arguments: Any, **options: Any) -> None:
            for watcher in watchers:
                watcher.graceful_timeout = WORKER_LIMIT_S
            super().__init__(watchers, *arguments, **{**options, "check_delay": WORKER_CHECK_S})

    circus.Arbiter = CloseWatch


def report_failure_to_parent(reason: str) -> None:
    """In a worker: make the supervisor stop, and exit with status 1."""
    path = os.environ.get(FAILURE_FILE)
    if path is not None:
        Path(path).write_text(reason)
    os.kill(os.getppid(), signal.SIGTERM)


def _exit_as_the_worker_failed(path: Path) -> None:
    if path.exists():
        path.unlink()
        logging.shutdown()
        sys.stdout.flush()
        sys.stderr.flush()
        os._exit(1)  # an exit handler has no other way to change the status
