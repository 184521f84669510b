"""The life of a process: run until told to stop, stop in order, say how it ended by the exit code."""

import asyncio
import logging
import signal
from collections.abc import Awaitable, Callable, Coroutine
from contextlib import suppress
from typing import Any

import structlog

log = structlog.get_logger()

Serve = Callable[[asyncio.Event], Awaitable[None]]
"""A service's main coroutine: it works until the event is set, then stops in its own order and returns."""


def run(name: str, serve: Serve) -> int:
    """Runs *serve* under signal handling and returns the exit code: 0 clean, 1 crashed, 130 told twice.

    The first SIGTERM or SIGINT asks for a clean stop. The second ends the process at once: an operator who insists is
    obeyed, and everything here survives a kill anyway.
    """
    try:
        asyncio.run(_run(name, serve))
    except asyncio.CancelledError:
        log.warning("process.stopped_at_once", service=name)
        return 130
    except Exception as error:
        log.critical("process.crashed", service=name, error=type(error).__name__, exc_info=error)
        return 1
    log.info("process.stopped", service=name)
    return 0


async def _run(name: str, serve: Serve) -> None:
    stop = asyncio.Event()
    main = asyncio.current_task()
    assert main is not None  # noqa: S101 -- asyncio.run always has one

    def on_signal(number: signal.Signals) -> None:
        if stop.is_set():
            main.cancel()
            return
        log.info("process.stopping", service=name, signal=number.name)
        stop.set()

    loop = asyncio.get_running_loop()
    for number in (signal.SIGTERM, signal.SIGINT):
        loop.add_signal_handler(number, on_signal, number)
    try:
        await serve(stop)
    finally:
        for number in (signal.SIGTERM, signal.SIGINT):
            loop.remove_signal_handler(number)


async def supervise(stop: asyncio.Event, parts: dict[str, Coroutine[Any, Any, None]]) -> None:
    """Runs *parts* side by side until all have returned, each of them watching *stop* for itself.

    A part that raises, or that returns before *stop* is set, sets *stop* for the others (so that they drain and commit)
    and its error is what this raises: a half-dead process that looks alive is the worst outcome.
    """
    tasks = {asyncio.create_task(part, name=name): name for name, part in parts.items()}
    try:
        await asyncio.wait(tasks, return_when=asyncio.FIRST_COMPLETED)
        ended_early = [name for task, name in tasks.items() if task.done() and not stop.is_set()]
        stop.set()
        await asyncio.wait(tasks)
    except BaseException:
        for task in tasks:
            task.cancel()
        with suppress(asyncio.CancelledError):
            await asyncio.wait(tasks)
        raise
    for task, name in tasks.items():
        error = None if task.cancelled() else task.exception()
        if error is not None:
            logging.getLogger(__name__).error("part %s of the process failed", name)
            raise error
    if ended_early:
        raise RuntimeError(f"part {ended_early[0]} of the process ended without being asked to")
