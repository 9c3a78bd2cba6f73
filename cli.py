"""The command line ``hemabench``: a table of contents. Each command imports its stage when it is called."""

from __future__ import annotations

import sys

import typer

from commands import answer, compute, doctor, evidence, measure, mistakes, prepare, referees, report
from commands.console import FAILED, WRONG_USAGE, fail
from contract.blood_cells import NOTICE
from contract.errors import HemaBenchError, InvalidSettings, why_not

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
    report.report,
    evidence.compare,
    evidence.capsule,
)

# Which extra brings a module that a command needs.
EXTRAS = {
    "medmnist": "data",
    "httpx": "client",
    "bentoml": "serving",
    "locust": "loadtest",
    "psutil": "loadtest",
    "litserve": "peers",
    "mlperf_loadgen": "referee",
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
    """Run a command; its exit code is one of those in docs/commands.md, and what is wrong is said in one line."""
    try:
        sys.exit(app(standalone_mode=False))
    except typer.TyperException as misused:
        fail(_misuse(misused), misused.exit_code)
    except InvalidSettings as error:
        fail(str(error), WRONG_USAGE)
    except HemaBenchError as error:
        fail(str(error), FAILED)
    except OSError as error:
        fail(why_not(error), FAILED)
    except ModuleNotFoundError as missing:
        extra = EXTRAS.get(str(missing.name).partition(".")[0])
        if extra is None:
            raise
        fail(f"{missing.name} is not installed. Next: pip install -c constraints.txt -e '.[{extra}]'", FAILED)


def _misuse(misused: typer.TyperException) -> str:
    """What Typer has against the words that were typed, in one line, and whose help says more."""
    context = getattr(misused, "ctx", None)
    words = " ".join(misused.format_message().split()) or "no command was given"
    return f"{words.rstrip('.')}. Next: {context.command_path if context else 'hemabench'} --help"


if __name__ == "__main__":
    main()
