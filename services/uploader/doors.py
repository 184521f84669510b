"""Waiting in front of a breaker, and saying once what waits for a person and when it goes on."""

import asyncio
from collections.abc import Callable
from dataclasses import dataclass
from datetime import UTC, datetime

from connector.graph.verdicts import WaitScope
from connector.telemetry import Telemetry
from schemas.events import ChunkReady
from services.uploader.breakers import Breakers, Free, Probed, Shut, scope_name
from services.uploader.endings import Arrived, Attempt, NeedsPerson, Postponed
from services.uploader.facts import ScopeClosed, ScopeOpened, ScopeReleased
from services.uploader.stopping import unless_stopping


@dataclass(frozen=True)
class Entry:
    """Leave to call for a chunk, given at `began`; the scopes it is the probe of."""

    began: datetime
    probing: frozenset[str]


class Doors:
    """The breakers of this process, with those who wait for a probe to end."""

    def __init__(
        self,
        breakers: Breakers,
        telemetry: Telemetry,
        stop: asyncio.Event,
        now: Callable[[], datetime] = lambda: datetime.now(UTC),
    ) -> None:
        self._breakers = breakers
        self._telemetry = telemetry
        self._stop = stop
        self._now = now
        self._moved = asyncio.Event()

    async def enter(self, chunk: ChunkReady) -> Entry | NeedsPerson:
        """Leave to call for *chunk*, or what it waits for. Whoever has leave says how it went with `leave`."""
        released_at = chunk.released_at if chunk.emission > 1 else None
        scopes = _scopes(chunk)
        while True:
            answer = self._breakers.ask(scopes, released_at)
            match answer:
                case Free(probing):
                    return Entry(self._now(), probing)
                case Shut(scope, cause, advice, since):
                    return NeedsPerson(cause, scope, advice, since=since)
                case Probed():
                    await self._moved.wait()
                    await unless_stopping(self._stop)

    def stands(self, entry: Entry, chunk: ChunkReady) -> bool:
        """Whether the call may still be made: others may have been refused while this one waited for its turn."""
        return self._breakers.stands(_scopes(chunk), entry.probing)

    def leave(self, entry: Entry, result: Attempt | Postponed | None) -> None:
        """Takes in how an attempt ended; None when it was broken off."""
        if isinstance(result, NeedsPerson):
            self._refused(entry, result)
        for scope in self._breakers.ended(entry.probing, success=isinstance(result, Arrived)):
            self._telemetry.emit(ScopeClosed(scope))
        if entry.probing:
            moved, self._moved = self._moved, asyncio.Event()
            moved.set()

    def let_go(self, scope: str, at: datetime) -> None:
        """Lets *scope* go on, as somebody mended it at *at*: its next chunk is the probe."""
        if self._breakers.let_go(scope, at):
            self._telemetry.emit(ScopeReleased(scope))

    def _refused(self, entry: Entry, result: NeedsPerson) -> None:
        if self._breakers.refused(result.scope, result.cause, result.advice, entry.began):
            self._telemetry.emit(ScopeOpened(result.scope, result.cause, result.advice))


def _scopes(chunk: ChunkReady) -> list[str]:
    return [scope_name(scope, chunk) for scope in WaitScope]
