"""What documents are made of: Markdown tables, and the machine in a line."""

from __future__ import annotations

from collections.abc import Sequence

from contract.environment import Environment


def markdown_table(headings: Sequence[str], rows: Sequence[Sequence[str]]) -> list[str]:
    """The lines of a Markdown table."""
    return ["| " + " | ".join(line) + " |" for line in (headings, ["---"] * len(headings), *rows)]


def machine_line(environment: Environment) -> str:
    """The machine and the system in one sentence."""
    return (
        f"{environment.cpu_model}, {environment.cores} cores, {environment.memory_bytes / 2**30:.0f} GiB, "
        f"{environment.accelerator or 'no accelerator'}, {environment.system}, Python {environment.python}."
    )


def libraries_line(environment: Environment) -> str:
    """All versions in one sentence."""
    return f"{', '.join(f'{name} {version}' for name, version in sorted(environment.libraries.items()))}."


def cores_words(cores: Sequence[int]) -> str:
    """``core 0, 1``, or ``core any`` where nothing was pinned."""
    return f"core {', '.join(map(str, cores)) or 'any'}"
