"""What a part promises, and how one is brought up: prepare, spawn, ready, or a named failure."""

import asyncio
import subprocess
from collections.abc import Awaitable, Callable, Iterable
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path

from embedded.errors import PartFailed
from embedded.process import Child, Command, spawn

PROBE_PAUSE_SECONDS = 0.05
PROBE_SECONDS = 5.0
LAUNCH_SECONDS = 60.0


async def nothing() -> None:
    """No preparation is needed."""


@dataclass(frozen=True, slots=True)
class Part:
    """One long-running child process of the stack.

    Attributes:
        name: Unique, also the name of its log: `<name>.log`.
        command: How to run it; asked at every start, so it may take up what was prepared meanwhile.
        probe: One attempt to see whether it can serve: True, False, or an exception for "not yet".
        prepare: What has to exist before it starts; idempotent, runs before every start.
        url: Where its clients reach it, if it speaks HTTP.
        control_url: Its control side, if it has one.
        advice: What a person should do if it cannot start.
        ready_within: Seconds from the start of the process until the probe must have said True.
    """

    name: str
    command: Callable[[], Command]
    probe: Callable[[], Awaitable[bool]]
    prepare: Callable[[], Awaitable[None]] = nothing
    url: str | None = None
    control_url: str | None = None
    advice: str = "read the log, free what it asks for, start again"
    ready_within: float = LAUNCH_SECONDS


async def launch(part: Part, log: Path, started: Callable[[Child], None] = lambda _: None) -> Child:
    """Bring a part up: prepare it, start its process, wait until it can serve.

    Args:
        part: What to start.
        log: Where its outputs go.
        started: Told the child as soon as it exists, before it is ready, so that its pid can be recorded.

    Returns:
        The child, ready. If it does not become ready, or this call is cancelled, the process is ended first.

    Raises:
        PartFailed: It ended early, or was not ready in time.
    """
    try:
        await part.prepare()
        child = await spawn(part.command(), log)
    except (OSError, subprocess.SubprocessError) as error:
        raise PartFailed(part.name, f"could not be started: {error}", log, part.advice) from error
    started(child)
    try:
        await _ready_or_failed(part, child)
    except BaseException:
        await child.stop()
        raise
    return child


async def _ready_or_failed(part: Part, child: Child) -> None:
    ready = asyncio.ensure_future(_ready(part))
    ended = asyncio.ensure_future(child.ended())
    try:
        await asyncio.wait({ready, ended}, timeout=part.ready_within, return_when=asyncio.FIRST_COMPLETED)
        if ended.done():
            reason = f"ended with code {ended.result()} before it was ready"
            raise PartFailed(part.name, reason, child.log, part.advice)
        if not ready.done():
            reason = f"was not ready within {part.ready_within:g} s"
            raise PartFailed(part.name, reason, child.log, part.advice)
    finally:
        for task in (ready, ended):
            task.cancel()
        await asyncio.gather(ready, ended, return_exceptions=True)


async def _ready(part: Part) -> None:
    while not await _probed(part):  # noqa: ASYNC110 - another process is watched: it sets no event of ours
        await asyncio.sleep(PROBE_PAUSE_SECONDS)


async def _probed(part: Part) -> bool:
    # Whatever a client raises while its server is still coming up means "not yet"; the bound is `ready_within`.
    with suppress(Exception):
        return await asyncio.wait_for(part.probe(), PROBE_SECONDS)
    return False


async def launch_all(parts: Iterable[Part], logs: Path) -> dict[str, Child]:
    """Bring several parts up side by side: all of them or none.

    Returns:
        The children by part name, all ready.

    Raises:
        PartFailed: The first one that could not start; the others have been stopped again.
    """
    children: dict[str, Child] = {}

    async def one(part: Part) -> None:
        children[part.name] = await launch(part, logs / f"{part.name}.log")

    try:
        async with asyncio.TaskGroup() as group:
            for part in parts:
                group.create_task(one(part))
    except BaseException as failure:
        await stop_all(children.values())
        if isinstance(failure, ExceptionGroup):
            raise failure.exceptions[0] from None
        raise
    return children


async def stop_all(children: Iterable[Child]) -> None:
    """Stop children side by side, each within its own grace."""
    await asyncio.gather(*(child.stop() for child in children))
