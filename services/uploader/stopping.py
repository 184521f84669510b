"""Waiting and beginning while the process may be told to stop: what has not begun is left to be read again."""

import asyncio
from typing import NoReturn


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


async def leave_unfinished() -> NoReturn:
    """Ends the current handler as one that was cancelled: its record is not done with and will be read again.

    Merely raising CancelledError would look like a defect of the handler, and bury the record: nobody had cancelled it.
    """
    task = asyncio.current_task()
    if task is not None:
        task.cancel()
    await asyncio.sleep(0)
    raise asyncio.CancelledError
