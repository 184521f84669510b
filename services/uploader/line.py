"""Stopping the line: when too much is given up, nothing new is begun until somebody has looked.

The process stays up and says so: not ready, an alarm, its partitions kept so that no other process takes them and does
the same. What is in hand ends as it ends. After the cause is mended the process is restarted (`kubectl rollout
restart`, `fbc dev restart uploader-1`): the fuse is new, and the line goes on where it stopped.
"""

import asyncio

from connector.kafka.record import leave_unfinished
from connector.telemetry import Telemetry
from services.uploader.facts import LineStopped
from services.uploader.fuse import Fuse


class Line:
    """Counts how chunks end, and begins none any more when the fuse has blown."""

    def __init__(self, fuse: Fuse, telemetry: Telemetry, stop: asyncio.Event) -> None:
        self._fuse = fuse
        self._telemetry = telemetry
        self._stop = stop

    @property
    def running(self) -> bool:
        """Whether it has not been stopped: what readiness looks at."""
        return self._fuse.blown is None

    async def begin(self) -> None:
        """Returns at once while the line runs. Stopped, it holds on to the record until the process ends.

        Raises:
            CancelledError: The process is to stop; the record will be read again.
        """
        if not self.running:
            await self._stop.wait()
            await leave_unfinished()

    def arrived(self) -> None:
        """A chunk was delivered."""
        self._fuse.arrived()

    def died(self) -> None:
        """A record was given up."""
        if self._fuse.died():
            self._telemetry.emit(LineStopped(self._fuse.blown or ""))
