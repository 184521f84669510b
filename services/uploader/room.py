"""Who waits for an account: few in memory, or the chunks of one slow account fill the places of all. Pure."""

from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager

RETURNS = 4.0
"""Chunks of an account that come back from waiting elsewhere within a second at most. If all came back when the account
may be called again, all but a few would be sent away again, each through Kafka. More than 40,000 records a second of
one account is more than a process sends."""


class WaitingRoom:
    """At most *places* chunks of an account, and when those come back that found none; others are not kept."""

    def __init__(self, places: int) -> None:
        self._places = places
        self._waiting: Counter[str] = Counter()
        self._back: dict[str, float] = {}

    def __repr__(self) -> str:  # type: ignore[explicit-override]  # typing.override needs Python 3.12
        return f"<WaitingRoom {dict(self._waiting)} away {len(self._back)}>"

    def waiting(self, account: str) -> int:
        """How many wait for *account* here."""
        return self._waiting[account]

    def has_room(self, account: str) -> bool:
        """Whether one more may wait for *account*."""
        return self._waiting[account] < self._places

    def sent_away(self, account: str, seconds: float, now: float) -> float:
        """One more waits elsewhere, for *seconds* at least: for how long, so that they come back one after another."""
        self._back = {name: back for name, back in self._back.items() if back > now}
        self._back[account] = max(now + seconds, self._back.get(account, now) + 1 / RETURNS)
        return self._back[account] - now

    @contextmanager
    def seat(self, account: str) -> Iterator[None]:
        """Holds a place while the block runs."""
        self._waiting[account] += 1
        try:
            yield
        finally:
            self._waiting[account] -= 1
            if not self._waiting[account]:
                del self._waiting[account]
