"""The reasons that only the gateway gives, in the form of `serving.http.codes`."""

from __future__ import annotations

from serving.http.codes import Code

GATEWAY_CODES = {
    "service_unreadable": Code(502, "What answered is no HemaBench service, or its answer was cut off."),
    "service_down": Code(503, "The runtime's service is not running; the message says why. The others answer."),
    "service_starting": Code(503, "The runtime's service is loading its models, or one elsewhere is not ready yet."),
    "service_silent": Code(504, "The runtime's service did not answer in time."),
}
