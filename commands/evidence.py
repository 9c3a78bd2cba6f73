"""What a run is worth to others: two runs compared, one verified, one packed for another machine."""

from __future__ import annotations

import sys
from contextlib import nullcontext
from pathlib import Path
from typing import Annotated

import typer

from commands.console import NOTHING_WRITTEN, progress_bar, show, show_json, tell, warn
from commands.options import Json

RunFolder = Annotated[Path, typer.Argument(help="A run's folder under results/.", show_default=False)]


def compare(
    run_a: Annotated[Path, typer.Argument(metavar="RUN_A", help="The folder of the run that ratios refer to.")],
    run_b: Annotated[Path, typer.Argument(metavar="RUN_B", help="The folder of the other run.")],
    despite: Annotated[
        list[str] | None,
        typer.Option(
            "--despite",
            metavar="FIELD",
            help="Compare although this differs: cpu_model, cores, memory, accelerator, governor, libraries, data or "
            "artifacts; repeat for several. The result says so.",
        ),
    ] = None,
    as_json: Json = False,
) -> None:
    """Is RUN_B faster than RUN_A? Refused, with exit code 2, where they were not measured under the same conditions."""
    from analysis.comparison.comparing import compare_runs
    from analysis.comparison.tables import comparison_as_json, comparison_tables
    from contract.errors import RunInvalid

    if missing := [run for run in (run_a, run_b) if not run.exists()]:  # before the other is read, which takes a while
        raise RunInvalid(f"there is no run at {missing[0]}. Next: name a folder under results/")
    with progress_bar(NOTHING_WRITTEN) as progress:
        compared = compare_runs(run_a, run_b, despite or (), progress)
        progress("compared", 1, 1)
    for one in compared.despite:
        warn(f"compared despite another {one}")
    if as_json:
        typer.echo(comparison_as_json(compared))
    else:
        show(comparison_tables(compared))


def capsule(
    run: RunFolder,
    out: Annotated[Path | None, typer.Option("--out", help="Default: the run's name with .zip, here.")] = None,
    as_json: Json = False,
) -> None:
    """Pack a run into one zip file that `hemabench verify` checks on any machine."""
    from analysis.evidence.capsule import pack
    from contract.records.seal import SEAL_FILE
    from contract.storage import sha256_of_file

    with progress_bar("no capsule is written. Next: repeat the command") as progress:
        path = pack(run, out or Path(f"{run.resolve().name}.zip"), progress)
        progress("packed", 1, 1)
    if as_json:
        seal, size = sha256_of_file(run / SEAL_FILE), path.stat().st_size
        show_json({"run": run.resolve().name, "capsule": str(path), "size_bytes": size, "seal_digest": seal})
    tell(f"capsule: {path}  Next, on another machine: hemabench verify {path.name}")


def conclude_verification(run: Path, as_json: bool) -> None:
    """Verify a run's folder or capsule and print what was found. Exit code 1 where anything does not hold."""
    from analysis.evidence.capsule import unpacked
    from analysis.evidence.verification import verify_run

    with progress_bar(NOTHING_WRITTEN) as progress, unpacked(run) if run.is_file() else nullcontext(run) as folder:
        found = verify_run(folder, progress)
        progress("checked", 1, 1)
    if as_json:
        show_json(found)
    elif found.holds:
        show(f"{found.run}: {found.files} files are what was sealed, {found.numbers:,} numbers follow from the records")
        show(f"seal: {found.seal_digest}")
    else:
        show("\n".join(f"{found.run}: {fault}" for fault in found.faults))
    if not found.holds:
        tell(f"error: {run} does not hold: {len(found.faults)} faults. Next: restore it from a copy, or measure again")
        sys.exit(1)
