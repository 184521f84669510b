"""How long to wait before a part that died is started again. Pure: time and chance are arguments."""

FIRST_SECONDS = 0.5
LONGEST_SECONDS = 30.0
HEALTHY_SECONDS = 60.0
JITTER = 0.2


def failures_after(failures: int, healthy_for: float) -> int:
    """The number of failures in a row, now that the part has died once more.

    Args:
        failures: How many there were before.
        healthy_for: Seconds it had been ready; 0 if it never was. From `HEALTHY_SECONDS` on the count begins anew.
    """
    return 1 if healthy_for >= HEALTHY_SECONDS else failures + 1


def delay(failures: int, chance: float) -> float:
    """Seconds to wait after the given number of failures in a row (≥ 1): 0.5, 1, 2, … 30, each ±20 %.

    Args:
        failures: From `failures_after`.
        chance: A random number in [0, 1), so that parts that died together do not all come back together.
    """
    doubled = FIRST_SECONDS * 2.0 ** min(failures - 1, 16)
    spread = 1 + JITTER * (2 * chance - 1)
    return min(doubled * spread, LONGEST_SECONDS)
