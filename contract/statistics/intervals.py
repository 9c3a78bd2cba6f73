"""The 95 % interval of a proportion."""

from __future__ import annotations

from math import sqrt

Z_95 = 1.959963984540054  # the normal quantile that leaves 2.5 % on each side


def wilson(successes: int, trials: int) -> tuple[float, float]:
    """Wilson's score interval: keeps its coverage near 100 %, where the textbook one collapses to a point.

    Source: E. B. Wilson, JASA 22 (1927) 209. Raises ``ValueError`` for no trials.
    """
    if not 0 <= successes <= trials or trials == 0:
        raise ValueError(f"{successes} successes of {trials} trials")
    share = successes / trials
    centre = share + Z_95**2 / (2 * trials)
    spread = Z_95 * sqrt(share * (1 - share) / trials + (Z_95 / (2 * trials)) ** 2)
    scale = 1 + Z_95**2 / trials
    # The formula's own ends at 0 and 1 are exact; rounding must not move them past the share itself.
    return min(share, max(0.0, (centre - spread) / scale)), max(share, min(1.0, (centre + spread) / scale))
