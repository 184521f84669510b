"""Lanes: waiting work ordered within a key and fair between keys.

Pure. Each lane starts its items in the order they came, a bounded number of them at once. Lanes that may start
something take turns, so a lane that is long or slow costs the others nothing but its share.
"""

from collections import deque
from typing import Generic, TypeVar

Item = TypeVar("Item")


class _Lane(Generic[Item]):
    __slots__ = ("running", "waiting")

    def __init__(self) -> None:
        self.waiting: deque[Item] = deque()
        self.running = 0


class Lanes(Generic[Item]):
    """Waiting items by lane.

    Args:
        concurrency: How many items of one lane may be running at once. 1 keeps a key strictly in order.
    """

    def __init__(self, concurrency: int) -> None:
        self._concurrency = concurrency
        self._lanes: dict[str, _Lane[Item]] = {}
        self._turns: deque[str] = deque()  # each lane that may start an item, once
        self._waiting = 0
        self._runnable = 0

    def put(self, name: str, item: Item) -> None:
        """Queues *item* behind what waits in its lane."""
        lane = self._lanes.get(name)
        if lane is None:
            lane = self._lanes[name] = _Lane()
        free = self._concurrency - lane.running
        lane.waiting.append(item)
        self._waiting += 1
        if len(lane.waiting) <= free:
            self._runnable += 1
            if len(lane.waiting) == 1:
                self._turns.append(name)

    def take(self) -> Item | None:
        """The next item in turn, now running; None when nothing may start. To be followed by `done`."""
        if not self._turns:
            return None
        name = self._turns.popleft()
        lane = self._lanes[name]
        item = lane.waiting.popleft()
        lane.running += 1
        self._waiting -= 1
        self._runnable -= 1
        if lane.waiting and lane.running < self._concurrency:
            self._turns.append(name)
        return item

    def done(self, name: str) -> None:
        """Frees the place of a running item of lane *name*."""
        lane = self._lanes[name]
        was_full = lane.running == self._concurrency
        free_before = self._concurrency - lane.running
        lane.running -= 1
        if len(lane.waiting) > free_before:
            self._runnable += 1
            if was_full:
                self._turns.append(name)
        if not lane.waiting and not lane.running:
            del self._lanes[name]

    def clear(self) -> list[Item]:
        """Takes out everything that waits; what runs keeps its place until it is done."""
        dropped = [item for lane in self._lanes.values() for item in lane.waiting]
        for lane in self._lanes.values():
            lane.waiting.clear()
        self._lanes = {name: lane for name, lane in self._lanes.items() if lane.running}
        self._turns.clear()
        self._waiting = self._runnable = 0
        return dropped

    @property
    def waiting(self) -> int:
        """Items that were not taken yet."""
        return self._waiting

    @property
    def runnable(self) -> int:
        """Items that could be taken now, one after the other."""
        return self._runnable

    def __repr__(self) -> str:  # type: ignore[explicit-override]  # typing.override needs Python 3.12
        lanes = ", ".join(f"{name}: {lane.running}+{len(lane.waiting)}" for name, lane in self._lanes.items())
        return f"<Lanes {lanes}>"
