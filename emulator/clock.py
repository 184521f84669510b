"""Two clocks: the wall's, and one that a time scale can hurry so that an hour's budget passes in a minute."""

import time
from collections.abc import Callable


class Clock:
    """Wall time and emulated time, both in unix seconds.

    Emulated time starts at wall time and runs *scale* times as fast. Changing the scale never makes it jump,
    because a jump would expire budgets and replace sessions that nobody waited for.
    """

    def __init__(self, wall: Callable[[], float] = time.time, ticks: Callable[[], float] = time.monotonic) -> None:
        self.wall = wall
        self._ticks = ticks
        self._scale = 1.0
        self._since = ticks()
        self._base = wall()

    @property
    def scale(self) -> float:
        """Emulated seconds per real second."""
        return self._scale

    @scale.setter
    def scale(self, scale: float) -> None:
        self._base, self._since = self.now(), self._ticks()
        self._scale = scale

    def now(self) -> float:
        """Emulated unix time in seconds; budgets, replace sessions and token lifetimes are measured in it."""
        return self._base + (self._ticks() - self._since) * self._scale
