"""The sweep: at intervals, what a crash left undone is found in the ledger and done."""

import asyncio
from datetime import timedelta

from sqlalchemy.exc import SQLAlchemyError

from connector.telemetry import Telemetry
from services.ingest.clock import Clock
from services.ingest.facts import SweepFailed
from services.ingest.holding import Stopped, pause
from services.ingest.patience import TryLater
from services.ingest.releasing import Releaser
from services.ingest.settings import SweepSettings
from services.ingest.status import StatusPublisher


class Sweep:
    """Publishes states that are owed, releases what was overlooked, and sends what was not sent."""

    def __init__(
        self,
        status: StatusPublisher,
        releaser: Releaser,
        settings: SweepSettings,
        telemetry: Telemetry,
        *,
        clock: Clock,
    ) -> None:
        self._status = status
        self._releaser = releaser
        self._settings = settings
        self._telemetry = telemetry
        self._clock = clock

    async def run(self, stop: asyncio.Event) -> None:
        """Sweeps until *stop*; a sweep that fails is left to the next one."""
        while True:
            try:
                await self.once()
            except (SQLAlchemyError, TryLater) as error:
                self._telemetry.emit(SweepFailed(type(error).__name__))
            try:
                await pause(stop, self._settings.interval)
            except Stopped:
                return

    async def once(self) -> None:
        """One sweep, bounded by the settings' batch."""
        await self._status.sweep(age=self._settings.age, limit=self._settings.batch)
        await self._releaser.sweep()
        await self._releaser.send_unsent(
            before=self._clock() - timedelta(seconds=self._settings.age), limit=self._settings.batch
        )
