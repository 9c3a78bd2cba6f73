"""The BentoML service as its documentation teaches it: multipart upload, PIL type, synchronous method.

python -m serving.peers.textbook --port 3001

BentoML's defaults throughout: its access log, request metrics and tracing middleware are on.
"""

from __future__ import annotations

import os
import sys
from pathlib import Path
from typing import Any

import bentoml
from PIL.Image import Image

from serving.peers.work import HOST, load_work, read_arguments
from serving.settings import DEFAULT_ARTIFACTS

ROOT = Path(__file__).parents[2]
_ARTIFACTS, _RESOLUTION = "HEMABENCH_PEER_ARTIFACTS", "HEMABENCH_PEER_RESOLUTION"


@bentoml.service(name="textbook")
class Textbook:
    """One method; BentoML opens the image and encodes the answer."""

    def __init__(self) -> None:
        artifacts = Path(os.environ.get(_ARTIFACTS, DEFAULT_ARTIFACTS))
        self._work = load_work(artifacts, int(os.environ.get(_RESOLUTION, "28")))

    @bentoml.api(route="/v1/classify")  # type: ignore[untyped-decorator]
    def classify(self, image: Image) -> dict[str, Any]:
        """The answer to an uploaded image."""
        return self._work.classify_image(image.convert("RGB"))


def main() -> None:
    """Become ``bentoml serve``, in a home of its own: services that share one wipe each other's metrics."""
    settings = read_arguments(__doc__)
    home = ROOT / ".cache" / "services" / f"textbook-{settings.port}"
    home.mkdir(parents=True, exist_ok=True)
    environment = {
        **os.environ,
        _ARTIFACTS: str(settings.artifacts.absolute()),
        _RESOLUTION: str(settings.resolution_px),
        "BENTOML_HOME": str(home),
        "BENTOML_DO_NOT_TRACK": "1",
        "PYTHONPATH": os.pathsep.join(filter(None, (str(ROOT), os.environ.get("PYTHONPATH")))),
    }
    command = [sys.executable, "-m", "bentoml", "serve", "serving.peers.textbook:Textbook"]
    command += ["--working-dir", str(ROOT), "--host", HOST, "--port", str(settings.port)]
    os.execve(command[0], command, environment)


if __name__ == "__main__":
    main()
