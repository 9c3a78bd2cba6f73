"""A gateway over the tiny ONNX model and the null runtime, in a process of its own: PORT ARTIFACTS LOGS."""

from __future__ import annotations

import sys
from contextlib import nullcontext
from pathlib import Path

from contract.progress import silent
from serving.gateway.run import run_gateway
from serving.gateway.settings import GatewaySettings
from serving.settings import ServiceSettings

RESTART_PAUSE_S = 2.0  # long enough for a test to see that a service is down


def main(port: str, artifacts: str, logs: str) -> None:
    services = tuple(
        ServiceSettings(runtime=runtime, artifacts=Path(artifacts), resolutions_px=(28, 64), max_body_bytes=2_000_000)
        for runtime in ("onnx", "null")
    )
    settings = GatewaySettings(services=services, port=int(port), logs=Path(logs), restart_pause_s=RESTART_PAUSE_S)
    run_gateway(settings, lambda: nullcontext(silent), lambda url, _: print(url, flush=True))


if __name__ == "__main__":
    main(*sys.argv[1:])
