"""Running handlers: a bounded number of records at once, each to its end, none silently dropped.

A worker is a task that lives as long as something may start: it takes the next record in turn, handles it, takes the
next. There are never more workers than the bound, and none while there is nothing to do.
"""

import asyncio
import itertools
import time
from collections.abc import Callable
from dataclasses import dataclass
from functools import partial

from aiokafka.structs import TopicPartition

from connector.kafka.consumer_facts import Completed, ConsumerObserver, Defective, Drained, Held, Outcome, Stuck
from connector.kafka.lanes import Lanes
from connector.kafka.record import Handler, OnDefect, PutAside, Record

TURNS_BETWEEN_YIELDS = 32
"""Handlers that never wait would keep the loop for themselves: no heartbeat, no commit, no poll."""

CANCEL_GRACE = 2.0
"""Seconds a cancelled handler has to clean up before it is left behind."""


class HandlerCancelled(Exception):
    """Stands for a CancelledError that nobody asked for: something inside the handler was cancelled, not it."""


@dataclass(frozen=True)
class Backoff:
    """Seconds between attempts: doubling from *first* to *cap*, spread so that processes do not fall in step."""

    first: float = 0.5
    cap: float = 30.0

    def after(self, attempt: int, chance: float) -> float:
        """The wait after *attempt* (from 1) failed; *chance* is uniform in [0, 1)."""
        return min(self.cap, self.first * 2.0 ** min(attempt - 1, 30)) * (0.5 + chance / 2)


@dataclass(slots=True, eq=False)
class Flight:
    """A record on its way through a handler, with what is needed to complete it.

    One that is `early` is not to be handled yet and goes back to its delay topic. What follows is the workers': the
    task it is in, since when (monotonic), whether its handler was cancelled for being stuck, and whether it is on its
    way to another topic, where whoever takes it may not be cancelled for being slow.
    """

    record: Record
    partition: TopicPartition
    epoch: int
    lane: str
    size: int
    early: bool = False
    task: "asyncio.Task[None] | None" = None
    began: float = 0.0
    evicted: bool = False
    leaving: bool = False


class Workers:
    """Handles flights; one that ends is handed to *landed*.

    Args:
        handler: Called once per flight.
        on_defect: Called when the handler raised, until it returns.
        on_stuck: Called with a record that is evicted, until it returns; without it nothing is evicted.
        put_back: Called with a record that is early, until it returns.
        landed: Told about each flight whose handler (or who took it afterwards) returned.
        failed: Told when a worker itself breaks; it is a bug here and the consumer must not go on.
        lane_concurrency: Flights of one lane at once.
        concurrency: Flights at once.
        chance: Uniform in [0, 1), for the spread of waits.
    """

    def __init__(
        self,
        *,
        handler: Handler,
        on_defect: OnDefect,
        landed: Callable[[Flight], None],
        failed: Callable[[BaseException], None],
        lane_concurrency: int,
        concurrency: int,
        observer: ConsumerObserver,
        backoff: Backoff,
        chance: Callable[[], float],
        on_stuck: PutAside | None = None,
        put_back: PutAside | None = None,
    ) -> None:
        self._handler = handler
        self._on_defect = on_defect
        self._on_stuck = on_stuck
        self._put_back = put_back
        self._landed = landed
        self._failed = failed
        self._concurrency = concurrency
        self._observer = observer
        self._backoff = backoff
        self._chance = chance
        self._lanes: Lanes[Flight] = Lanes(lane_concurrency)
        self._tasks: set[asyncio.Task[None]] = set()
        self._numbers = itertools.count(1)
        self._flying: set[Flight] = set()
        self._standing_still = False
        self._looks_again = False
        self._size = 0

    @property
    def in_flight(self) -> int:
        """Records in a handler now."""
        return len(self._flying)

    @property
    def waiting(self) -> int:
        """Records that were submitted and not begun."""
        return self._lanes.waiting

    @property
    def size(self) -> int:
        """Bytes of all records held, begun or not."""
        return self._size

    def submit(self, flight: Flight) -> None:
        """Queues *flight* in its lane; `dispatch` starts it."""
        self._size += flight.size
        self._lanes.put(flight.lane, flight)

    def stand_still(self) -> None:
        """Begins nothing more until `go_on`; what is in a handler goes on to its end."""
        self._standing_still = True

    def go_on(self) -> None:
        """Ends `stand_still`."""
        self._standing_still = False
        self.dispatch()

    def seconds_in_handler(self, epoch: int, offset: int) -> float | None:
        """How long a record has been in its handler; None when it is in none (any more)."""
        flight = self._in_handler(epoch, offset)
        return None if flight is None else time.monotonic() - flight.began

    def evict(self, epoch: int, offset: int) -> None:
        """Cancels the handler of a record; then the record is handed to `on_stuck` until that takes it."""
        flight = self._in_handler(epoch, offset)
        if flight is None or flight.task is None or self._on_stuck is None:
            return
        flight.evicted = True
        self._observer(Stuck(flight.record, time.monotonic() - flight.began))
        flight.task.cancel()

    def _in_handler(self, epoch: int, offset: int) -> Flight | None:
        """The flight of that record (an epoch is of one partition). Asked for heads only, so no index is kept."""
        for flight in self._flying:
            if flight.epoch == epoch and flight.record.offset == offset:
                return None if flight.evicted or flight.leaving else flight
        return None

    def dispatch(self) -> None:
        """Starts workers for what may run, within the bound: as many as there are, and a turn of the loop later more.

        Handlers that wait have all places after a few turns. Of those that do not, a few workers get through with
        everything meanwhile, and the others are never started: 2,157 tasks for 60,000 records instead of 7,344.
        """
        wanted = 0 if self._standing_still else min(self._lanes.runnable, self._concurrency - len(self._tasks))
        begun = min(wanted, max(len(self._tasks), 1))
        for _ in range(begun):
            task = asyncio.create_task(self._work(), name=f"kafka-worker-{next(self._numbers)}")
            self._tasks.add(task)
            task.add_done_callback(self._ended)
        if begun < wanted and not self._looks_again:
            self._looks_again = True
            asyncio.get_running_loop().call_soon(self._look_again)

    def _look_again(self) -> None:
        self._looks_again = False
        self.dispatch()

    def drop_waiting(self) -> None:
        """Forgets what was not begun: it will be read again, here or elsewhere."""
        for flight in self._lanes.clear():
            self._size -= flight.size

    async def drain(self, deadline: float) -> Drained:
        """Waits up to *deadline* seconds for what is in flight, then cancels the rest. Nothing new begins."""
        began = time.monotonic()
        self.drop_waiting()
        in_flight = self.in_flight
        if self._tasks:
            await asyncio.wait(self._tasks, timeout=deadline)
        abandoned = self.in_flight
        await self.cancel()
        return Drained(in_flight, abandoned, time.monotonic() - began)

    async def cancel(self) -> None:
        """Cancels what is in flight; a handler that ignores it is left behind after a grace (its result is stale)."""
        self.drop_waiting()
        cancelled = set(self._tasks)
        for task in cancelled:
            task.cancel()
        if cancelled:
            await asyncio.wait(cancelled, timeout=CANCEL_GRACE)

    async def _work(self) -> None:
        try:
            await self._take_turns()
        finally:
            # Not left to the task's callback, which comes a turn of the loop later: `dispatch` in between would count
            # workers that ended, start none, and what it was called for would wait for ever.
            self._tasks.discard(asyncio.current_task())

    async def _take_turns(self) -> None:
        task = _this_task()
        for turn in itertools.count(1):
            flight = None if self._standing_still else self._lanes.take()
            if flight is None:
                return
            flight.task, flight.began = task, time.monotonic()
            self._flying.add(flight)
            try:
                outcome = await (self._returned(flight) if flight.early else self._handled(flight, task))
            finally:
                self._flying.remove(flight)
                self._size -= flight.size
                self._lanes.done(flight.lane)
            self._landed(flight)
            self._observer(Completed(flight.record, time.monotonic() - flight.began, outcome))
            if turn % TURNS_BETWEEN_YIELDS == 0:
                await asyncio.sleep(0)

    async def _handled(self, flight: Flight, task: "asyncio.Task[None]") -> Outcome:
        """Runs the handler and, if that fails, sees to it that somebody takes the record.

        Raises:
            CancelledError: Not the record is to go, but the worker.
        """
        try:
            await self._handler(flight.record)
        except asyncio.CancelledError:
            _forgive(flight, task)
            if task.cancelling():
                raise
            return await self._cast_out(flight, HandlerCancelled("it was cancelled from within, or for being stuck"))
        except Exception as error:  # noqa: BLE001 -- whatever a handler raises is a defect of that record only
            _forgive(flight, task)
            return await self._cast_out(flight, error)
        _forgive(flight, task)  # it came to its end all the same
        return Outcome.HANDLED

    async def _cast_out(self, flight: Flight, error: Exception) -> Outcome:
        record, flight.leaving = flight.record, True
        if flight.evicted and self._on_stuck is not None:
            await self._until_taken(record, self._on_stuck)
            return Outcome.EVICTED
        self._observer(Defective(record, error))
        await self._until_taken(record, partial(self._bury, error))
        return Outcome.BURIED

    async def _returned(self, flight: Flight) -> Outcome:
        flight.leaving = True
        if self._put_back is not None:
            await self._until_taken(flight.record, self._put_back)
        return Outcome.PUT_BACK

    async def _bury(self, error: Exception, record: Record) -> None:
        await self._on_defect(record, error)

    async def _until_taken(self, record: Record, put: PutAside) -> None:
        """Offers the record until it is taken.

        Meanwhile the record keeps its place in flight: when dead letters cannot be written, the line stops by itself
        instead of piling up records that have nowhere to go.
        """
        for attempt in itertools.count(1):
            try:
                await put(record)
            except Exception as failure:  # noqa: BLE001 -- the record is held whatever went wrong
                wait = self._backoff.after(attempt, self._chance())
                self._observer(Held(record, attempt, wait, failure))
                await asyncio.sleep(wait)
            else:
                return

    def _ended(self, task: asyncio.Task[None]) -> None:
        self._tasks.discard(task)  # a task that was cancelled before its first step never came to do it itself
        if task.cancelled():
            self.dispatch()  # a handler left its record unfinished and took the worker along: others go on
        elif (error := task.exception()) is not None:
            self._failed(error)


def _forgive(flight: Flight, task: "asyncio.Task[None]") -> None:
    """An eviction cancels the handler, not the worker: the task is not to count as cancelled after it."""
    if flight.evicted:
        task.uncancel()


def _this_task() -> "asyncio.Task[None]":
    task = asyncio.current_task()
    assert task is not None  # noqa: S101 -- only workers fly, and they are tasks
    return task
