"""What is looked at while a benchmark runs: how busy all cores are, how much memory a process holds. Linux only."""

import resource
import threading
import time
from collections.abc import Callable, Sequence
from functools import partial
from itertools import pairwise
from pathlib import Path
from types import TracebackType
from typing import Generic, Self, TypeVar

EVERY = 0.1
"""Seconds between two looks."""

PARTS = 10
"""A run is told apart into so many."""

_STAT = Path("/proc/stat")
_IDLE, _WAITING = 3, 4
"""Places in the first line of /proc/stat, see proc(5)."""

_PAGES = resource.getpagesize()
_MIB = 1 << 20

Seen = TypeVar("Seen")


class _Watch(Generic[Seen]):
    """Looks again and again while its block runs."""

    def __init__(self, look: Callable[[], Seen]) -> None:
        self._look = look
        self._looks: list[tuple[float, Seen]] = []
        self._ended = threading.Event()
        self._watch = threading.Thread(target=self._look_again, daemon=True)

    def __enter__(self) -> Self:
        self._watch.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._ended.set()
        self._watch.join()

    def seen(self, start: float, end: float, *, least: int = 2) -> list[Seen]:
        """What was seen between both (Unix seconds).

        Raises:
            RuntimeError: It was looked at less than *least* times: a figure of that says nothing.
        """
        found = [seen for moment, seen in self._looks if start <= moment <= end]
        if len(found) < least:
            raise RuntimeError(f"{len(found)} looks of {type(self).__name__} between {start} and {end}")
        return found

    def _look_again(self) -> None:
        while not self._ended.wait(EVERY):
            self._looks.append((time.time(), self._look()))


def _ticks() -> tuple[int, int]:
    """Those without work, and all of them."""
    ticks = [int(word) for word in _STAT.read_text().partition("\n")[0].split()[1:9]]
    return ticks[_IDLE] + ticks[_WAITING], sum(ticks)


class Cores(_Watch[tuple[int, int]]):
    """All cores of the machine: what tells a bound of the cores from one of ours."""

    def __init__(self) -> None:
        super().__init__(_ticks)

    def busy(self, start: float, end: float) -> float:
        """The share of all cores' time, 0 to 1, that something ran or was kept from running between both."""
        looks = self.seen(start, end)
        (idle, everything), (idle_at_last, everything_at_last) = looks[0], looks[-1]
        return 1 - (idle_at_last - idle) / (everything_at_last - everything)


def resident(pid: int | str = "self") -> float:
    """What a process holds now, in MiB."""
    return int(Path(f"/proc/{pid}/statm").read_text().split()[1]) * _PAGES / _MIB


class Resident(_Watch[float]):
    """The resident memory of a process, in MiB. It ends with the process."""

    def __init__(self, pid: int) -> None:
        super().__init__(partial(resident, pid))

    def peaks(self, start: float, end: float) -> list[float]:
        """The highest of each tenth of the time between both."""
        return highest(self.seen(start, end, least=PARTS))


def highest(looks: Sequence[float]) -> list[float]:
    """Of each tenth of *looks*, which are ten or more."""
    cuts = [len(looks) * part // PARTS for part in range(PARTS + 1)]
    return [max(looks[first:last]) for first, last in pairwise(cuts)]
