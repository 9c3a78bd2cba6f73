"""What a service is told: environment variables, checked once."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TypeVar

from contract.blood_cells import RESOLUTIONS_PX
from contract.errors import ArtifactUnavailable, InvalidSettings
from contract.manifest import MANIFEST_FILE, artifact_folder
from serving.inference.devices import parse_device
from serving.runtimes import entry_of

T = TypeVar("T")

# Found beside the code, so that a Bento finds its own whatever the working directory is.
DEFAULT_ARTIFACTS = Path(__file__).parent.parent / "exported_models" / "artifacts"


@dataclass(frozen=True, slots=True, kw_only=True)
class ServiceSettings:
    """One service: a runtime, a device, and limits.

    ``resolutions_px`` empty means every resolution that an artifact exists for.
    ``max_tensor_bytes`` bounds the bodies of ``/v2``, which hold several images in full.
    ``line_limit`` is how many requests may wait for their inference, the running one
    included; ``line_deadline_s`` how long one may wait before it is dropped unexecuted.
    ``audit_log`` None keeps no audit log. ``logged_share`` None logs no request; else those that
    were not answered well are logged, and that share of the others. With ``batching`` requests that wait together are
    inferred together, at most ``batch_max_images`` of them, the oldest of which waits at most
    ``batch_delay_s`` for others to come; 0 takes those that are there. Every ``reload_s`` the artifacts
    are looked at, and one that has changed is loaded in place of the old; 0 never looks.
    """

    runtime: str = "onnx"
    device: str = "cpu"
    resolutions_px: tuple[int, ...] = ()
    artifacts: Path = DEFAULT_ARTIFACTS
    threads: int = 1
    max_body_bytes: int = 10_000_000
    max_tensor_bytes: int = 32_000_000
    body_deadline_s: float = 4.0
    line_limit: int = 64
    line_deadline_s: float = 10.0
    audit_log: Path | None = None
    logged_share: float | None = 0.0
    batching: bool = False
    batch_max_images: int = 16
    batch_delay_s: float = 0.0
    reload_s: float = 0.0

    def __post_init__(self) -> None:
        entry_of(self.runtime)
        parse_device(self.device)
        for name in (
            "threads",
            "max_body_bytes",
            "max_tensor_bytes",
            "body_deadline_s",
            "line_limit",
            "line_deadline_s",
            "batch_max_images",
        ):
            if getattr(self, name) <= 0:
                raise InvalidSettings(f"{name} ({getattr(self, name)}) must be > 0")
        for name in ("batch_delay_s", "reload_s"):
            if getattr(self, name) < 0:
                raise InvalidSettings(f"{name} ({getattr(self, name)}) must be >= 0")
        if self.logged_share is not None and not 0 <= self.logged_share <= 1:
            raise InvalidSettings(f"logged_share ({self.logged_share}) must be between 0 and 1")
        if unknown := set(self.resolutions_px) - set(RESOLUTIONS_PX):
            raise InvalidSettings(
                f"no model is made for {min(unknown)} px; choose from: {', '.join(map(str, RESOLUTIONS_PX))}"
            )

    @classmethod
    def from_environment(cls, environment: Mapping[str, str]) -> ServiceSettings:
        """The settings that ``HEMABENCH_*`` variables spell; a variable that is missing or empty keeps the default."""
        given = {
            name: _read(environment, variable, parse)
            for name, (variable, parse) in _VARIABLES.items()
            if environment.get(variable)
        }
        return cls(**given)  # type: ignore[arg-type]

    def to_environment(self) -> dict[str, str]:
        """The variables that `from_environment` reads these very settings from."""
        return {
            "HEMABENCH_RUNTIME": self.runtime,
            "HEMABENCH_DEVICE": self.device,
            "HEMABENCH_RESOLUTIONS": ",".join(map(str, self.resolutions_px)),
            "HEMABENCH_ARTIFACTS": str(self.artifacts.absolute()),
            "HEMABENCH_THREADS": str(self.threads),
            "HEMABENCH_MAX_BODY_BYTES": str(self.max_body_bytes),
            "HEMABENCH_MAX_TENSOR_BYTES": str(self.max_tensor_bytes),
            "HEMABENCH_BODY_DEADLINE_S": str(self.body_deadline_s),
            "HEMABENCH_LINE_LIMIT": str(self.line_limit),
            "HEMABENCH_LINE_DEADLINE_S": str(self.line_deadline_s),
            "HEMABENCH_BATCHING": "on" if self.batching else "off",
            "HEMABENCH_BATCH_MAX_IMAGES": str(self.batch_max_images),
            "HEMABENCH_BATCH_DELAY_S": str(self.batch_delay_s),
            "HEMABENCH_RELOAD_S": str(self.reload_s),
            "HEMABENCH_AUDIT_LOG": str(self.audit_log.absolute()) if self.audit_log else "",
            "HEMABENCH_REQUEST_LOG": "off" if self.logged_share is None else str(self.logged_share),
        }

    def resolutions_to_serve(self) -> tuple[int, ...]:
        """Ascending; raises `ArtifactUnavailable` when nothing was asked for and nothing is there."""
        if self.resolutions_px:
            return tuple(sorted(set(self.resolutions_px)))
        format_ = entry_of(self.runtime).format
        if format_ is None:
            return RESOLUTIONS_PX
        if not self.artifacts.is_dir():
            raise ArtifactUnavailable(
                f"there is no folder {self.artifacts}. Next: check --artifacts, or hemabench export"
            )
        folders = {side: artifact_folder(self.artifacts, format_, side) for side in RESOLUTIONS_PX}
        there = tuple(side for side, folder in folders.items() if (folder / MANIFEST_FILE).is_file())
        if not there:
            raise ArtifactUnavailable(f"no {format_} artifact under {self.artifacts}. Next: hemabench export")
        return there


def _read(environment: Mapping[str, str], variable: str, parse: Callable[[str], T]) -> T:
    try:
        return parse(environment[variable])
    except ValueError as error:
        raise InvalidSettings(f"{variable}={environment[variable]!r} cannot be read: {error}") from error


def _resolutions(text: str) -> tuple[int, ...]:
    return tuple(int(side) for side in text.split(","))


def _on_or_off(text: str) -> bool:
    if text not in ("on", "off"):
        raise ValueError("it is neither on nor off")
    return text == "on"


def _logged_share(text: str) -> float | None:
    named = {"off": None, "errors": 0.0, "all": 1.0}
    return named[text] if text in named else float(text)


_VARIABLES: dict[str, tuple[str, Callable[[str], object]]] = {
    "runtime": ("HEMABENCH_RUNTIME", str),
    "device": ("HEMABENCH_DEVICE", str),
    "resolutions_px": ("HEMABENCH_RESOLUTIONS", _resolutions),
    "artifacts": ("HEMABENCH_ARTIFACTS", Path),
    "threads": ("HEMABENCH_THREADS", int),
    "max_body_bytes": ("HEMABENCH_MAX_BODY_BYTES", int),
    "max_tensor_bytes": ("HEMABENCH_MAX_TENSOR_BYTES", int),
    "body_deadline_s": ("HEMABENCH_BODY_DEADLINE_S", float),
    "line_limit": ("HEMABENCH_LINE_LIMIT", int),
    "line_deadline_s": ("HEMABENCH_LINE_DEADLINE_S", float),
    "batching": ("HEMABENCH_BATCHING", _on_or_off),
    "batch_max_images": ("HEMABENCH_BATCH_MAX_IMAGES", int),
    "batch_delay_s": ("HEMABENCH_BATCH_DELAY_S", float),
    "reload_s": ("HEMABENCH_RELOAD_S", float),
    "audit_log": ("HEMABENCH_AUDIT_LOG", Path),
    "logged_share": ("HEMABENCH_REQUEST_LOG", _logged_share),
}
