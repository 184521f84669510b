"""Keeps one part alive: started once, started again with back-off when it dies, as Kubernetes would."""

import asyncio
import logging
import random
import time
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path

from embedded.backoff import delay, failures_after
from embedded.board import Board
from embedded.errors import PartFailed
from embedded.part import Part, launch
from embedded.process import Child
from embedded.state import PartState

log = logging.getLogger(__name__)


class Keeper:
    """One part and the task that watches it.

    Args:
        part: What to keep alive.
        log_file: Where its outputs go.
        board: Told of every change.
        revived: Called after the part was started again, whatever the reason.
    """

    def __init__(self, part: Part, log_file: Path, board: Board, revived: Callable[[str], None]) -> None:
        self.part = part
        self._log_file = log_file
        self._board = board
        self._revived = revived
        self._child: Child | None = None
        self._watch: asyncio.Task[None] | None = None
        self._failures = 0
        self._ready_since = 0.0
        self._wanted_end = False
        self._ready = asyncio.Event()

    async def start(self) -> None:
        """The first start, after which it is kept alive.

        Raises:
            EmbeddedError: It cannot start; no process of it is left.
        """
        self._board.part(self.part.name, PartState.STARTING)
        await self._launch()
        self._watch = asyncio.create_task(self._keep(), name=f"keep {self.part.name}")

    async def restart(self) -> None:
        """Stop it politely and let it come back; returns when it is ready.

        Raises:
            PartFailed: It did not come back in time; it is tried again all the same.
        """
        self._ready.clear()
        self._wanted_end = True
        if self._child is not None:
            await self._child.stop()
        try:
            await asyncio.wait_for(self._ready.wait(), self.part.ready_within)
        except TimeoutError:
            reason = f"did not come back within {self.part.ready_within:g} s"
            raise PartFailed(self.part.name, reason, self._log_file, self.part.advice) from None

    async def stop(self) -> None:
        """End the watch, then the process, within its grace."""
        if self._watch is not None:
            self._watch.cancel()
            with suppress(asyncio.CancelledError):
                await self._watch
        if self._child is not None and self._child.running:
            self._board.part(self.part.name, PartState.STOPPING)
            code = await self._child.stop()
            log.info("%s stopped (%s)", self.part.name, describe(code))
        self._board.part(self.part.name, PartState.STOPPED)

    async def _launch(self) -> None:
        self._child = await launch(self.part, self._log_file, self._started)
        self._ready_since = time.monotonic()
        self._wanted_end = False
        self._board.part(self.part.name, PartState.READY)
        self._ready.set()
        log.info("%s is ready (pid %d)", self.part.name, self._child.identity.pid)

    def _started(self, child: Child) -> None:
        self._child = child
        self._board.process(self.part.name, child)

    async def _keep(self) -> None:
        while self._child is not None:
            code = await self._child.ended()
            self._ready.clear()
            await self._revive(code)
            self._revived(self.part.name)

    async def _revive(self, code: int) -> None:
        """Start it again, with longer and longer pauses, until it is ready."""
        healthy_for = time.monotonic() - self._ready_since
        words = describe(code)
        while True:
            pause = self._pause(healthy_for)
            log.warning("%s ended (%s); started again in %.1f s", self.part.name, words, pause)
            self._board.part(self.part.name, PartState.RESTARTING)
            await asyncio.sleep(pause)
            try:
                await self._launch()
            except Exception as error:  # noqa: BLE001 - whatever happens, the part must not go unwatched
                words, healthy_for = str(error).partition("\n")[0] or repr(error), 0.0
            else:
                return

    def _pause(self, healthy_for: float) -> float:
        """Seconds to wait: none after an end that was asked for, else the back-off."""
        if self._wanted_end:
            self._wanted_end = False
            return 0.0
        self._failures = failures_after(self._failures, healthy_for)
        return delay(self._failures, random.random())  # noqa: S311 - jitter, not a secret


def describe(code: int) -> str:
    """An exit code in words: `exit code 3`, or `signal 9` for a process that was killed."""
    return f"signal {-code}" if code < 0 else f"exit code {code}"
