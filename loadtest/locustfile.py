"""Locust's side of a load test; the only file that imports it.

    locust -f loadtest/locustfile.py --host http://127.0.0.1:3000

opens Locust's own web page, where the scenario is chosen beside the number of users.
Times on that page are for watching; the raw ones, in nanoseconds, are in the folder
that the log names. ``hemabench run`` starts the same file with ``--headless --plan``.
With ``--master`` and ``--worker``, or ``--processes``, workers share the load: see
`loadtest.generator.workers`.

Locust logs and forgets an exception of an event listener. Nothing here relies on one:
records are written by the users themselves, and what goes wrong sets the exit status.
"""

from __future__ import annotations

import gc
import logging
import sys
from argparse import ArgumentParser, Namespace
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import gevent
import locust.stats
from geventhttpclient.url import URL
from locust import FastHttpUser, constant, events, task
from locust.exception import StopUser
from locust.runners import MasterRunner, WorkerRunner

from contract.blood_cells import RESOLUTIONS_PX
from contract.dataset import load_dataset
from contract.errors import HemaBenchError, InvalidSettings
from contract.records.load import SETTINGS_OF_KINDS, Scenario
from contract.storage import read_json
from contract.timing import NS_PER_MS
from loadtest.generator.alarm import create_alarm
from loadtest.generator.connecting import watch_connections
from loadtest.generator.exchange import Reply, exchange
from loadtest.generator.images import find_dataset
from loadtest.generator.ledger import OpenRequest
from loadtest.generator.offering import Offering
from loadtest.generator.payloads import Payload, choose_positions, encode_payloads
from loadtest.generator.plan import LoadPlan
from loadtest.generator.workers import LOAD_STOPPED, MasterSide, Share, WorkerSide, hear_workers, share_of
from loadtest.scenarios import CLOSED_LOOP, KINDS

EXIT_LOAD_BROKE_OFF = 3
EXIT_LOAD_STOPPED = 130  # as of any command that is interrupted: docs/commands.md
LOOK_AFTER_S = 0.25
LOOK_FOR_USER_S = 0.01
# More than the requests in flight, so that no request ever waits for a connection slot of our own.
CONNECTIONS = 4096

logger = logging.getLogger("hemabench.load")


def _display_bucket(response_time_ms: float) -> float:
    """For Locust's tables only: it would round 0.4 ms to 0."""
    return round(response_time_ms, 1) if response_time_ms < 100 else round(response_time_ms)


locust.stats.bucket_response_time = _display_bucket


def add_options(parser: ArgumentParser) -> None:
    """Our options, on the command line and on the web page."""
    option = parser.add_argument
    option("--resolution", type=int, default=28, help="Pixels of the image side", choices=RESOLUTIONS_PX)
    option("--scenario", default=CLOSED_LOOP, help="How load is offered", choices=list(KINDS))
    option("--arrival-rate", type=float, default=50.0, help="Requests per second by schedule; the first of a ladder")
    option("--arrivals", default="poisson", help="Random or even gaps", choices=["poisson", "constant"])
    option("--peak-rate", type=float, default=200.0, help="Requests per second at the top of a spike")
    option("--requests", type=int, default=1000, help="How many are due at once, offline")
    option("--p99-ms", type=float, default=100.0, help="What p99 may be at the highest rate: find_rate")
    option("--warmup", type=float, default=2.0, help="Seconds that are recorded and not measured")
    option("--duration", type=float, default=60.0, help="Seconds that are measured")
    option("--seed", type=int, default=0, help="Draws the arrivals and the order of the images")
    option("--images", type=int, default=500, help="How many different images are sent")
    option("--dataset", default="", help="Folder of a data set at that resolution; empty: what hemabench data made")
    option("--record-to", default="", help="Folder for the raw records; empty: results/locust-<time>")
    option("--plan", default="", help="A load.json that says all of the above", include_in_web_ui=False)


def prepare(environment: Any, runner: Any, **_: Any) -> None:
    """Refuse what cannot be done before anything is sent."""
    environment.offering = environment.images_key = environment.master_side = None
    environment.worker_side = WorkerSide(runner) if isinstance(runner, WorkerRunner) else None
    if environment.worker_side is not None:
        runner.register_message(LOAD_STOPPED, close)
        return  # what to do comes from the master, and what is wrong with it is told there
    if isinstance(runner, MasterRunner):
        hear_workers(runner)
    try:
        plan = plan_from(environment.parsed_options)
        environment.images_key, environment.payloads = _images_of(plan)
    except HemaBenchError as error:
        sys.exit(str(error))


def begin(environment: Any, **_: Any) -> None:
    """Start a test: the web page may start several, each with other options."""
    try:
        plan = plan_from(environment.parsed_options)
        if isinstance(environment.runner, MasterRunner):
            _lead(environment, plan)
        else:
            _encode_again_if_needed(environment, plan)
            _quieten_garbage_collection()
            environment.offering = _offering(environment, plan)
            gevent.spawn(_see_to_the_end, environment, environment.offering)
    except Exception as error:  # noqa: BLE001 (Locust would log it, and run for ever without a load)
        environment.offering = None
        _break_off(environment, error)
        return
    logger.warning("recording to %s", plan.record_to)


def fail(user_instance: Any, exception: BaseException, **_: Any) -> None:
    """An error in our own code must not pass for a quiet service."""
    if (offering := user_instance.environment.offering) is not None:
        offering.fail(exception)


def halt(environment: Any, **_: Any) -> None:
    """Put together what the workers wrote when a master is stopped, before Locust sends them away."""
    master = environment.master_side
    if master is None or master.is_over:
        return
    try:
        if not master.stop().complete:
            _tell_of_stop(environment)
    except (HemaBenchError, OSError) as error:
        _tell_of_break(environment, error)


def close(environment: Any, **_: Any) -> None:
    """Settle what is open, whoever ended the test: its own end, the web page, Ctrl-C or a signal."""
    halt(environment)
    offering = environment.offering
    if offering is None:
        return
    was_open = not offering.is_closed
    try:
        offering.close()
    except OSError as error:
        offering.fail(error)
    if offering.error is not None:
        _tell_of_break(environment, offering.error)
    elif was_open and not offering.is_complete and environment.worker_side is None:  # of workers the master tells
        _tell_of_stop(environment)


class Classification(FastHttpUser):  # type: ignore[misc]  # Locust is not typed
    """Sends images to be classified, in a closed loop or by schedule; of a schedule all users are one."""

    wait_time = constant(0)
    concurrency = CONNECTIONS
    max_retries = 0

    def on_start(self) -> None:
        """Wait for nothing, and hold what every request needs."""
        if self.environment.offering is None:
            raise StopUser
        self.offering: Offering = self.environment.offering
        if self.offering.is_scheduled:  # who waits for answers needs none, and each is a descriptor
            self.alarm = create_alarm()
        self.http = self.client.client.clientpool.get_client(URL(self.host))
        watch_connections(self.http)
        self.target = f"/v1/classify?resolution={self.offering.plan.resolution_px}"
        self.label = f"classify {self.offering.plan.resolution_px}px"

    def on_stop(self) -> None:
        """Let go of the timer."""
        if hasattr(self, "alarm"):
            self.alarm.close()

    @task  # type: ignore[untyped-decorator]
    def classify(self) -> None:
        """One request, or one arrival."""
        if self.offering.is_scheduled:
            self.wait_for_arrival()
        elif (request := self.offering.next_in_closed_loop()) is not None:
            self.send(request)
        else:
            raise StopUser

    def wait_for_arrival(self) -> None:
        """Launch the next request of the schedule when it is due, whatever became of the ones before."""
        if (due_ns := self.offering.next_arrival()) is None:
            if not self.offering.wait_for_step():
                raise StopUser
            return
        self.alarm.sleep_until(due_ns)
        self.offering.launch(due_ns, self.send)

    def send(self, request: OpenRequest) -> None:
        """Exchange, record, and only then tell Locust's tables."""
        self.offering.sending(request)
        reply = exchange(self.http, self.target, request.payload.body, self.offering.plan.timeout_s)
        self.offering.settle(request, reply)
        self.show(request, reply)

    def show(self, request: OpenRequest, reply: Reply) -> None:
        """For Locust's page and tables; failures stand apart from answers by their kind."""
        self.environment.events.request.fire(
            request_type="POST",
            name=self.label,
            response_time=(reply.finished_ns - request.scheduled_ns) / NS_PER_MS,
            response_length=reply.length_bytes,
            exception=reply.failure,
            context={},
        )


def plan_from(options: Namespace) -> LoadPlan:
    """The plan that the options spell, or the one in the file that ``--plan`` names."""
    if options.plan:
        return read_json(Path(options.plan), LoadPlan)
    if options.scenario not in KINDS:
        raise InvalidSettings(f"no scenario is called {options.scenario!r}; choose one of: {', '.join(KINDS)}")
    given: dict[str, Any] = {
        "arrival_rate_per_s": float(options.arrival_rate),
        "peak_rate_per_s": float(options.peak_rate),
        "requests": int(options.requests),
        "p99_limit_s": float(options.p99_ms) / 1_000,
    }
    scenario = Scenario(
        kind=options.scenario,
        warmup_s=float(options.warmup),
        duration_s=float(options.duration),
        seed=int(options.seed),
        users=int(options.num_users or 1),
        arrivals=options.arrivals,
        # The page has a field for every setting; those of other scenarios say nothing.
        **{name: value for name, value in given.items() if options.scenario in SETTINGS_OF_KINDS[name]},
    )
    resolution_px = int(options.resolution)
    return LoadPlan(
        scenario=scenario,
        resolution_px=resolution_px,
        dataset=options.dataset or str(find_dataset(resolution_px)),
        record_to=options.record_to or f"results/locust-{datetime.now(UTC):%Y%m%dT%H%M%S.%fZ}",
        images=int(options.images),
        image_seed=int(options.seed),
    )


def _images_of(plan: LoadPlan) -> tuple[tuple[str, int, int], tuple[Payload, ...]]:
    dataset = load_dataset(Path(plan.dataset))
    if dataset.facts.resolution_px != plan.resolution_px:
        raise InvalidSettings(
            f"{plan.dataset} holds images of {dataset.facts.resolution_px} px, not {plan.resolution_px}. "
            "Next: name the folder of that resolution, or none"
        )
    positions = choose_positions(dataset, plan.images, plan.image_seed)
    return (plan.dataset, plan.images, plan.image_seed), encode_payloads(dataset, positions)


def _encode_again_if_needed(environment: Any, plan: LoadPlan) -> None:
    if environment.images_key != (plan.dataset, plan.images, plan.image_seed):
        environment.images_key, environment.payloads = _images_of(plan)


def _quieten_garbage_collection() -> None:
    """A full collection of Locust's own heap would pass for a slow service."""
    gc.collect()
    gc.freeze()


def _offering(environment: Any, plan: LoadPlan) -> Offering:
    """The whole load; a worker's share of it."""
    if environment.worker_side is None:
        return Offering(plan, environment.payloads)
    share = Share(index=environment.runner.worker_index, of=int(environment.parsed_options.expect_workers))
    return Offering(share_of(plan, share), environment.payloads, share=share, crew=environment.worker_side)


def _lead(environment: Any, plan: LoadPlan) -> None:
    """Begin a load that workers carry out: all write below one folder, and each knows how many there are."""
    runner, options = environment.runner, environment.parsed_options
    workers = runner.worker_count
    if plan.scenario.kind != CLOSED_LOOP and runner.target_user_count < workers:
        raise InvalidSettings(f"every worker needs a user to send by schedule. Next: --users {workers}")
    options.expect_workers, options.record_to = workers, str(Path(plan.record_to).absolute())

    def finish(error: str | None) -> None:
        if error is not None:
            _tell_of_break(environment, error)
        gevent.spawn(_stop, environment)

    environment.master_side = MasterSide(runner, plan, workers, finish)
    gevent.spawn(_look_after, environment.master_side)


def _look_after(master: MasterSide) -> None:
    while not master.is_over:
        master.look_after()
        gevent.sleep(LOOK_AFTER_S)


def _see_to_the_end(environment: Any, offering: Offering) -> None:
    if environment.worker_side is not None:
        _wait_for_user(environment, offering)
    offering.carry_out()
    if offering.is_closed:
        return  # somebody stopped it, and the next test may have begun meanwhile
    close(environment)
    if environment.worker_side is None:
        _stop(environment)
    else:
        environment.worker_side.done(None if offering.error is None else _in_words(offering.error))


def _wait_for_user(environment: Any, offering: Offering) -> None:
    """Without a user no schedule is kept, and Locust may send this worker its own seconds after the others theirs."""
    while offering.is_scheduled and not offering.is_closed and environment.runner.user_count == 0:
        gevent.sleep(LOOK_FOR_USER_S)


def _break_off(environment: Any, error: Exception) -> None:
    logger.error("%s", _in_words(error), exc_info=None if isinstance(error, HemaBenchError | OSError) else error)
    environment.process_exit_code = EXIT_LOAD_BROKE_OFF
    if environment.worker_side is not None:
        environment.worker_side.done(_in_words(error))
        return
    gevent.spawn(_stop, environment)  # not from within the listener: Locust is still starting


def _tell_of_break(environment: Any, error: BaseException | str) -> None:
    environment.process_exit_code = EXIT_LOAD_BROKE_OFF
    logger.error("the load broke off, and its records are not whole: %s", _in_words(error))


def _tell_of_stop(environment: Any) -> None:
    """An error that was before it keeps its exit status."""
    environment.process_exit_code = environment.process_exit_code or EXIT_LOAD_STOPPED
    logger.warning("the load was stopped before its end: what was recorded until then is kept, and is no result")


def _in_words(error: BaseException | str) -> str:
    """Ours say it themselves."""
    return str(error) if isinstance(error, HemaBenchError | str) else repr(error)


def _stop(environment: Any) -> None:
    if environment.parsed_options.headless:
        environment.runner.quit()
    else:
        environment.runner.stop()


events.init_command_line_parser.add_listener(add_options)
events.init.add_listener(prepare)
events.test_start.add_listener(begin)
events.user_error.add_listener(fail)
events.quitting.add_listener(close)
events.test_stopping.add_listener(halt)
events.test_stop.add_listener(close)
