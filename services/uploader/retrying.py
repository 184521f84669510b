"""Whether to try again, when, and where the chunk waits meanwhile. Pure: time and chance are arguments.

A first short retry or two happens in memory; after that a chunk waits in a delay topic (a tier), so that it holds
nobody's place. It is given up only when both bounds are spent: attempts alone would give up within a minute of an
outage, time alone a chunk that was tried twice.
"""

from dataclasses import dataclass

SOON = 5.0
"""Seconds: the wait of a moment."""


@dataclass(frozen=True)
class Tier:
    """A delay topic: its name (`30s`) and how many seconds a record waits there; in tests less than the name says."""

    name: str
    seconds: float


@dataclass(frozen=True)
class RetryPolicy:
    """The bounds.

    Attributes:
        short: Pauses in memory before the second, third, … attempt.
        tiers: Where it waits after those, the shortest first; the last one as often as it takes.
        attempts: How many attempts are made at least.
        seconds: How long after the first failure the last attempt is made at least.
        memory: The longest wait in memory.
    """

    short: tuple[float, ...]
    tiers: tuple[Tier, ...]
    attempts: int
    seconds: float
    memory: float


@dataclass(frozen=True)
class InMemory:
    """Another attempt by this process after `seconds`."""

    seconds: float


@dataclass(frozen=True)
class ToTier:
    """Another attempt not before `due_at` (epoch seconds), by whoever reads the delay topic then."""

    tier: Tier
    due_at: float


@dataclass(frozen=True)
class GiveUp:
    """Patience is spent; `why` says which kind."""

    why: str


def after_failure(
    policy: RetryPolicy,
    *,
    attempt: int,
    first_failure_at: float,
    now: float,
    chance: float,
    not_before: float = 0.0,
    slow: bool = False,
) -> InMemory | ToTier | GiveUp:
    """What follows failed attempt number *attempt* (from 1).

    Args:
        policy: The bounds.
        attempt: How many attempts have failed.
        first_failure_at: When the first of them failed, epoch seconds.
        now: Epoch seconds.
        chance: A random number in [0, 1): a short pause is spread over its upper half, so that a thousand chunks that
            failed together do not come back together. Tiers need no spread: they are read by few at a time.
        not_before: Seconds the other side asked for.
        slow: Not in memory and not soon: an answer nobody knows is not hammered.
    """
    if attempt >= policy.attempts and now - first_failure_at >= policy.seconds:
        return GiveUp(f"{attempt} attempts failed in {now - first_failure_at:.0f} s")
    if slow:
        return to_tier(policy, max(policy.tiers[min(1, len(policy.tiers) - 1)].seconds, not_before), now)
    if attempt <= len(policy.short):
        seconds = max(policy.short[attempt - 1] * (0.5 + chance / 2), not_before)
        return InMemory(seconds) if seconds <= policy.memory else to_tier(policy, seconds, now)
    step = min(attempt - len(policy.short), len(policy.tiers)) - 1
    return to_tier(policy, max(policy.tiers[step].seconds, not_before), now)


def may_stay(policy: RetryPolicy, seconds: float, *, waited: float, room: bool, paused: bool) -> bool:
    """Whether a chunk waits for its account's turn in memory: it keeps a handler from others meanwhile.

    Not longer than `memory` in all, or chunks of a few slow accounts would hold every handler, and be taken for stuck.

    Args:
        policy: The bounds.
        seconds: How long it will take, as far as can be told.
        waited: How long it has waited for this turn.
        room: Whether few of its account wait. A wait of a moment for the account's pace needs none.
        paused: Whether the account is not to be called at all: a moment's pause is followed by a slow start.
    """
    return waited + seconds <= policy.memory and (room or (seconds <= SOON and not paused))


def to_tier(policy: RetryPolicy, seconds: float, now: float) -> ToTier:
    """The smallest tier that is long enough. Who needs longer than the longest one comes back and is sent there again.

    A record is due no later than its tier's own delay, so one with a long wait holds up those behind it only for that.
    """
    tier = next((tier for tier in policy.tiers if tier.seconds >= seconds), policy.tiers[-1])
    return ToTier(tier, now + min(seconds, tier.seconds))


def backoff(base: float, cap: float, attempt: int, chance: float) -> float:
    """Seconds to wait after failure number *attempt* (from 1): doubled each time, capped, and spread."""
    ceiling = min(cap, base * 2.0 ** min(attempt - 1, 32))
    return ceiling * (0.5 + chance / 2)
