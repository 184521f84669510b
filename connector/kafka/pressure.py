"""Back-pressure: which partitions to stop fetching, and when to go on.

Pure. Marks are wide apart on purpose: pausing makes the client throw away what it has prefetched of the partition
(aiokafka), so a consumer that pauses and resumes around one number fetches everything several times.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Generic, TypeVar

from connector.kafka.bitmap import WINDOW

Name = TypeVar("Name")


@dataclass(frozen=True)
class Marks:
    """Stop at *high*, go on at *low*."""

    high: int
    low: int

    def blocked(self, load: int, *, now: bool) -> bool:
        """Whether *load* is too much, for something that is blocked or not *now*."""
        return load > self.low if now else load >= self.high


@dataclass(frozen=True)
class Watermarks:
    """The bounds of what one consumer holds (records read and not finished).

    Attributes:
        partition: Records of one partition, so that one slow key does not take the room of all others.
        records: Records of all partitions.
        size: Bytes of all partitions.
        spread: Offsets between the first unfinished and the last read, so that the bitmap holds all of them; it is
            below the window by what one poll may add.
    """

    partition: Marks = Marks(2_000, 1_000)
    records: Marks = Marks(10_000, 5_000)
    size: Marks = Marks(32 << 20, 16 << 20)
    spread: Marks = Marks(WINDOW - 1_000, WINDOW - 4_000)


@dataclass(frozen=True, slots=True)
class Load:
    """What is held of one partition."""

    records: int
    spread: int


class Pressure(Generic[Name]):
    """Remembers what is blocked, so that the lower mark counts."""

    def __init__(self, marks: Watermarks) -> None:
        self._marks = marks
        self._full_records = False
        self._full_size = False
        self._blocked: frozenset[Name] = frozenset()

    def update(self, loads: Mapping[Name, Load], *, size: int) -> frozenset[Name]:
        """The partitions that must not be fetched now, given all *loads* and the *size* in bytes of what is held."""
        records = sum(load.records for load in loads.values())
        self._full_records = self._marks.records.blocked(records, now=self._full_records)
        self._full_size = self._marks.size.blocked(size, now=self._full_size)
        self._blocked = frozenset(name for name, load in loads.items() if self._too_much(name, load))
        return frozenset(loads) if self._full_records or self._full_size else self._blocked

    def _too_much(self, name: Name, load: Load) -> bool:
        now = name in self._blocked
        return self._marks.partition.blocked(load.records, now=now) or self._marks.spread.blocked(load.spread, now=now)
