"""Stopping the line: when too much is given up, nothing new is begun until somebody has looked.

The process stays up and says so: not ready, an alarm, its partitions kept so that no other process takes them and does
the same. What is in hand ends as it ends. After the cause is mended the process is restarted (`kubectl rollout
restart`, `fbc dev restart uploader-1`): the fuse is new, and the line goes on where it stopped.
"""

from collections.abc import Callable

from connector.telemetry import Telemetry
from services.uploader.facts import LineStopped
from services.uploader.fuse import Fuse

Hold = Callable[[str], None]
"""Makes a consumer begin nothing new; the text says why."""


class Line:
    """Counts how chunks end, and holds the consumers when the fuse blows."""

    def __init__(self, fuse: Fuse, telemetry: Telemetry) -> None:
        self._fuse = fuse
        self._telemetry = telemetry
        self._holds: list[Hold] = []

    @property
    def running(self) -> bool:
        """Whether it has not been stopped: what readiness looks at."""
        return self._fuse.blown is None

    def holds(self, hold: Hold) -> None:
        """Adds a consumer to what is held when the line stops."""
        self._holds.append(hold)

    def arrived(self) -> None:
        """A chunk was delivered."""
        self._fuse.arrived()

    def died(self) -> None:
        """A record was given up."""
        if self._fuse.died():
            why = self._fuse.blown or ""
            self._telemetry.emit(LineStopped(why))
            for hold in self._holds:
                hold(why)
