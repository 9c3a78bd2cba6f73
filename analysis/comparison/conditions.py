"""Under what two runs were measured, and in which of it they differ."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

from analysis.comparison.sides import Side
from contract.environment import Environment
from contract.errors import InvalidSettings

# The kernel keeps some memory for itself, more or less of it with every start.
MEMORY_STEP = 0.01
MOST_NAMED = 3


@dataclass(frozen=True, slots=True)
class Differing:
    """One field in which two runs differ, and its value in each."""

    field: str
    a: str
    b: str

    def __str__(self) -> str:
        return f"{self.field} ({self.a} in A, {self.b} in B)"


def differing_fields(a: Side, b: Side) -> tuple[Differing, ...]:
    """Every field of `FIELDS` in which the conditions of two runs are not the same."""
    return tuple(
        Differing(field, *values) for field, values_of in FIELDS.items() if (values := values_of(a, b)) is not None
    )


def same_machine(a: Environment, b: Environment) -> bool:
    """Whether processor, cores, memory and accelerator are the same; the software may differ."""
    return all(values_of(a, b) is None for values_of in MACHINE_FIELDS.values())


def differing_environments(a: Environment, b: Environment) -> tuple[Differing, ...]:
    """Machine and software alone: every field of `ENVIRONMENT_FIELDS` that is not the same."""
    found = ((field, values_of(a, b)) for field, values_of in ENVIRONMENT_FIELDS.items())
    return tuple(Differing(field, *values) for field, values in found if values is not None)


def require_comparable(a: Side, b: Side, despite: Sequence[str]) -> tuple[Differing, ...]:
    """The differences that ``despite`` allows; raises `InvalidSettings`, naming the fields, where there are others."""
    if unknown := [field for field in despite if field not in FIELDS]:
        raise InvalidSettings(f"no field is called {unknown[0]!r}; choose of: {', '.join(FIELDS)}")
    if a.kind != b.kind:
        raise InvalidSettings(f"{a.run} is a run of kind {a.kind}, {b.run} of kind {b.kind}; compare two of one kind")
    differing = differing_fields(a, b)
    if refused := [one for one in differing if one.field not in despite]:
        options = " ".join(f"--despite {one.field}" for one in refused)
        raise InvalidSettings(
            f"{a.run} (A) and {b.run} (B) cannot be compared: they differ in "
            f"{'; '.join(map(str, refused))}. Next: measure both in one place, or say {options}"
        )
    return differing


Values = tuple[str, str]
ValuesOf = Callable[[Side, Side], Values | None]
OfEnvironments = Callable[[Environment, Environment], Values | None]


def _fact(name: str) -> OfEnvironments:
    return lambda a, b: _unequal(getattr(a, name), getattr(b, name))


def _memory(a: Environment, b: Environment) -> Values | None:
    one, other = a.memory_bytes, b.memory_bytes
    same = abs(one - other) <= MEMORY_STEP * max(one, other)
    return None if same else (f"{one / 2**30:.1f} GiB", f"{other / 2**30:.1f} GiB")


def _libraries(a: Environment, b: Environment) -> Values | None:
    """Versions, Python's among them; a library that only one side has is one that differs."""
    one = {"python": a.python, **a.libraries}
    other = {"python": b.python, **b.libraries}
    names = [name for name in {**one, **other} if one.get(name) != other.get(name)]
    return _listed(
        [f"{name} {one.get(name, 'missing')}" for name in names],
        [f"{name} {other.get(name, 'missing')}" for name in names],
    )


def _data(a: Side, b: Side) -> Values | None:
    return _unequal(a.data, b.data)


def _artifacts(a: Side, b: Side) -> Values | None:
    """Of runtimes and resolutions that both runs measured: others are not compared."""
    places = [place for place in a.artifacts if place in b.artifacts]
    changed = [place for place in places if a.artifacts[place].digest != b.artifacts[place].digest]

    def names(side: Side) -> list[str]:
        return [f"{runtime} {px} px {side.artifacts[runtime, px].digest[:12]}" for runtime, px in changed]

    return _listed(names(a), names(b))


def _unequal(one: object, other: object) -> Values | None:
    return None if one == other else (_or_none(one), _or_none(other))


def _or_none(value: object) -> str:
    return "none" if value is None else str(value)


def _listed(one: Sequence[str], other: Sequence[str]) -> Values | None:
    return (_first_few(one), _first_few(other)) if one else None


def _first_few(words: Sequence[str]) -> str:
    more = f" and {len(words) - MOST_NAMED} more" if len(words) > MOST_NAMED else ""
    return f"{', '.join(words[:MOST_NAMED])}{more}"


def _of_sides(values_of: OfEnvironments) -> ValuesOf:
    return lambda a, b: values_of(a.environment, b.environment)


MACHINE_FIELDS: dict[str, OfEnvironments] = {
    "cpu_model": _fact("cpu_model"),
    "cores": _fact("cores"),
    "memory": _memory,
    "accelerator": _fact("accelerator"),
}
ENVIRONMENT_FIELDS = {**MACHINE_FIELDS, "governor": _fact("governor"), "libraries": _libraries}

# The word of --despite, and what it stands for.
FIELDS: dict[str, ValuesOf] = {
    **{name: _of_sides(values_of) for name, values_of in ENVIRONMENT_FIELDS.items()},
    "data": _data,
    "artifacts": _artifacts,
}
