"""The BentoML service: ``bentoml serve serving.service:HemaBench``, configured by ``HEMABENCH_*`` variables.

BentoML gives the supervisor and its worker, the probes and the packaging. Its middlewares
stay out of a request's time, because the door stands in front of them: the tracing
middleware works even when nothing is exported, the request timeout keeps a timer for 60 s
after each answer, and the histograms begin at 5 ms. The door has deadlines, counters and
histograms of its own. `freeze_heap` keeps the garbage collector out as well.
"""

from __future__ import annotations

import asyncio
import logging
import os
import threading
import time
import warnings
from concurrent.futures import CancelledError
from typing import Any

import bentoml
from bentoml.exceptions import BentoMLException
from starlette.types import ASGIApp

from contract.errors import HemaBenchError
from serving.http.connections import guard_connections
from serving.http.door import DoorInFront
from serving.http.endpoints import Endpoints
from serving.inference.classifier import FIRST_CALLS, Classifier, load_classifier, require_servable, warm_up
from serving.inference.reload import reloaded
from serving.observe.audit import require_appendable
from serving.observe.request_log import write_to_standard_output
from serving.observe.traces import Traces, require_exporter, traces_are_asked_for
from serving.process.stopping import drain_on_sigterm
from serving.process.supervision import (
    die_with_parent,
    freeze_heap,
    report_failure_to_parent,
    watch_for_failure,
    watch_workers_closely,
)
from serving.settings import ServiceSettings

logger = logging.getLogger("hemabench.serving")


def _settings() -> ServiceSettings:
    try:
        return ServiceSettings.from_environment(os.environ)
    except HemaBenchError as error:
        raise BentoMLException(str(error)) from error  # which the command line shows without a stack


settings = _settings()
traces = Traces({"hemabench.runtime": settings.runtime}) if traces_are_asked_for(os.environ) else None
endpoints = Endpoints(settings, traces)


class ServiceBehindDoor(bentoml.Service[Any]):  # type: ignore[misc]  # BentoML's types are not followed
    """A BentoML service whose every request but the probes is answered before BentoML's own application."""

    def to_asgi(self, is_main: bool = True) -> ASGIApp:
        """What a worker serves."""
        guard_connections()
        return DoorInFront(super().to_asgi(is_main), endpoints.routes())


@bentoml.service(
    name="hemabench",
    service_class=ServiceBehindDoor,
    workers=1,
    http={"host": "127.0.0.1"},
    metrics={"enabled": False},
    logging={"access": {"enabled": False}},
    tracing={"excluded_urls": ".*"},
)
class HemaBench:
    """Blood-cell classification. Research use only. Not for diagnosis."""

    def __init__(self) -> None:
        die_with_parent()
        _log_like_bentoml()
        write_to_standard_output()
        warnings.filterwarnings("ignore", module="PIL")  # what a broken image makes Pillow say concerns its sender
        self._loop = asyncio.get_running_loop()
        drain_on_sigterm(endpoints.refuse_new, lambda: endpoints.is_busy)
        # A thread, so that the probes answer (alive, not ready) while a framework is imported.
        threading.Thread(target=self._load, name="load", daemon=True).start()

    def __is_ready__(self) -> bool:
        return endpoints.is_open

    @bentoml.on_shutdown  # type: ignore[untyped-decorator]
    def _send_last_traces(self) -> None:
        if traces is not None:
            traces.stop()

    @bentoml.on_deployment  # type: ignore[untyped-decorator]
    @staticmethod
    def check() -> None:
        """In the parent, before there is a worker: everything that can be known without a framework."""
        try:
            require_servable(settings)
            require_appendable(settings.audit_log)
            require_exporter(os.environ)
        except HemaBenchError as error:
            raise BentoMLException(str(error)) from error
        watch_for_failure()
        watch_workers_closely()

    def _load(self) -> None:
        try:
            classifier = load_classifier(settings, logger.info)
            endpoints.prepare(classifier)
            if traces is not None:
                traces.start()
        except HemaBenchError as error:
            logger.critical("%s: %s", type(error).__name__, error)
            report_failure_to_parent(str(error))
        except BaseException as error:
            logger.critical("the models cannot be loaded", exc_info=error)
            report_failure_to_parent(repr(error))
        else:
            self._loop.call_soon_threadsafe(self._open, classifier)

    def _open(self, classifier: Classifier) -> None:
        for served in classifier.models.values():
            warm_up(served, FIRST_CALLS)
        freeze_heap()
        endpoints.open(classifier)
        logger.info("ready: %s at %s px", settings.runtime, ", ".join(map(str, classifier.models)))
        if settings.reload_s:
            threading.Thread(target=self._keep_reloading, args=(classifier,), name="reload", daemon=True).start()

    def _keep_reloading(self, classifier: Classifier) -> None:
        refused = ""
        while True:
            time.sleep(settings.reload_s)
            try:
                classifier = self._reload(classifier)
            except CancelledError:
                return  # the service is ending
            except Exception as error:  # whatever a changed artifact does to its framework, the old one goes on
                endpoints.refuse_newer()
                if str(error) != refused:
                    known = isinstance(error, HemaBenchError)
                    words = "a changed artifact is refused, the old one goes on. %s: %s"
                    logger.error(words, type(error).__name__, error, exc_info=None if known else error)
                refused = str(error)

    def _reload(self, classifier: Classifier) -> Classifier:
        before = classifier.runtime.compilations()
        newer = reloaded(classifier, settings.artifacts, logger.info)
        if newer is None:
            return classifier
        endpoints.prepare(newer)
        compilations = newer.runtime.compilations() - before
        # Without a word to the garbage collector: to walk all that a framework has made stops every thread.
        asyncio.run_coroutine_threadsafe(endpoints.replace(newer, compilations), self._loop).result()
        logger.info("reloaded: %s", ", ".join(f"{side} px {m.name.digest[:12]}" for side, m in newer.models.items()))
        return newer


def _log_like_bentoml() -> None:
    """BentoML configures its own logger only; ours goes where its goes."""
    ours, theirs = logging.getLogger("hemabench"), logging.getLogger("bentoml")
    ours.handlers, ours.propagate = theirs.handlers, False
    ours.setLevel(logging.INFO)
    # uvicorn composes a line per request as long as any handler could be reached, though its level drops them all.
    logging.getLogger("uvicorn.access").propagate = False
