"""A campaign: every runtime at every resolution, several times in random order, each time in a fresh service.

For each contender: what it answers offline, then a closed loop with one user, then an
open loop at half of what the closed loop got through, both against the same service.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

from contract.dataset import load_dataset
from contract.errors import HemaBenchError, RunInvalid
from contract.progress import Progress
from contract.records.load import Cell, CellOutcome, Scenario
from contract.records.seal import open_seal, seal_folder
from contract.storage import write_json
from loadtest.campaign.cells import Surroundings, capacity_per_s, failed_cell, measure_cell, read_records
from loadtest.campaign.meter import Meter
from loadtest.campaign.offline import offline_command, offline_predictions_in, predict_offline
from loadtest.campaign.planning import CampaignSettings, Contender, contenders_of, plan_campaign
from loadtest.campaign.runfolder import RunFolder, create_run, resume_run
from loadtest.generator.payloads import choose_positions
from loadtest.generator.plan import LoadPlan
from loadtest.scenarios import CLOSED_LOOP
from loadtest.service.processes import split_cores
from loadtest.service.server import CommandForPort, RunningService, running_service, serve_command

SERVICE_LOG = "service.log"
# Expected seconds, for the progress bar alone; see loadtest.scenarios.
_OFFLINE_S, _START_S, _GENERATOR_S = 4.0, 4.0, 2.5


@dataclass(frozen=True, slots=True, kw_only=True)
class Commands:
    """The programs that a campaign runs beside the load generator; tests and other services put in their own.

    ``offline`` gets the file of positions and the file to write.
    """

    service: Callable[[CampaignSettings, Contender], CommandForPort]
    offline: Callable[[CampaignSettings, Contender, Path, Path], Sequence[str]]


def _our_service(settings: CampaignSettings, contender: Contender) -> CommandForPort:
    return serve_command(
        runtime=contender.runtime,
        resolution_px=contender.resolution_px,
        artifacts=settings.artifacts,
        device=settings.device,
        threads=settings.threads,
    )


def _our_offline(settings: CampaignSettings, contender: Contender, positions: Path, output: Path) -> Sequence[str]:
    return offline_command(
        runtime=contender.runtime,
        resolution_px=contender.resolution_px,
        artifacts=settings.artifacts,
        dataset=settings.datasets[contender.resolution_px],
        positions=positions,
        output=output,
        device=settings.device,
        threads=settings.threads,
    )


HEMABENCH = Commands(service=_our_service, offline=_our_offline)


def run_campaign(settings: CampaignSettings, progress: Progress, commands: Commands = HEMABENCH) -> Path:
    """Measure everything that ``settings`` name and return the run's folder.

    A cell that fails is recorded as failed and the campaign goes on: see
    `RunFolder.failures`. Raises before anything is measured where artifacts, images or an
    earlier run do not fit. Ctrl-C stops service and generator, and is raised again with
    what was kept as its message.
    """
    run = _prepare(settings)
    contenders = [contender for contender in contenders_of(settings) if _unfinished(run, contender)]
    campaign = _Campaign(
        settings, run, commands, Meter(progress, sum(_expected_s(settings, contender) for contender in contenders))
    )
    try:
        for contender in contenders:
            campaign.measure(contender)
    except KeyboardInterrupt:
        raise KeyboardInterrupt(_what_was_kept(run)) from None
    seal_folder(run.path)
    campaign.meter.end("load tests")
    return run.path


@dataclass(frozen=True, slots=True)
class _Campaign:
    """What every step of a campaign needs."""

    settings: CampaignSettings
    run: RunFolder
    commands: Commands
    meter: Meter

    def measure(self, contender: Contender) -> None:
        """Bring every cell of ``contender`` to an outcome; a failure is one."""
        self.meter.section(_expected_s(self.settings, contender))
        unfinished = _unfinished(self.run, contender)
        for cell in unfinished:
            self.run.set_aside(cell)
        surroundings = Surroundings(cores=split_cores(self.settings.threads))
        try:
            self._predict_offline(contender, surroundings)
            self._measure_cells(contender, unfinished, surroundings)
        except HemaBenchError as error:
            for cell in unfinished:
                if self.run.outcome(cell) is None:
                    self.run.finish(failed_cell(cell, surroundings, str(error)))

    def _predict_offline(self, contender: Contender, surroundings: Surroundings) -> None:
        """Not timed; a runtime that cannot answer here is not measured either."""
        output = self.run.offline_file(contender.runtime, contender.resolution_px)
        if offline_predictions_in(output) is not None:
            return
        self.meter.begin(f"{contender}: answers without HTTP", _OFFLINE_S)
        positions = self.run.images_file(contender.resolution_px)
        command = self.commands.offline(self.settings, contender, positions, output)
        predict_offline(command, output=output, cores=surroundings.cores.service)

    def _measure_cells(self, contender: Contender, cells: Sequence[Cell], surroundings: Surroundings) -> None:
        self.meter.begin(f"{contender}: starting the service", _START_S)
        log = self.run.cell_folder(cells[0]) / SERVICE_LOG
        command = self.commands.service(self.settings, contender)
        with running_service(command, log=log, cores=surroundings.cores.service) as service:
            for cell in cells:
                service.require_alive()
                self.run.finish(self._measure_cell(contender, cell, service, surroundings))

    def _measure_cell(
        self, contender: Contender, cell: Cell, service: RunningService, surroundings: Surroundings
    ) -> CellOutcome:
        scenario = self._scenario_of(contender, cell)
        self.meter.begin(f"{contender}: {cell.scenario.replace('_', ' ')}", _cell_s(self.settings, contender))
        plan = LoadPlan(
            scenario=scenario,
            resolution_px=cell.resolution_px,
            dataset=str(self.settings.datasets[cell.resolution_px].absolute()),
            record_to=str(self.run.cell_folder(cell)),
            images=self.settings.profile.images,
            image_seed=self.settings.seed,
        )
        here = Surroundings(cores=surroundings.cores, start_up_s=service.start_up_s, digest=self._digest_of(contender))
        return measure_cell(service.url, cell, plan, here, service=service, ticking=self.meter.tick)

    def _scenario_of(self, contender: Contender, cell: Cell) -> Scenario:
        profile, side = self.settings.profile, cell.resolution_px
        seed = self.settings.seed + cell.repetition - 1  # other bursts each time, the same for all contenders
        if cell.scenario == CLOSED_LOOP:
            return profile.closed_loop(seed, side)
        closed = contender.cell(CLOSED_LOOP)
        if not self.run.is_finished(closed):
            raise RunInvalid(f"no rate for the open loop, because {closed.name} failed. Next: see there")
        return profile.open_loop(seed, side, capacity_per_s(read_records(self.run.cell_folder(closed))))

    def _digest_of(self, contender: Contender) -> str | None:
        """Of its artifact; None for a runtime that loads nothing."""
        place = (contender.runtime, contender.resolution_px)
        digests = {(facts.runtime, facts.resolution_px): facts.digest for facts in self.run.plan.artifacts}
        return digests.get(place)


def _prepare(settings: CampaignSettings) -> RunFolder:
    """The run's folder with its plan and its choice of images, before anything is measured."""
    datasets = {side: load_dataset(settings.datasets[side]) for side in settings.profile.resolutions_px}
    plan = plan_campaign(settings, datasets)
    run = (resume_run if settings.resume else create_run)(settings.results, plan)
    open_seal(run.path)
    for side, dataset in datasets.items():
        write_json(run.images_file(side), choose_positions(dataset, settings.profile.images, settings.seed))
    return run


def _unfinished(run: RunFolder, contender: Contender) -> list[Cell]:
    return [cell for cell in contender.cells() if not run.is_finished(cell)]


def _cell_s(settings: CampaignSettings, contender: Contender) -> float:
    return settings.profile.warmup_s + settings.profile.duration_at(contender.resolution_px) + _GENERATOR_S


def _expected_s(settings: CampaignSettings, contender: Contender) -> float:
    """Of one contender; its offline predictions are made in the first repetition."""
    offline_s = _OFFLINE_S if contender.repetition == 1 else 0.0
    return offline_s + _START_S + len(contender.cells()) * _cell_s(settings, contender)


def _what_was_kept(run: RunFolder) -> str:
    missing = len(run.missing())
    return (
        f"{len(run.plan.cells) - missing} of {len(run.plan.cells)} cells are finished and kept in {run.path}. "
        f"Next: the same command with --resume {run.plan.run}"
    )
