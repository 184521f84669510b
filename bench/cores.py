"""How busy all cores of the machine were: what tells a bound of the cores from one of ours."""

import threading
import time
from pathlib import Path
from types import TracebackType
from typing import Self

EVERY = 0.25
"""Seconds between two looks."""

_STAT = Path("/proc/stat")
_IDLE, _WAITING = 3, 4
"""Places in the first line of /proc/stat, see proc(5)."""


class Cores:
    """Watches while its block runs; Linux only."""

    def __init__(self) -> None:
        self._looks: list[tuple[float, int, int]] = []
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

    def busy(self, start: float, end: float) -> float:
        """The share of all cores' time, 0 to 1, that something ran or was kept from running between both (Unix s).

        Raises:
            RuntimeError: It was not looked at twice in that time.
        """
        looks = [look for look in self._looks if start <= look[0] <= end]
        if len(looks) < 2:
            raise RuntimeError(f"{len(looks)} looks at the cores between {start} and {end}")
        (_, idle, everything), (_, idle_at_last, everything_at_last) = looks[0], looks[-1]
        return 1 - (idle_at_last - idle) / (everything_at_last - everything)

    def _look_again(self) -> None:
        while not self._ended.wait(EVERY):
            ticks = [int(word) for word in _STAT.read_text().partition("\n")[0].split()[1:9]]
            self._looks.append((time.time(), ticks[_IDLE] + ticks[_WAITING], sum(ticks)))
