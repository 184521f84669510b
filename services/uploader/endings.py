"""How an attempt to deliver a chunk can end: a closed set, each with the calls to Meta it took. Pure."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import datetime

from schemas.events import ChunkCounts, Reject


@dataclass(frozen=True)
class Arrived:
    """Every record is accounted for: accepted, invalid for Meta, or rejected by us.

    `cell_rejects` counts the values that were left out, as `<key>:<reason>`.
    """

    counts: ChunkCounts
    reject_reasons: dict[str, int]
    rejects: tuple[Reject, ...]
    calls: int
    fbtrace_id: str | None = None
    cell_rejects: Mapping[str, int] = field(default_factory=dict)


@dataclass(frozen=True)
class NeedsPerson:
    """Nobody but a person can mend it; `scope` is what waits: `token:…`, `account:…`, `audience:…` or `app:…`.

    `since` is when the call that found out began: what is mended after that is mended for this chunk too.
    """

    cause: str
    scope: str
    advice: str
    since: datetime | None = None
    calls: int = 0
    fbtrace_id: str | None = None


@dataclass(frozen=True)
class Lost:
    """It will not work as it is, or patience is spent: the dead-letter topic."""

    reason: str
    code: str
    message: str
    kind: str = "impossible"
    calls: int = 0
    fbtrace_id: str | None = None


@dataclass(frozen=True)
class Again:
    """Trouble that passes: another attempt, unless they are spent.

    `not_before` is how many seconds the other side asked for. `unknown` is an answer nobody has described: it gets one
    slow attempt more, whatever number of attempts there are.
    """

    reason: str
    code: str
    message: str
    not_before: float = 0.0
    unknown: bool = False
    calls: int = 0


@dataclass(frozen=True)
class Paused:
    """The account is not to be called for `seconds`, which the governor knows of; no attempt is spent."""

    seconds: float
    calls: int = 0


@dataclass(frozen=True)
class StartAgain:
    """The session of the replacement is over: ingest has to begin all of it again. Nobody has to mend anything."""

    message: str
    calls: int = 0
    fbtrace_id: str | None = None


@dataclass(frozen=True)
class Postponed:
    """It goes on from the delay topic `tier`, not before `due_at`; what is written there tells the rest.

    `attempts` have failed so far, the first at `first_failure_at`; times are epoch seconds.
    """

    tier: str
    due_at: float
    kind: str
    code: str
    message: str
    attempts: int
    first_failure_at: float | None


Attempt = Arrived | NeedsPerson | Lost | StartAgain | Again | Paused
Ending = Arrived | NeedsPerson | Lost | StartAgain
Failed = NeedsPerson | Lost | StartAgain | Again | Paused
