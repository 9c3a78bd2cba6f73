"""LitServe: an API class, run by LitServe's own worker process behind its own HTTP process.

python -m serving.peers.litserve --port 3001

An image travels base64 in JSON, as LitServe's examples send binary data. Both processes
share the cores that the peer is given, as a user of one core would have them.
"""

from __future__ import annotations

import base64
from pathlib import Path

import litserve as ls

from serving.peers.work import HOST, PeerSettings, Work, load_work, read_arguments


class ClassifierAPI(ls.LitAPI):  # type: ignore[misc]  # LitServe's types are not followed
    """LitServe's four stages; all but the HTTP part run in its worker."""

    def __init__(self, artifacts: Path, resolution_px: int) -> None:
        super().__init__(api_path="/v1/classify")
        self._artifacts = artifacts
        self._resolution_px = resolution_px
        self._work: Work | None = None

    def setup(self, device: str) -> None:
        """Load in the worker."""
        self._work = load_work(self._artifacts, self._resolution_px)

    def decode_request(self, request: dict[str, str], **options: object) -> bytes:
        """The image's bytes."""
        return base64.b64decode(request["image"])

    def predict(self, x: bytes, **options: object) -> dict[str, object]:
        """The answer's fields."""
        assert self._work is not None  # setup came first
        return self._work.classify(x)

    def encode_response(self, output: dict[str, object], **options: object) -> dict[str, object]:
        """As it is; LitServe writes the JSON."""
        return output


def server_of(settings: PeerSettings) -> ls.LitServer:
    """One worker on the CPU; ready means that the worker is."""
    api = ClassifierAPI(settings.artifacts, settings.resolution_px)
    return ls.LitServer(api, accelerator="cpu", workers_per_device=1, healthcheck_path="/readyz")


def main() -> None:
    """Serve until told to stop."""
    settings = read_arguments(__doc__)
    server_of(settings).run(host=HOST, port=settings.port, generate_client_file=False, log_level="warning")


if __name__ == "__main__":
    main()
