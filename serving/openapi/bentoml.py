"""What BentoML's own clients ask a service for first: which methods it has, and what they take.

The form is that of `_bentoml_sdk.service.Service.schema`, which describes methods of BentoML's; ours are the door's.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

from serving.http.bodies import MAX_IMAGES

SERVICE = "HemaBench"


def client_schema(resolutions_px: Iterable[int]) -> dict[str, Any]:
    """A method ``classify``, and one for each loaded resolution: a client of BentoML sends no query of its own."""
    named = {f"classify_{side}px": f"/v1/classify?resolution={side}" for side in resolutions_px}
    routes = [_route(name, path) for name, path in {"classify": "/v1/classify", **named}.items()]
    return {"name": SERVICE, "type": "service", "routes": routes}


def _route(name: str, path: str) -> dict[str, Any]:
    image = {"type": "file", "format": "binary"}
    return {
        "name": name,
        "route": path,
        "doc": f"Which cell is this? One image, or a list of up to {MAX_IMAGES}.",
        "batchable": False,
        "input": {
            "type": "object",
            "properties": {"image": {"type": "array", "items": image}},
            "required": ["image"],
        },
        "output": {"type": "object"},
        "is_task": False,
    }
