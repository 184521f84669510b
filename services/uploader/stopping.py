"""Waiting and beginning while the process may be told to stop: what has not begun is left to be read again."""

import asyncio

from connector.kafka.record import leave_unfinished


async def pause(stop: asyncio.Event, seconds: float) -> None:
    """Waits, but not against a stop: who waits has nothing half done.

    Raises:
        CancelledError: The process is to stop; see `leave_unfinished`.
    """
    try:
        async with asyncio.timeout(seconds):
            await stop.wait()
    except TimeoutError:
        return
    await leave_unfinished()


async def unless_stopping(stop: asyncio.Event) -> None:
    """Called before something begins that should not be cut off, so that a clean stop doubles nothing.

    Raises:
        CancelledError: The process is to stop; see `leave_unfinished`.
    """
    if stop.is_set():
        await leave_unfinished()
