"""Who waits in memory for an account: few, or the chunks of one throttled account fill the places of all. Pure."""

from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager


class WaitingRoom:
    """At most *places* chunks of an account; an account nobody waits for is not kept."""

    def __init__(self, places: int) -> None:
        self._places = places
        self._waiting: Counter[str] = Counter()

    def __repr__(self) -> str:  # type: ignore[explicit-override]  # typing.override needs Python 3.12
        return f"<WaitingRoom {dict(self._waiting)}>"

    def has_room(self, account: str) -> bool:
        """Whether one more may wait for *account*."""
        return self._waiting[account] < self._places

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
