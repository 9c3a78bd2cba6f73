"""When a service keeps up with a rate, and when a rate holds a limit: one rule for load test and report."""

from __future__ import annotations

import math
from functools import lru_cache

from contract.records.load import StepOutcome

# A service keeps up with a rate when this share of the answers is there as the step ends.
KEEPS_UP_SHARE = 0.95
# Requests under way when a step ends are no backlog as long as they are so few.
ALWAYS_UNDER_WAY = 8
SHARE_IN_TIME = 0.99
CONFIDENCE = 0.99


def keeps_up(outcome: StepOutcome) -> bool:
    """Whether the service answered what was offered in a step, rather than letting a queue grow."""
    late = outcome.due - outcome.by_end
    return outcome.dropped == 0 and late <= max(ALWAYS_UNDER_WAY, (1 - KEEPS_UP_SHARE) * outcome.due)


def holds_limit(outcome: StepOutcome) -> bool:
    """Whether p99 is within the limit at 99 % confidence: LoadGen's rule, a failure counts as late."""
    return binomial_cdf(outcome.due - outcome.in_time, outcome.due, 1 - SHARE_IN_TIME) <= 1 - CONFIDENCE


@lru_cache(maxsize=1024)
def binomial_cdf(k: int, n: int, share: float) -> float:
    """``P(Binomial(n, share) <= k)``; 1 for no trials."""
    logs = (
        math.lgamma(n + 1)
        - math.lgamma(i + 1)
        - math.lgamma(n - i + 1)
        + i * math.log(share)
        + (n - i) * math.log1p(-share)
        for i in range(k + 1)
    )
    return min(1.0, math.fsum(map(math.exp, logs)))
