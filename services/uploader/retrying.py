"""Whether to try again, and when. Pure: time and chance are arguments, nobody sleeps here."""

from dataclasses import dataclass


@dataclass(frozen=True)
class RetryPolicy:
    """At most `attempts`, the pauses growing from `base` to `cap` seconds, `total` seconds over all."""

    attempts: int
    base: float
    cap: float
    total: float


@dataclass(frozen=True)
class TryAgain:
    """Another attempt after `seconds`."""

    seconds: float


@dataclass(frozen=True)
class GiveUp:
    """Patience is spent; `why` says which kind."""

    why: str


def decide(
    policy: RetryPolicy, *, attempt: int, elapsed: float, chance: float, slow: bool = False
) -> TryAgain | GiveUp:
    """What follows failed attempt number *attempt* (from 1), *elapsed* seconds after the first one began.

    Args:
        policy: The bounds.
        attempt: How many attempts have failed.
        elapsed: Seconds since the first attempt.
        chance: A random number in [0, 1): the pause is spread over its upper half, so that a thousand chunks that
            failed together do not come back together.
        slow: Take the longest pause at once (an answer nobody knows is not hammered).
    """
    if attempt >= policy.attempts:
        return GiveUp(f"{attempt} attempts failed")
    ceiling = policy.cap if slow else min(policy.cap, policy.base * 2 ** min(attempt - 1, 32))
    seconds = ceiling * (0.5 + chance / 2)
    if elapsed + seconds > policy.total:
        return GiveUp(f"{elapsed:.0f} s are spent")
    return TryAgain(seconds)
