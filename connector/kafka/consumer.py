"""Consuming with many records of a partition in flight at once, finished in any order, without losing one.

    poll loop -> trackers (offsets.py) -> lanes (lanes.py) -> workers (workers.py) -> handler
                     ^                                            |
                     +------------- finished offsets -------------+---> committing.py, every second

The poll loop never waits for handlers: a member that does not poll is thrown out of its group. Handlers never touch
the client. When the group rebalances, aiokafka takes all partitions away first: what is in flight is waited for,
committed and forgotten (`_close_epoch`), and the partitions that come back start from what was committed.
"""

import asyncio
import itertools
import random
import time
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from typing import Any

from aiokafka import AIOKafkaConsumer
from aiokafka.abc import ConsumerRebalanceListener
from aiokafka.errors import KafkaError, UnknownTopicOrPartitionError
from aiokafka.structs import OffsetAndMetadata, TopicPartition

from connector.kafka.bitmap import UnreadableBitmap, decode
from connector.kafka.committed import committed_offsets
from connector.kafka.committing import CommitResult, Committer
from connector.kafka.consumer_config import STOP_TIMEOUT, Tuning, client_arguments
from connector.kafka.consumer_facts import (
    Assigned,
    BitmapIgnored,
    ConsumerObserver,
    MembershipLost,
    Paused,
    Polled,
    Resumed,
    Revoked,
    Rewound,
    Stale,
)
from connector.kafka.consumer_logging import log_fact
from connector.kafka.offsets import PartitionTracker
from connector.kafka.pressure import Load, Pressure
from connector.kafka.record import Handler, OnDefect, Record
from connector.kafka.workers import Flight, Workers
from connector.runtime.settings import KafkaSettings

__all__ = ["ConcurrentConsumer", "ConsumerError", "Handler", "OnDefect", "Record", "Tuning"]

STALE_POLL = 60.0
ADVICE = "; `fbc topics ensure` creates missing topics"


class ConsumerError(Exception):
    """Raised by `run` when the group cannot be joined; the text names group, topics and broker."""


@dataclass
class _Assignment:
    """The partitions between two rebalances, and what is known of each."""

    trackers: dict[TopicPartition, PartitionTracker] = field(default_factory=dict)
    partitions: frozenset[TopicPartition] = frozenset()
    open: bool = False
    settled: asyncio.Event = field(default_factory=asyncio.Event)
    """Set when records may be taken, and again (closed) when they no longer may: whoever waits must look again."""


class ConcurrentConsumer:
    """A member of a consumer group that handles many records at once.

    Args:
        settings: The broker, and how long draining may take (`drain_deadline`).
        topics: Names on the broker, with prefix; they must exist.
        group: Consumer group.
        handler: Called once per record. It bounds its own waits: nothing here ends a handler that hangs, except a
            rebalance or the end of the process.
        lane_of: The lane of a record: records of one lane are begun in order.
        lane_concurrency: Records of one lane in flight at once; 1 keeps a lane strictly in order.
        concurrency: Records in flight at once.
        on_defect: Called with the record and what the handler raised; when it raises too, the record is held and this
            is called again with back-off.
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
        observer: ConsumerObserver = log_fact,
        tuning: Tuning | None = None,
        clock: Callable[[], float] = time.monotonic,
        chance: Callable[[], float] = random.random,
    ) -> None:
        self._settings = settings
        self._topics = tuple(topics)
        self._group = group
        self._lane_of = lane_of
        self._observer = observer
        self._tuning = tuning or Tuning()
        self._clock = clock
        self._workers = Workers(
            handler=handler,
            on_defect=on_defect,
            landed=self._landed,
            failed=self._crash,
            lane_concurrency=lane_concurrency,
            concurrency=concurrency,
            observer=observer,
            backoff=self._tuning.held,
            chance=chance,
        )
        self._pressure: Pressure[TopicPartition] = Pressure(self._tuning.marks)
        self._epochs = itertools.count(1)
        self._assignment = _Assignment()
        self._closing = asyncio.Lock()
        self._finished = 0
        self._commit_due = asyncio.Event()
        self._crashed = asyncio.Event()
        self._crash_error: BaseException | None = None
        self._last_poll_at: float | None = None
        self._client: Any = None
        self._committer: Committer | None = None

    # What the outside may ask

    @property
    def last_poll_at(self) -> float | None:
        """When the poll loop last came round, on *clock*; None before the first time."""
        return self._last_poll_at

    @property
    def assigned(self) -> frozenset[TopicPartition] | None:
        """The partitions this member reads (may be none); None while it is joining or rebalancing = not ready."""
        return self._assignment.partitions if self._assignment.open else None

    @property
    def polling(self) -> bool:
        """Whether the poll loop came round within a minute, or has not begun: what liveness may look at."""
        return self._last_poll_at is None or self._clock() - self._last_poll_at < STALE_POLL

    @property
    def assignment_known(self) -> bool:
        """Whether the group has told what is ours; not while joining or rebalancing. What readiness may look at."""
        return self._assignment.open

    @property
    def in_flight(self) -> int:
        """Records in a handler now."""
        return self._workers.in_flight

    @property
    def lag(self) -> int:
        """Offsets between what is committed or committable and the ends of the partitions, as far as known."""
        ends = ((tracker, self._client.highwater(name)) for name, tracker in self._assignment.trackers.items())
        return sum(max(end - tracker.base, 0) for tracker, end in ends if end is not None)

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
        try:
            async with asyncio.TaskGroup() as tasks:
                polling = tasks.create_task(self._poll(), name="kafka-poll")
                committing = tasks.create_task(self._commit_regularly(), name="kafka-commit")
                watching = tasks.create_task(self._raise_crash(), name="kafka-crash")
                await stop.wait()
                polling.cancel()
                await asyncio.wait({polling})
                await self._close_epoch()
                committing.cancel()
                watching.cancel()
        except BaseExceptionGroup as group:
            raise group.exceptions[0] from None  # one part broke; the others were only cancelled for it

    # Records

    async def _poll(self) -> None:
        """Takes records for ever, also when everything is paused and when no partition is ours."""
        observe_at = self._clock()
        while True:
            batches = await self._client.getmany(
                timeout_ms=int(self._tuning.poll * 1_000), max_records=self._tuning.poll_records
            )
            self._last_poll_at = self._clock()
            assignment = self._assignment
            if batches:
                await assignment.settled.wait()  # records arrive before on_partitions_assigned has ended (aiokafka 738)
                if assignment is self._assignment and assignment.open:
                    self._admit(assignment, batches)
            if self._clock() >= observe_at:
                observe_at = self._clock() + self._tuning.commit_every
                await self._observe_positions()
            self._press()
            await asyncio.sleep(0)  # getmany does not yield while it has records

    def _admit(self, assignment: _Assignment, batches: Mapping[TopicPartition, Sequence[Any]]) -> None:
        self._observer(Polled(sum(map(len, batches.values()))))
        for partition, batch in batches.items():
            tracker = self._tracker(assignment, partition, batch[0].offset)
            for message in batch:
                if tracker.admit(message.offset):
                    self._workers.submit(self._flight(message, partition, tracker.epoch))
        self._workers.dispatch()

    def _tracker(self, assignment: _Assignment, partition: TopicPartition, first: int) -> PartitionTracker:
        """The partition's tracker, made anew when the log went back behind what was read.

        The client never delivers an offset twice by itself. When it does, the broker has reset it to the start of
        another log: counting on would skip the records of that log as finished.
        """
        tracker = assignment.trackers.get(partition)
        if tracker is not None and first < tracker.position:
            self._observer(Rewound(partition, tracker.position, first))
            tracker = None
        if tracker is None:
            tracker = assignment.trackers[partition] = PartitionTracker(first, next(self._epochs))
        return tracker

    def _flight(self, message: Any, partition: TopicPartition, epoch: int) -> Flight:
        record = Record(
            message.topic,
            message.partition,
            message.offset,
            message.timestamp,
            message.key,
            message.value,
            tuple((name, value or b"") for name, value in message.headers),  # a header's value may be null
        )
        return Flight(record, partition, epoch, self._lane(record), record.size)

    def _lane(self, record: Record) -> str:
        """A record without a lane goes to its handler all the same: if it ended the loop, it would do so for ever."""
        try:
            return self._lane_of(record)
        except Exception:  # noqa: BLE001 -- whatever is wrong with the record, its handler meets it too and reports it
            return f"{record.topic}/{record.partition}"

    def _landed(self, flight: Flight) -> None:
        tracker = self._assignment.trackers.get(flight.partition)
        if tracker is None or not tracker.finish(flight.record.offset, flight.epoch):
            self._observer(Stale(flight.record))
            return
        self._finished += 1
        if self._finished >= self._tuning.commit_after:
            self._commit_due.set()

    async def _observe_positions(self) -> None:
        """Moves the base over transaction markers and other gaps at the end of idle partitions."""
        if not self._assignment.open:
            return  # the client's position may be ahead of what was admitted
        idle = [(name, tracker) for name, tracker in self._assignment.trackers.items() if not tracker.in_flight]
        with suppress(TimeoutError, KafkaError):
            async with asyncio.timeout(self._tuning.poll):
                for partition, tracker in idle:
                    tracker.observed_position(await self._client.position(partition))

    def _press(self) -> None:
        """Pauses and resumes. Compared with what the client says: a rebalance forgets what was paused."""
        if not self._assignment.open:
            return
        loads = {name: Load(one.in_flight, one.spread) for name, one in self._assignment.trackers.items()}
        wanted = self._pressure.update(loads, size=self._workers.size) & self._client.assignment()
        paused = frozenset(self._client.paused())
        if more := wanted - paused:
            self._client.pause(*more)
            self._observer(Paused(more))
        if fewer := paused - wanted:
            self._client.resume(*fewer)
            self._observer(Resumed(fewer))

    # Commits

    async def _commit_regularly(self) -> None:
        while True:
            with suppress(TimeoutError):
                async with asyncio.timeout(self._tuning.commit_every):
                    await self._commit_due.wait()
            self._commit_due.clear()
            self._finished = 0
            if await self._commit(self._assignment, self._tuning.commit_within) is CommitResult.MEMBERSHIP_LOST:
                await self._give_up_membership()
            await asyncio.sleep(self._tuning.commit_gap)

    async def _commit(self, assignment: _Assignment, within: float) -> CommitResult:
        assert self._committer is not None  # noqa: S101 -- set before anything that commits is started
        return await self._committer.commit(assignment.trackers, within=within)

    async def _give_up_membership(self) -> None:
        """The partitions are with others, who repeat what was not committed: going on would only double their work."""
        self._observer(MembershipLost(self._workers.in_flight))
        self._forget()
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
            assignment = self._assignment
            assignment.open = False
            began = self._clock()
            drained = await self._workers.drain(self._settings.drain_deadline)
            left = self._settings.drain_deadline - (self._clock() - began)
            await self._commit(assignment, min(max(left, self._tuning.commit_floor), self._tuning.commit_within))
            self._forget()
            self._observer(drained)

    def _forget(self) -> None:
        """From here on results of the old assignment are stale; whoever waits for it is woken to find out."""
        old, self._assignment = self._assignment, _Assignment()
        old.open = False
        old.settled.set()

    async def _on_assigned(self, partitions: Iterable[TopicPartition]) -> None:
        with self._crashing():
            assignment = self._assignment
            names = frozenset(partitions)
            committed = await self._committed(names)
            trackers = {name: self._restored(name, found) for name, found in committed.items()}
            if assignment is not self._assignment:
                return
            assignment.trackers.update(trackers)
            assignment.partitions = names
            assignment.open = True
            assignment.settled.set()
            self._observer(Assigned(names, sum(tracker.done_above_base for tracker in trackers.values())))

    async def _committed(self, partitions: frozenset[TopicPartition]) -> Mapping[TopicPartition, OffsetAndMetadata]:
        """What was committed. Unread, it costs repetitions: trackers then begin with the first record that arrives."""
        try:
            return await committed_offsets(
                self._settings, self._group, partitions, timeout_after=self._tuning.committed_within
            )
        except (TimeoutError, KafkaError) as error:
            self._observer(BitmapIgnored(None, f"committed offsets were not read: {type(error).__name__}"))
            return {}

    def _restored(self, partition: TopicPartition, committed: OffsetAndMetadata) -> PartitionTracker:
        try:
            done = decode(committed.metadata, committed.offset)
        except UnreadableBitmap as error:
            self._observer(BitmapIgnored(partition, str(error)))
            done = 0
        return PartitionTracker(committed.offset, next(self._epochs), done)

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
