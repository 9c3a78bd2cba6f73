"""The gateway in this process, where its deadlines can be short."""

from __future__ import annotations

from contextlib import nullcontext

import pytest

from contract.errors import ServiceFailed
from contract.progress import silent
from serving.gateway.run import run_gateway
from serving.gateway.settings import Elsewhere, GatewaySettings


def test_services_elsewhere_that_never_get_ready_end_the_gateway_with_their_addresses(port, tmp_path):
    services = tuple(Elsewhere(runtime, f"http://127.0.0.1:{n}") for n, runtime in enumerate(("onnx", "jax"), 8))
    settings = GatewaySettings(services=services, port=port, logs=tmp_path, start_deadline_s=0.01)
    announced = []
    with pytest.raises(ServiceFailed) as failed:
        run_gateway(settings, lambda: nullcontext(silent), lambda *one: announced.append(one))
    message = str(failed.value)
    assert "onnx: it was not ready after 0.01 s. Next: curl -i http://127.0.0.1:8/readyz" in message
    assert "jax: it was not ready after 0.01 s. Next: curl -i http://127.0.0.1:9/readyz" in message
    assert ".log" not in message
    assert announced == []
    assert list(tmp_path.iterdir()) == []
