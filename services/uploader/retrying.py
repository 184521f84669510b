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
    policy: RetryPolicy,
    *,
    attempt: int,
    elapsed: float,
    chance: float,
    not_before: float = 0.0,
    slow: bool = False,
) -> TryAgain | GiveUp:
    """What follows failed attempt number *attempt* (from 1), *elapsed* seconds after the first failure.

    Args:
        policy: The bounds.
        attempt: How many attempts have failed.
        elapsed: Seconds since the first of them failed.
        chance: A random number in [0, 1): the pause is spread over its upper half, so that a thousand chunks that
            failed together do not come back together.
        not_before: Seconds the other side asked for; longer than `cap` is not obeyed but ends with the patience.
        slow: Take the longest pause at once (an answer nobody knows is not hammered).
    """
    if attempt >= policy.attempts:
        return GiveUp(f"{attempt} attempts failed")
    seconds = max(backoff(policy.cap if slow else policy.base, policy.cap, attempt, chance), not_before)
    if elapsed + seconds > policy.total:
        return GiveUp(f"the patience of {policy.total:.0f} s is spent")
    return TryAgain(seconds)


def backoff(base: float, cap: float, attempt: int, chance: float) -> float:
    """Seconds to wait after failure number *attempt* (from 1): doubled each time, capped, and spread."""
    ceiling = min(cap, base * 2.0 ** min(attempt - 1, 32))
    return ceiling * (0.5 + chance / 2)
