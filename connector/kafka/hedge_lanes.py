"""Lanes: which record is handled next. One lane per key, taken in turns. Pure: it starts nothing, it only says what may.

A lane that is busy never blocks another one, and a lane with ten thousand records gets no more turns than one with two.
"""

from collections import OrderedDict, deque
from collections.abc import Callable, Iterable
from dataclasses import dataclass, field
from typing import Generic, TypeVar

Work = TypeVar("Work")


@dataclass
class _Lane(Generic[Work]):
    waiting: deque[Work] = field(default_factory=deque)
    running: int = 0


class Lanes(Generic[Work]):
    """Work in the order of its arrival per lane, at most *per_lane* of a lane and *in_all* of all at once."""

    def __init__(self, *, per_lane: int, in_all: int) -> None:
        self._per_lane = per_lane
        self._in_all = in_all
        self._lanes: OrderedDict[str, _Lane[Work]] = OrderedDict()
        self.running = 0
        self.waiting = 0

    def __repr__(self) -> str:  # type: ignore[explicit-override]  # typing.override needs Python 3.12
        return f"<Lanes lanes={len(self._lanes)} running={self.running} waiting={self.waiting}>"

    def put(self, name: str, work: Work) -> None:
        """Adds *work* at the end of the lane *name*."""
        self._lanes.setdefault(name, _Lane()).waiting.append(work)
        self.waiting += 1

    def take(self) -> tuple[str, Work] | None:
        """The next work that may start, with its lane; None when all bounds are met or nothing waits."""
        if self.running >= self._in_all:
            return None
        for name, lane in self._lanes.items():
            if lane.waiting and lane.running < self._per_lane:
                work = lane.waiting.popleft()
                lane.running += 1
                self.running += 1
                self.waiting -= 1
                self._lanes.move_to_end(name)
                return name, work
        return None

    def done(self, name: str) -> None:
        """Frees the place that work of lane *name* held."""
        lane = self._lanes[name]
        lane.running -= 1
        self.running -= 1
        self._forget_if_empty(name, lane)

    def drop(self, unwanted: Callable[[Work], bool]) -> None:
        """Forgets waiting work that is *unwanted*: its partition went to somebody else."""
        for name, lane in list(self._lanes.items()):
            kept: Iterable[Work] = [work for work in lane.waiting if not unwanted(work)]
            lane.waiting = deque(kept)
            self._forget_if_empty(name, lane)
        self.waiting = sum(len(lane.waiting) for lane in self._lanes.values())

    def _forget_if_empty(self, name: str, lane: _Lane[Work]) -> None:
        if not lane.waiting and not lane.running:
            del self._lanes[name]
