"""Partitions that are not read though there is room: the head of a delay topic is not due, or the line stands still.

Pure: the time is an argument. A delay topic has one delay and is written in the order of time, so its head is (nearly)
always the next one due: the partition waits for its head, and whatever stands behind it waits no longer than the delay.
"""

from collections.abc import Iterable
from dataclasses import dataclass
from typing import Generic, TypeVar

Name = TypeVar("Name")


def held_until(due: float | None, *, written: float, delay: float, now: float) -> float | None:
    """Until when a partition waits for the record at its head; None when it need not wait (any longer).

    A record may be due later than its topic's delay (written by hand, or under other settings). It holds up those
    behind it for the delay only; whoever gets None must look whether the record is due (`is_due`).

    Args:
        due: When the record may be handled; None: at once.
        written: When it was written to the delay topic.
        delay: Seconds that records of this topic wait at most.
        now: All times are epoch seconds.
    """
    if due is None:
        return None
    until = min(due, written + delay)
    return until if until > now else None


def is_due(due: float | None, *, now: float) -> bool:
    """Whether a record may be handled: never before it is due."""
    return due is None or due <= now


@dataclass(frozen=True, slots=True)
class _Hold:
    until: float
    written: float


class Holds(Generic[Name]):
    """Remembers what is held until when (epoch seconds), and why everything is held, if it is."""

    def __init__(self) -> None:
        self._holds: dict[Name, _Hold] = {}
        self._line: str | None = None

    @property
    def line(self) -> str | None:
        """Why nothing is begun at all; None while the line runs."""
        return self._line

    def stop_line(self, why: str) -> bool:
        """Holds everything until `start_line`; whether it ran until now. The first reason counts."""
        ran, self._line = self._line is None, self._line or why
        return ran

    def start_line(self) -> bool:
        """Lets everything go on that is not held for its own sake; whether it stood still until now."""
        stood, self._line = self._line is not None, None
        return stood

    def hold(self, name: Name, until: float, *, written: float) -> None:
        """Holds *name* until then, for a record that was *written* then."""
        self._holds[name] = _Hold(until, written)

    def written(self, name: Name) -> float | None:
        """When the record was written for which *name* is held; None when it is not."""
        hold = self._holds.get(name)
        return None if hold is None else hold.written

    def not_due(self, names: Iterable[Name], now: float) -> frozenset[Name]:
        """Which of *names* wait for their heads now. What is due is forgotten, and so is what is no longer named."""
        names = frozenset(names)
        self._holds = {name: hold for name, hold in self._holds.items() if hold.until > now and name in names}
        return frozenset(self._holds)

    def next_due(self) -> float | None:
        """When the first of what is held is due."""
        return min((hold.until for hold in self._holds.values()), default=None)
