"""The command line ``hemabench``: a table of contents. Each command imports its stage when it is called."""

from __future__ import annotations

import typer

from commands import answer, compute, doctor, evidence, measure, mistakes, prepare, referees
from commands.console import fail
from contract.blood_cells import NOTICE
from contract.errors import HemaBenchError, InvalidSettings

COMMANDS = (
    prepare.info,
    doctor.doctor,
    prepare.data,
    prepare.audit,
    prepare.train,
    prepare.calibrate,
    prepare.export,
    prepare.verify,
    answer.serve,
    answer.classify,
    measure.load,
    measure.run,
    measure.peers,
    referees.referee,
    referees.payloads,
    compute.compute,
    mistakes.mistakes,
    measure.report,
    evidence.compare,
    evidence.capsule,
)

# Which extra brings a module that a command needs.
EXTRAS = {
    "medmnist": "data",
    "bentoml": "serving",
    "locust": "loadtest",
    "psutil": "loadtest",
    "litserve": "peers",
    "jinja2": "report",
    "altair": "report",
    "vl_convert": "report",
}

app = typer.Typer(
    help=f"The same blood-cell network in PyTorch, TensorFlow and JAX, served alike and timed. {NOTICE}",
    no_args_is_help=True,
    pretty_exceptions_enable=False,
    context_settings={"help_option_names": ["-h", "--help"]},
)
for command in COMMANDS:
    app.command()(command)


def main() -> None:
    """Run a command. Exit codes: 0 done, 1 failed with a message, 2 wrong usage or settings, 130 interrupted."""
    try:
        app()
    except InvalidSettings as error:
        fail(str(error), 2)
    except (HemaBenchError, OSError) as error:
        fail(str(error), 1)
    except ModuleNotFoundError as missing:
        extra = EXTRAS.get(str(missing.name).partition(".")[0])
        if extra is None:
            raise
        fail(f"{missing.name} is not installed. Next: pip install -c constraints.txt -e '.[{extra}]'", 1)


if __name__ == "__main__":
    main()
