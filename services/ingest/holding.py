"""Holding on to a step while the database does not do its part.

Nothing can be recorded without the ledger, so there is nothing to give up to: the step is tried again until it works or
the process is told to stop. Also a missing table is held, not passed over: a migration that was forgotten must not
turn every delivery into a dead letter.
"""

import asyncio
import random
from collections.abc import Awaitable, Callable
from typing import TypeVar

from sqlalchemy.exc import DataError, IntegrityError, SQLAlchemyError

from connector.telemetry import Telemetry
from services.ingest.facts import LedgerUnavailable
from services.ingest.patience import Patience

Result = TypeVar("Result")


class Unrecordable(Exception):
    """Raised when PostgreSQL cannot hold a value of the event (a NUL in a text, a number beyond 64 bits)."""


class Stopped(Exception):
    """Raised at a point where nothing is half done, because the process is to stop."""


async def pause(stop: asyncio.Event, seconds: float) -> None:
    """Waits *seconds*, or until *stop*.

    Raises:
        Stopped: The process is to stop.
    """
    try:
        async with asyncio.timeout(seconds):
            await stop.wait()
    except TimeoutError:
        return
    raise Stopped


class Holding:
    """Runs steps of *during* ("intake", "progress") against the database until they succeed."""

    def __init__(self, during: str, patience: Patience, telemetry: Telemetry, stop: asyncio.Event) -> None:
        self._during = during
        self._patience = patience
        self._telemetry = telemetry
        self._stop = stop

    async def __call__(self, step: Callable[[], Awaitable[Result]]) -> Result:
        """The result of *step*, which must be safe to repeat.

        Raises:
            Unrecordable: The event itself is what the database refuses.
            IntegrityError: A rule of the ledger was broken: a defect of ours, which repeating does not mend.
            Stopped: The process is to stop.
        """
        attempt = 0
        while True:
            try:
                return await step()
            except DataError as error:
                raise Unrecordable("the event holds a value the ledger cannot store") from error
            except IntegrityError:
                raise
            except SQLAlchemyError as error:
                attempt += 1
                seconds = self._patience.pause(attempt, random.random())  # noqa: S311 -- jitter
                self._telemetry.emit(LedgerUnavailable(self._during, type(error).__name__, attempt, seconds))
                await pause(self._stop, seconds)
