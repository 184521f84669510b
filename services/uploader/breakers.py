"""What waits for a person: a breaker for each token, account, audience, or our app, that Meta will not serve. Pure.

The first refusal opens it; from then on the chunks that need it wait without a call. Somebody lets it go on (auth says
that the customer connected again, or a chunk comes that was released after it had opened): then one call is made, the
probe, while the others hold on. Its success closes the breaker, its refusal opens it again.

Times are points in time and not durations: who released and who was refused are different processes.
"""

from collections import OrderedDict
from collections.abc import Collection
from dataclasses import dataclass
from datetime import datetime
from typing import assert_never

from connector.graph.verdicts import WaitScope
from schemas.events import ChunkReady

MAX_BREAKERS = 10_000
"""The oldest is forgotten beyond that: its next chunk asks Meta once more."""


@dataclass
class _Breaker:
    cause: str
    advice: str
    opened_at: datetime
    released_at: datetime | None = None
    probing: bool = False


@dataclass(frozen=True)
class Shut:
    """It waits for a person, since then."""

    scope: str
    cause: str
    advice: str
    since: datetime


@dataclass(frozen=True)
class Probed:
    """Somebody else's call is finding out: ask again when it ended."""


@dataclass(frozen=True)
class Free:
    """The call may be made. It is the probe of the scopes in `probing`: `ended` has to be told."""

    probing: frozenset[str] = frozenset()


class Breakers:
    """The breakers that are not closed, by scope."""

    def __init__(self) -> None:
        self._breakers: OrderedDict[str, _Breaker] = OrderedDict()

    def __repr__(self) -> str:  # type: ignore[explicit-override]  # typing.override needs Python 3.12
        return f"<Breakers {[(scope, one.cause) for scope, one in self._breakers.items()]}>"

    def ask(self, scopes: Collection[str], released_at: datetime | None) -> Free | Probed | Shut:
        """Whether a chunk that needs all *scopes* may be called for; *released_at* when somebody let it go on."""
        for scope in scopes:
            if released_at is not None:
                self.let_go(scope, released_at)
        found = {scope: self._breakers[scope] for scope in scopes if scope in self._breakers}
        for scope, breaker in found.items():
            if breaker.released_at is None:
                return Shut(scope, breaker.cause, breaker.advice, breaker.opened_at)
        if any(breaker.probing for breaker in found.values()):
            return Probed()
        for breaker in found.values():
            breaker.probing = True
        return Free(frozenset(found))

    def stands(self, scopes: Collection[str], probing: Collection[str]) -> bool:
        """Whether leave for *scopes*, given as the probe of those in *probing*, still holds."""
        found = {scope: self._breakers[scope] for scope in scopes if scope in self._breakers}
        return all(scope in probing and breaker.released_at is not None for scope, breaker in found.items())

    def refused(self, scope: str, cause: str, advice: str, began: datetime) -> bool:
        """Takes in that a call begun at *began* was refused until a person mends *scope*; whether that opened it.

        One that began before somebody let it go on says nothing about the time after.
        """
        known = self._breakers.get(scope)
        if known is not None and (known.released_at is None or began < known.released_at):
            return False
        self._breakers[scope] = _Breaker(cause, advice, began, probing=known is not None and known.probing)
        while len(self._breakers) > MAX_BREAKERS:
            self._breakers.popitem(last=False)
        return True

    def ended(self, probing: Collection[str], *, success: bool) -> list[str]:
        """Takes in that a probe ended; the scopes its success closed. Any other end leaves them to the next probe."""
        closed = []
        for scope in probing:
            breaker = self._breakers.get(scope)
            if breaker is None:
                continue
            breaker.probing = False
            if success and breaker.released_at is not None:
                del self._breakers[scope]
                closed.append(scope)
        return closed

    def let_go(self, scope: str, at: datetime) -> bool:
        """Lets *scope* go on if it opened before *at*; whether it waited until now."""
        breaker = self._breakers.get(scope)
        if breaker is None or breaker.released_at is not None or at <= breaker.opened_at:
            return False
        breaker.released_at = at
        return True


def scope_name(scope: WaitScope, chunk: ChunkReady) -> str:
    """What waits, by name: everything else that needs the same token, account or audience waits with it."""
    match scope:
        case WaitScope.TOKEN:
            return f"token:{chunk.profile_id}"
        case WaitScope.ACCOUNT:
            return f"account:{chunk.ad_account_id}"
        case WaitScope.AUDIENCE:
            return f"audience:{chunk.audience_id}"
        case WaitScope.APP:
            return "app:meta"
        case _:
            assert_never(scope)
