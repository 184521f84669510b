"""Streams that are read forwards once, for the chunks that ask for parts of them side by side.

Each stream has a tape (what is decided is in `connector.files.tape`) and, while somebody waits, one task that reads on.
The tape comes as far as the nearest chunk that waits; what it passes is kept within a budget over all streams, what is
asked for is not counted in it. Where going on means to forget what nobody asked for yet, it waits a moment first: the
chunks of a file come nearly in order. A chunk that lies behind gets another tape, which then serves all such retries.
"""

import asyncio
import time
from collections.abc import Awaitable, Callable, Hashable
from contextlib import suppress
from dataclasses import dataclass, field
from typing import Any, Generic, Protocol, TypeVar

from connector.files.tape import Kind, Place, Span, Tape
from connector.objects.errors import StoreError, StoreUnavailable

Data = TypeVar("Data")
Data_co = TypeVar("Data_co", covariant=True)

MOMENT = 0.5
"""Seconds a tape waits for chunks that lag before it forgets what they would ask for."""


class SpanMissing(Exception):
    """Raised when a stream ends before the span does: it is not what was planned."""


class Stream(Protocol[Data_co]):
    """Something that is read forwards, piece by piece.

    After a `StoreError` that is retryable `next` may be called again where `resumable`; after any other error not.
    `ended` is set with the last piece where that is known.
    """

    resumable: bool
    ended: bool

    async def next(self) -> Data_co | None:
        """The next piece; None at the end."""
        ...

    def close(self) -> None:
        """Gives everything back at once, also while `next` is on its way."""
        ...


@dataclass
class _Open(Generic[Data]):
    """A tape, what it is recorded from, and who waits for which span of it."""

    name: Hashable
    stream: Stream[Data]
    tape: Tape[Data]
    used: float
    waiting: dict[asyncio.Future[list[Data] | None], Span] = field(default_factory=dict)
    asked: asyncio.Event = field(default_factory=asyncio.Event)
    reader: asyncio.Task[None] | None = None

    @property
    def wanted(self) -> list[Span]:
        return list(self.waiting.values())


class Streams:
    """Open streams, at most `most` that nobody waits for, each forgotten after `idle` seconds without a chunk.

    `opened` counts the passes over a stream that were begun.
    """

    def __init__(
        self,
        *,
        budget: int,
        idle: float = 60.0,
        most: int = 16,
        moment: float = MOMENT,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self._budget = budget
        self._idle = idle
        self._most = most
        self._moment = moment
        self._clock = clock
        self._open: list[_Open[Any]] = []
        self._opening: dict[Hashable, asyncio.Task[None]] = {}
        self._sweeper: asyncio.TimerHandle | None = None
        self._closed = False
        self.opened = 0

    async def read(
        self, name: Hashable, span: Span, kind: Kind[Data], begin: Callable[[], Awaitable[Stream[Data]]]
    ) -> list[Data]:
        """The pieces of *span*.

        Args:
            name: The stream, its version included.
            span: What of it.
            kind: How its pieces are measured.
            begin: Opens it at its beginning.

        Raises:
            SpanMissing: The stream ends before.
            StoreError: The stream cannot be read. What else reading it raises is raised here too.
        """
        while True:
            found = self._serving(name, span)
            if found is None:
                await self._begun(name, kind, begin)
                continue
            found.used = self._clock()
            if found.tape.place(span) is Place.HERE:
                taken: list[Data] = found.tape.take(span)
                found.asked.set()
                return taken
            pieces = await self._waited(found, span)
            if pieces is not None:
                return pieces

    @property
    def kept(self) -> int:
        """Bytes that are kept for chunks nobody asked for yet."""
        return sum(one.tape.unwanted(one.wanted) for one in self._open)

    @property
    def streams(self) -> int:
        """Streams that are open."""
        return len(self._open)

    async def close(self) -> None:
        """Closes all streams; whoever still waits is told that the store is unavailable."""
        self._closed = True
        if self._sweeper is not None:
            self._sweeper.cancel()
        tasks = [*self._opening.values(), *(one.reader for one in self._open if one.reader is not None)]
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)
        for one in list(self._open):
            self._drop(one, StoreUnavailable("reading was stopped"))

    async def _waited(self, one: _Open[Data], span: Span) -> list[Data] | None:
        answer: asyncio.Future[list[Data] | None] = asyncio.get_running_loop().create_future()
        one.waiting[answer] = span
        one.asked.set()
        if one.reader is None:
            one.reader = asyncio.create_task(self._read_on(one), name=f"stream {one.name}")
        try:
            return await answer
        finally:
            one.waiting.pop(answer, None)

    def _serving(self, name: Hashable, span: Span) -> _Open[Any] | None:
        """The open tape that gives *span* soonest."""
        serving = [one for one in self._open if one.name == name and one.tape.place(span) is not Place.BEHIND]
        return max(serving, key=lambda one: one.tape.position, default=None)

    async def _begun(self, name: Hashable, kind: Kind[Data], begin: Callable[[], Awaitable[Stream[Data]]]) -> None:
        """Waits for a tape at its beginning: chunks that come together share it, also when the first one gives up."""
        opening = self._opening.get(name)
        if opening is None:
            opening = asyncio.create_task(self._open_new(name, kind, begin), name=f"open {name}")
            self._opening[name] = opening
            opening.add_done_callback(lambda done: self._opened(name, done))
        try:
            await asyncio.shield(opening)
        except asyncio.CancelledError:
            if opening.cancelled():
                raise StoreUnavailable("reading was stopped") from None
            raise

    async def _open_new(self, name: Hashable, kind: Kind[Data], begin: Callable[[], Awaitable[Stream[Data]]]) -> None:
        if self._closed:
            raise StoreUnavailable("reading was stopped")
        self._make_room()
        stream = await begin()
        self.opened += 1
        self._open.append(_Open(name, stream, Tape(kind), self._clock()))
        self._sweep_later()

    def _opened(self, name: Hashable, done: "asyncio.Task[None]") -> None:
        del self._opening[name]
        if not done.cancelled():
            done.exception()  # told to those who waited, if there still are any

    async def _read_on(self, one: _Open[Any]) -> None:
        """Reads until nobody waits. The only place that moves the tape."""
        waited_for: set[Span] = set()
        try:
            while one.waiting:
                piece = await one.stream.next()
                if piece is None:
                    self._drop(one, SpanMissing("the file ends before the range does"))
                    return
                one.tape.append(piece)
                one.used = self._clock()
                self._serve(one)
                nearest = min(one.waiting.values(), default=None)
                # What other streams keep is no reason to wait: theirs goes first.
                is_full = one.tape.unwanted(one.wanted) > self._budget
                if is_full and nearest is not None and nearest not in waited_for:
                    waited_for.add(nearest)
                    await self._laggards(one)
                self._trim()
                if one.stream.ended and not one.tape.weight and not one.waiting:
                    self._drop(one)
                    return
        except StoreError as error:
            if error.retryable and one.stream.resumable:
                self._fail(one, error)
            else:
                self._drop(one, error)
        except Exception as error:  # noqa: BLE001 - whoever waits has to hear of it, whatever it is
            self._drop(one, error)
        finally:
            one.reader = None

    async def _laggards(self, one: _Open[Any]) -> None:
        """Waits a moment for those who ask for what is about to be forgotten."""
        with suppress(TimeoutError):
            async with asyncio.timeout(self._moment):
                while one.tape.unwanted(one.wanted) > self._budget:
                    one.asked.clear()
                    await one.asked.wait()
                    self._serve(one)

    def _serve(self, one: _Open[Any]) -> None:
        """Hands out what is there. Who waits for what somebody else has just taken is sent to look again."""
        for answer, span in sorted(one.waiting.items(), key=lambda item: item[1]):
            place = one.tape.place(span)
            if answer.done() or place is Place.AHEAD:
                continue
            del one.waiting[answer]
            answer.set_result(one.tape.take(span) if place is Place.HERE else None)

    def _fail(self, one: _Open[Any], error: Exception) -> None:
        waiting, one.waiting = one.waiting, {}
        for answer in waiting:
            if not answer.done():
                answer.set_exception(error)

    def _drop(self, one: _Open[Any], error: Exception | None = None) -> None:
        if one in self._open:
            self._open.remove(one)
        one.stream.close()
        if error is not None:
            self._fail(one, error)

    def _is_full(self) -> bool:
        return self.kept > self._budget

    def _trim(self) -> None:
        """Forgets what was passed longest ago, of the stream that was used longest ago, until the budget holds."""
        while self._is_full():
            by_use = sorted(self._open, key=lambda one: one.used)
            if not any(one.tape.drop_oldest(one.wanted) for one in by_use):
                return

    def _make_room(self) -> None:
        idle = sorted((one for one in self._open if not one.waiting and one.reader is None), key=lambda one: one.used)
        for one in idle[: max(len(self._open) - self._most + 1, 0)]:
            self._drop(one)

    def _sweep_later(self) -> None:
        if self._sweeper is None and not self._closed:
            self._sweeper = asyncio.get_running_loop().call_later(self._idle / 2, self._sweep)

    def _sweep(self) -> None:
        self._sweeper = None
        now = self._clock()
        for one in list(self._open):
            if not one.waiting and one.reader is None and now - one.used >= self._idle:
                self._drop(one)
        if self._open:
            self._sweep_later()
