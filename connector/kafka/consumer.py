"""Consuming with many records of a partition in flight at once, finished in any order, without losing one.

    polling.py -> trackers (offsets.py) -> lanes (lanes.py) -> workers (workers.py) -> handler
                     ^                                            |
                     +------------- finished offsets -------------+---> committing.py, every second

The poll loop never waits for handlers: a member that does not poll is thrown out of its group. Handlers never touch
the client. When the group rebalances, aiokafka takes all partitions away first: what is in flight is waited for,
committed and forgotten (`_close_epoch`), and the partitions that come back start from what was committed.

With a `Delay` it reads a delay topic: each partition waits until the record at its head is due (holds.py). A record
that never ends is put aside before it holds up the others (stuck.py). `hold` stops the line without leaving the group.
"""

import asyncio
import random
import time
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from typing import Any

from aiokafka import AIOKafkaConsumer
from aiokafka.abc import ConsumerRebalanceListener
from aiokafka.errors import KafkaError, UnknownTopicOrPartitionError
from aiokafka.structs import OffsetAndMetadata, TopicPartition

from connector.kafka.assignment import Assignment, Assignments
from connector.kafka.committed import committed_offsets
from connector.kafka.committing import CommitResult, Committer
from connector.kafka.consumer_config import STOP_TIMEOUT, Tuning, client_arguments
from connector.kafka.consumer_facts import (
    Assigned,
    BitmapIgnored,
    ConsumerObserver,
    LineHeld,
    MembershipLost,
    Revoked,
    Stale,
)
from connector.kafka.consumer_logging import log_fact
from connector.kafka.holds import Holds
from connector.kafka.polling import Poller
from connector.kafka.record import Delay, Handler, OnDefect, PutAside, Record
from connector.kafka.stuck import Head, is_stuck
from connector.kafka.workers import Flight, Workers
from connector.runtime.settings import KafkaSettings

__all__ = ["ConcurrentConsumer", "ConsumerError", "Delay", "Handler", "OnDefect", "PutAside", "Record", "Tuning"]

STALE_POLL = 60.0
ADVICE = "; `fbc topics ensure` creates missing topics"


class ConsumerError(Exception):
    """Raised by `run` when the group cannot be joined; the text names group, topics and broker."""


class ConcurrentConsumer:
    """A member of a consumer group that handles many records at once.

    Args:
        settings: The broker, and how long draining may take (`drain_deadline`).
        topics: Names on the broker, with prefix; they must exist.
        group: Consumer group.
        handler: Called once per record. It bounds its own waits: nothing here ends a handler that hangs, except
            `on_stuck`, a rebalance or the end of the process.
        lane_of: The lane of a record: records of one lane are begun in order.
        lane_concurrency: Records of one lane in flight at once; 1 keeps a lane strictly in order.
        concurrency: Records in flight at once.
        on_defect: Called with the record and what the handler raised; when it raises too, the record is held and this
            is called again with back-off.
        on_stuck: Puts a record aside that holds up its partition (see `stuck.py`); its handler is cancelled before.
            When it raises, the record is held and it is called again with back-off. Without it nothing is evicted.
        delay: What makes the topics delay topics: no record is handled before it is due.
        observer: Told what happens, see `consumer_facts.py`; by default that goes to the log.
        clock: Monotonic seconds.
        chance: Uniform in [0, 1).
    """

    def __init__(
        self,
        settings: KafkaSettings,
        *,
        topics: Sequence[str],
        group: str,
        handler: Handler,
        lane_of: Callable[[Record], str],
        lane_concurrency: int,
        concurrency: int,
        on_defect: OnDefect,
        on_stuck: PutAside | None = None,
        delay: Delay | None = None,
        observer: ConsumerObserver = log_fact,
        tuning: Tuning | None = None,
        clock: Callable[[], float] = time.monotonic,
        chance: Callable[[], float] = random.random,
    ) -> None:
        self._settings = settings
        self._topics = tuple(topics)
        self._group = group
        self._lane_of = lane_of
        self._delay = delay
        self._observer = observer
        self._tuning = tuning or Tuning()
        self._clock = clock
        self._workers = Workers(
            handler=handler,
            on_defect=on_defect,
            on_stuck=on_stuck,
            put_back=None if delay is None else delay.put_back,
            landed=self._landed,
            failed=self._crash,
            lane_concurrency=lane_concurrency,
            concurrency=concurrency,
            observer=observer,
            backoff=self._tuning.held,
            chance=chance,
        )
        self._assignments = Assignments(observer)
        self._holds: Holds[TopicPartition] = Holds()
        self._closing = asyncio.Lock()
        self._finished = 0
        self._commit_due = asyncio.Event()
        self._crashed = asyncio.Event()
        self._crash_error: BaseException | None = None
        self._client: Any = None
        self._poller: Poller | None = None
        self._committer: Committer | None = None

    # What the outside may ask

    @property
    def last_poll_at(self) -> float | None:
        """When the poll loop last came round, on *clock*; None before the first time."""
        return None if self._poller is None else self._poller.last_poll_at

    @property
    def assigned(self) -> frozenset[TopicPartition] | None:
        """The partitions this member reads (may be none); None while it is joining or rebalancing = not ready."""
        current = self._assignments.current
        return current.partitions if current.open else None

    @property
    def polling(self) -> bool:
        """Whether the poll loop came round within a minute, or has not begun: what liveness may look at."""
        return self.last_poll_at is None or self._clock() - self.last_poll_at < STALE_POLL

    @property
    def assignment_known(self) -> bool:
        """Whether the group has told what is ours; not while joining or rebalancing. What readiness may look at."""
        return self._assignments.current.open

    @property
    def in_flight(self) -> int:
        """Records in a handler now."""
        return self._workers.in_flight

    @property
    def lag(self) -> int:
        """Offsets between what is committed or committable and the ends of the partitions, as far as known."""
        trackers = self._assignments.current.trackers
        ends = ((tracker, self._client.highwater(name)) for name, tracker in trackers.items())
        return sum(max(end - tracker.base, 0) for tracker, end in ends if end is not None)

    @property
    def held(self) -> str | None:
        """Why the line stands still (`hold`); None while it runs. What readiness may look at."""
        return self._holds.line

    def hold(self, why: str) -> None:
        """Begins no record more until `release`; the first reason counts.

        The member stays in its group, so that nobody else takes the partitions and does the same; it goes on polling,
        and what is in a handler ends and is committed.
        """
        if self._holds.stop_line(why):
            self._workers.stand_still()
            self._observer(LineHeld(why))

    def release(self) -> None:
        """Goes on after `hold`."""
        if self._holds.start_line():
            self._workers.go_on()
            self._observer(LineHeld(None))

    # The life of a member

    async def run(self, stop: asyncio.Event) -> None:
        """Joins the group and handles records until *stop* is set; then drains, commits and leaves.

        Being cancelled is a crash: nothing is drained, what was finished since the last commit is repeated later.

        Raises:
            ConsumerError: The group could not be joined in time.
            KafkaError: The broker refuses us for good, or a part of this broke; to be restarted by a supervisor.
        """
        self._client = AIOKafkaConsumer(**client_arguments(self._settings, self._group, self._tuning))
        self._committer = Committer(self._client, self._observer)
        self._poller = Poller(
            self._client,
            self._assignments,
            self._workers,
            self._holds,
            lane_of=self._lane_of,
            delay=self._delay,
            tuning=self._tuning,
            observer=self._observer,
            clock=self._clock,
        )
        self._client.subscribe(list(self._topics), listener=_Listener(self._on_revoked, self._on_assigned))
        try:
            if await self._join(stop):
                await self._consume(stop)
        finally:
            await self._workers.cancel()
            with suppress(TimeoutError, KafkaError):
                async with asyncio.timeout(STOP_TIMEOUT):  # stop() hangs while brokers are down (aiokafka #659)
                    await self._client.stop()

    async def _join(self, stop: asyncio.Event) -> bool:
        """Waits until partitions are assigned; False if told to stop before."""
        starting = asyncio.create_task(self._client.start(), name="kafka-join")
        stopping = asyncio.create_task(stop.wait(), name="kafka-join-stop")
        try:
            await asyncio.wait({starting, stopping}, timeout=self._tuning.join, return_when=asyncio.FIRST_COMPLETED)
            if starting.done():
                starting.result()
                return True
            if stopping.done():
                return False
            raise ConsumerError(f"{self._wanted} within {self._tuning.join:.0f} s{ADVICE}")
        except UnknownTopicOrPartitionError as error:
            raise ConsumerError(f"{self._wanted}: topics are missing{ADVICE}") from error
        finally:
            for task in (starting, stopping):
                task.cancel()
            await asyncio.wait({starting, stopping})

    @property
    def _wanted(self) -> str:
        return f"group {self._group} on {self._settings.bootstrap} was not joined for {', '.join(self._topics)}"

    async def _consume(self, stop: asyncio.Event) -> None:
        assert self._poller is not None  # noqa: S101 -- set before joining
        try:
            async with asyncio.TaskGroup() as tasks:
                polling = tasks.create_task(self._poller.run(), name="kafka-poll")
                others = [
                    tasks.create_task(self._commit_regularly(), name="kafka-commit"),
                    tasks.create_task(self._watch(), name="kafka-watch"),
                    tasks.create_task(self._raise_crash(), name="kafka-crash"),
                ]
                await stop.wait()
                polling.cancel()
                await asyncio.wait({polling})
                await self._close_epoch()
                for other in others:
                    other.cancel()
        except BaseExceptionGroup as group:
            raise group.exceptions[0] from None  # one part broke; the others were only cancelled for it

    # Records

    def _landed(self, flight: Flight) -> None:
        tracker = self._assignments.current.trackers.get(flight.partition)
        if tracker is None or not tracker.finish(flight.record.offset, flight.epoch):
            self._observer(Stale(flight.record))
            return
        self._finished += 1
        if self._finished >= self._tuning.commit_after:
            self._commit_due.set()

    async def _watch(self) -> None:
        """Evicts heads that hold up their partitions, so that a record that never ends does not stop all others."""
        while True:
            await asyncio.sleep(self._tuning.commit_every)
            for tracker in self._assignments.current.trackers.values():
                head = tracker.head
                age = None if head is None else self._workers.seconds_in_handler(tracker.epoch, head)
                if head is None or age is None:
                    continue
                if is_stuck(Head(age, tracker.spread, tracker.done_above_base), self._tuning.stuck):
                    self._workers.evict(tracker.epoch, head)

    # Commits

    async def _commit_regularly(self) -> None:
        while True:
            with suppress(TimeoutError):
                async with asyncio.timeout(self._tuning.commit_every):
                    await self._commit_due.wait()
            self._commit_due.clear()
            self._finished = 0
            if (
                await self._commit(self._assignments.current, self._tuning.commit_within)
                is CommitResult.MEMBERSHIP_LOST
            ):
                await self._give_up_membership()
            await asyncio.sleep(self._tuning.commit_gap)

    async def _commit(self, assignment: Assignment, within: float) -> CommitResult:
        assert self._committer is not None  # noqa: S101 -- set before anything that commits is started
        return await self._committer.commit(assignment.trackers, within=within)

    async def _give_up_membership(self) -> None:
        """The partitions are with others, who repeat what was not committed: going on would only double their work."""
        self._observer(MembershipLost(self._workers.in_flight))
        self._assignments.forget()
        await self._workers.cancel()

    # Rebalances

    async def _on_revoked(self, partitions: Iterable[TopicPartition]) -> None:
        with self._crashing():
            await self._close_epoch()
            self._observer(Revoked(frozenset(partitions)))

    async def _close_epoch(self) -> None:
        """Ends what is in flight, commits it and forgets the partitions: one deadline, with a floor for the commit.

        Runs in aiokafka's coordinator task while heartbeats go on, so nothing it waits for may need the poll loop,
        which is blocked meanwhile.
        """
        async with self._closing:
            assignment = self._assignments.current
            assignment.open = False
            began = self._clock()
            drained = await self._workers.drain(self._settings.drain_deadline)
            left = self._settings.drain_deadline - (self._clock() - began)
            await self._commit(assignment, min(max(left, self._tuning.commit_floor), self._tuning.commit_within))
            self._assignments.forget()
            self._observer(drained)

    async def _on_assigned(self, partitions: Iterable[TopicPartition]) -> None:
        with self._crashing():
            assignment = self._assignments.current
            names = frozenset(partitions)
            committed = await self._committed(names)
            if assignment is self._assignments.current:
                self._observer(Assigned(names, self._assignments.open(names, committed)))

    async def _committed(self, partitions: frozenset[TopicPartition]) -> Mapping[TopicPartition, OffsetAndMetadata]:
        """What was committed. Unread, it costs repetitions: trackers then begin with the first record that arrives."""
        try:
            return await committed_offsets(
                self._settings, self._group, partitions, timeout_after=self._tuning.committed_within
            )
        except (TimeoutError, KafkaError) as error:
            self._observer(BitmapIgnored(None, f"committed offsets were not read: {type(error).__name__}"))
            return {}

    # Breaking

    def _crash(self, error: BaseException) -> None:
        """Makes `run` end with *error*; the first one counts."""
        if self._crash_error is None:
            self._crash_error = error
        self._crashed.set()

    async def _raise_crash(self) -> None:
        await self._crashed.wait()
        assert self._crash_error is not None  # noqa: S101 -- set before the event
        raise self._crash_error

    @contextmanager
    def _crashing(self) -> Iterator[None]:
        """The client logs and forgets what a listener raises: the gate would stay closed and nobody would know."""
        try:
            yield
        except Exception as error:
            self._crash(error)
            raise


class _Listener(ConsumerRebalanceListener):  # type: ignore[misc]  # aiokafka publishes no types
    """Hands aiokafka's calls to coroutines."""

    def __init__(self, revoked: Callable[..., Any], assigned: Callable[..., Any]) -> None:
        self._revoked = revoked
        self._assigned = assigned

    async def on_partitions_revoked(self, revoked: Iterable[TopicPartition]) -> None:
        """Before a rebalance."""
        await self._revoked(revoked)

    async def on_partitions_assigned(self, assigned: Iterable[TopicPartition]) -> None:
        """After it."""
        await self._assigned(assigned)
