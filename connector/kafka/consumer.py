"""Consuming a partition with many records in flight: lanes per key, offsets completed out of order, nothing lost.

Built directly on aiokafka, whose traps shaped it (each was seen on a real broker, with aiokafka 0.14):

- The poll loop never stops, not even while everything is paused: a member that does not poll leaves the group.
- Nothing needed for draining lives in the poll loop: `getmany` blocks while a rebalance runs.
- Records are handed out while `on_partitions_assigned` still runs, so nothing is taken in until the gate opens, and what
  was fetched across a rebalance is dropped and read again from the tracker's position.
- Pauses are lost on every rebalance, and `pause()` throws the prefetched records away: watermarks are wide.
- `stop()` calls no listener and can hang: drain, commit and stop are ours, each within a bound.
- All partitions are revoked on every rebalance (eager protocol): work that cannot end within the drain deadline is
  cancelled, and its epoch makes any late result stale.
"""

import asyncio
import time
from collections.abc import Awaitable, Callable, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass
from typing import Any

import structlog
from aiokafka import AIOKafkaConsumer, ConsumerRebalanceListener, OffsetAndMetadata, TopicPartition
from aiokafka.admin import AIOKafkaAdminClient
from aiokafka.coordinator.assignors.sticky.sticky_assignor import StickyPartitionAssignor
from aiokafka.errors import CommitFailedError, IllegalStateError, KafkaError

from connector.kafka.bitmap import UnreadableBitmap, decode
from connector.kafka.connection import connection_arguments
from connector.kafka.headers import Headers
from connector.kafka.hedge_lanes import Lanes
from connector.kafka.offsets import PartitionTracker
from connector.runtime.settings import KafkaSettings

log = structlog.get_logger()

POLL_MS = 200
COMMIT_SECONDS = 1.0
COMMIT_TIMEOUT = 10.0
STOP_TIMEOUT = 10.0
STALE_POLL_SECONDS = 60.0
ROOM_MARGIN = 1_000
"""Offsets of window left at which a partition is paused: a poll in progress may still add records."""

DEFECT_PAUSE = 1.0
MAX_DEFECT_PAUSE = 30.0


@dataclass(frozen=True)
class Record:
    """A record as it came."""

    topic: str
    partition: int
    offset: int
    timestamp_ms: int
    key: bytes | None
    value: bytes | None
    headers: Headers


Handler = Callable[[Record], Awaitable[None]]
"""Returning completes the record's offset. Raising `CancelledError` leaves it to be read again."""


@dataclass(frozen=True)
class _Work:
    record: Record
    partition: TopicPartition
    epoch: int


class ConcurrentConsumer:
    """A member of a consumer group that handles many records at once.

    Args:
        settings: The broker.
        topics: Full names.
        group: The consumer group.
        handler: What is done with a record. An exception is a defect of ours: see *on_defect*.
        lane_of: The lane of a record; records of one lane start in order.
        lane_concurrency: Records of one lane handled at once.
        concurrency: Records handled at once in all.
        on_defect: Puts a record aside that the handler raised on; the offset completes after it. While it raises too,
            the record is held.
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
        on_defect: Callable[[Record, Exception], Awaitable[None]],
    ) -> None:
        self._settings = settings
        self._topics = list(topics)
        self._group = group
        self._handler = handler
        self._lane_of = lane_of
        self._on_defect = on_defect
        self._lanes: Lanes[_Work] = Lanes(per_lane=lane_concurrency, in_all=concurrency)
        self._high, self._low = 2 * concurrency + 1, concurrency
        self._tasks: dict[asyncio.Task[None], _Work] = {}
        self._trackers: dict[TopicPartition, PartitionTracker] = {}
        self._epoch = 0
        self._open = asyncio.Event()
        self._committing = asyncio.Lock()
        self._paused: set[TopicPartition] = set()
        self._full = False
        self._draining = False
        self._last_poll = 0.0
        self._joined = False
        self._consumer: AIOKafkaConsumer = None

    @property
    def assignment_known(self) -> bool:
        """Whether the group has told this member what it owns (perhaps nothing)."""
        return self._joined

    @property
    def polling(self) -> bool:
        """Whether the poll loop turned in the last minute; the one thing liveness may look at."""
        return self._last_poll == 0.0 or time.monotonic() - self._last_poll < STALE_POLL_SECONDS

    @property
    def in_flight(self) -> int:
        """Records being handled now."""
        return self._lanes.running

    async def run(self, stop: asyncio.Event) -> None:
        """Joins the group and works until *stop*, then stops cleanly: nothing that was finished is read again.

        Raises:
            KafkaError: The broker cannot be used at all; the supervisor starts the process again.
        """
        self._consumer = self._new_consumer()
        committer: asyncio.Task[None] | None = None
        try:
            await self._consumer.start()
            self._consumer.subscribe(self._topics, listener=_Rebalances(self))
            committer = asyncio.create_task(self._commit_now_and_then(), name=f"commit {self._group}")
            await self._poll_until(stop, committer)
            await self._drain("stop")
        finally:
            await self._close(committer)

    def _new_consumer(self) -> AIOKafkaConsumer:
        drain = self._settings.drain_deadline
        rebalance = drain + 2 * COMMIT_TIMEOUT
        return AIOKafkaConsumer(
            **connection_arguments(self._settings, self._group),
            group_id=self._group,
            enable_auto_commit=False,
            auto_offset_reset="earliest",
            partition_assignment_strategy=(StickyPartitionAssignor,),
            session_timeout_ms=int(self._settings.session_timeout * 1_000),
            heartbeat_interval_ms=int(min(3.0, self._settings.session_timeout / 3) * 1_000),
            rebalance_timeout_ms=int(rebalance * 1_000),
            # JoinGroup waits for all members to drain: a shorter time-out would take that for a dead coordinator.
            request_timeout_ms=int((rebalance + 10) * 1_000),
            max_poll_interval_ms=300_000,
            fetch_max_bytes=8 * 1024 * 1024,
            max_partition_fetch_bytes=256 * 1024,
            fetch_max_wait_ms=100,
            metadata_max_age_ms=60_000,
        )

    # -- taking in

    async def _poll_until(self, stop: asyncio.Event, committer: asyncio.Task[None]) -> None:
        while not stop.is_set():
            if committer.done():
                await committer  # its error is the reason to end
            epoch = self._epoch
            batch = await self._consumer.getmany(timeout_ms=POLL_MS, max_records=self._low)
            self._last_poll = time.monotonic()
            if not self._open.is_set() and not await self._opened(stop):
                continue
            if epoch != self._epoch:
                self._rewind()
                continue
            for partition, messages in batch.items():
                self._take_in(partition, messages)
            if not batch:
                await self._observe_positions()
            self._balance()

    async def _opened(self, stop: asyncio.Event) -> bool:
        """Whether the gate opened; while it is shut, nothing fetched may be taken in."""
        while not stop.is_set():
            with suppress(TimeoutError):
                async with asyncio.timeout(POLL_MS / 1_000):
                    await self._open.wait()
                    return True
            if not self._consumer.assignment():
                return False
        return False

    def _take_in(self, partition: TopicPartition, messages: Sequence[Any]) -> None:
        if partition not in self._consumer.assignment():
            return
        for message in messages:
            tracker = self._trackers.get(partition)
            if tracker is None:
                tracker = self._trackers[partition] = PartitionTracker(message.offset, self._epoch)
            if tracker.admit(message.offset):
                record = _record(message)
                self._lanes.put(self._lane_of(record), _Work(record, partition, tracker.epoch))
        self._start_what_may()

    async def _observe_positions(self) -> None:
        """Tells trackers of gaps at the end of a partition, where no record will ever tell of them."""
        for partition, tracker in list(self._trackers.items()):
            if not tracker.in_flight:
                with suppress(IllegalStateError, TimeoutError):
                    async with asyncio.timeout(1):
                        tracker.observed_position(await self._consumer.position(partition))

    def _rewind(self) -> None:
        """Sets every owned partition to what its tracker expects next: what was fetched meanwhile is read again."""
        for partition, tracker in self._trackers.items():
            with suppress(IllegalStateError):
                self._consumer.seek(partition, tracker.position)

    def _balance(self) -> None:
        """Pauses what has enough in hand, resumes what has room again; re-applied after every rebalance."""
        held = self._lanes.running + self._lanes.waiting
        self._full = held >= self._high if not self._full else held > self._low
        assigned = self._consumer.assignment()
        self._paused &= assigned
        for partition in assigned:
            tracker = self._trackers.get(partition)
            crowded = tracker is not None and tracker.room < ROOM_MARGIN
            wanted = self._full or crowded
            if wanted and partition not in self._paused:
                self._consumer.pause(partition)
                self._paused.add(partition)
            elif not wanted and partition in self._paused:
                self._consumer.resume(partition)
                self._paused.remove(partition)

    # -- handling

    def _start_what_may(self) -> None:
        while not self._draining and (taken := self._lanes.take()) is not None:
            lane, work = taken
            task = asyncio.create_task(self._handled(work), name=f"record {work.partition} {work.record.offset}")
            self._tasks[task] = work
            task.add_done_callback(lambda ended, lane=lane: self._ended(ended, lane))  # type: ignore[misc]

    async def _handled(self, work: _Work) -> None:
        try:
            await self._handler(work.record)
        except Exception as error:
            log.exception("kafka.handler_defect", topic=work.record.topic, offset=work.record.offset)
            await self._put_aside(work.record, error)

    async def _put_aside(self, record: Record, error: Exception) -> None:
        """Gives the record to *on_defect* until that works: what cannot even be put aside is held, never skipped."""
        seconds = DEFECT_PAUSE
        while True:
            try:
                await self._on_defect(record, error)
            except Exception:
                log.exception("kafka.record_held", topic=record.topic, offset=record.offset, again_in=seconds)
                await asyncio.sleep(seconds)
                seconds = min(2 * seconds, MAX_DEFECT_PAUSE)
            else:
                return

    def _ended(self, task: asyncio.Task[None], lane: str) -> None:
        work = self._tasks.pop(task)
        self._lanes.done(lane)
        if not task.cancelled() and task.exception() is None:
            tracker = self._trackers.get(work.partition)
            if tracker is not None:
                tracker.finish(work.record.offset, work.epoch)
        self._start_what_may()

    # -- committing

    async def _commit_now_and_then(self) -> None:
        while True:
            await asyncio.sleep(COMMIT_SECONDS)
            await self._commit()

    async def _commit(self) -> None:
        """Commits what changed. A commit that fails loses nothing: the same or more is committed next time."""
        async with self._committing:
            owned = self._consumer.assignment()
            points = {
                partition: tracker.commit_point()
                for partition, tracker in self._trackers.items()
                if tracker.dirty and partition in owned
            }
            if not points:
                return
            offsets = {partition: OffsetAndMetadata(p.offset, p.metadata) for partition, p in points.items()}
            try:
                async with asyncio.timeout(COMMIT_TIMEOUT):
                    await self._consumer.commit(offsets)
            except (CommitFailedError, IllegalStateError, KafkaError, TimeoutError) as error:
                log.warning("kafka.commit_failed", group=self._group, error=type(error).__name__)
                return
            for partition, point in points.items():
                tracker = self._trackers.get(partition)
                if tracker is not None:
                    tracker.committed(point)

    # -- rebalances and the end

    async def revoked(self) -> None:
        """All partitions go: finish what can be finished within the deadline, commit it, forget the rest."""
        self._open.clear()
        try:
            await self._drain("rebalance")
        finally:
            self._epoch += 1
            self._trackers.clear()
            self._paused.clear()

    async def assigned(self, partitions: Sequence[TopicPartition]) -> None:
        """Reads what was committed, with the bitmaps, and opens the gate."""
        restored = await self._committed(partitions) if partitions else {}
        self._epoch += 1
        self._trackers = {
            partition: PartitionTracker(point.offset, self._epoch, _done(point))
            for partition, point in restored.items()
            if point.offset >= 0
        }
        self._paused.clear()
        self._full = False
        self._draining = False
        self._rewind()
        self._joined = True
        self._open.set()
        log.info("kafka.assigned", group=self._group, partitions=len(partitions))

    async def _committed(self, partitions: Sequence[TopicPartition]) -> Mapping[TopicPartition, OffsetAndMetadata]:
        """What the group has committed. aiokafka's consumer returns the offset only, its admin client the metadata too."""
        admin = AIOKafkaAdminClient(**connection_arguments(self._settings, self._group))
        try:
            async with asyncio.timeout(COMMIT_TIMEOUT):
                await admin.start()
                found = await admin.list_consumer_group_offsets(self._group, partitions=list(partitions))
                return {partition: found[partition] for partition in partitions if partition in found}
        finally:
            with suppress(TimeoutError, KafkaError):
                async with asyncio.timeout(STOP_TIMEOUT):
                    await admin.close()

    async def _drain(self, why: str) -> None:
        """Starts nothing new, waits for what runs, cancels what does not end in time, and commits."""
        self._draining = True
        self._lanes.drop(lambda _: True)
        if self._tasks:
            await asyncio.wait(self._tasks, timeout=self._settings.drain_deadline)
        abandoned = list(self._tasks)
        for task in abandoned:
            task.cancel()
        if abandoned:
            log.warning("kafka.abandoned", group=self._group, why=why, records=len(abandoned))
            await asyncio.wait(abandoned, timeout=STOP_TIMEOUT)
        await self._commit()

    async def _close(self, committer: asyncio.Task[None] | None) -> None:
        if committer is not None:
            committer.cancel()
            with suppress(asyncio.CancelledError):
                await committer
        for task in list(self._tasks):
            task.cancel()
        with suppress(TimeoutError, KafkaError):
            async with asyncio.timeout(STOP_TIMEOUT):
                await self._consumer.stop()


class _Rebalances(ConsumerRebalanceListener):  # type: ignore[misc]  # aiokafka publishes no types
    """Hands aiokafka's callbacks to the consumer; it awaits them while heartbeats go on."""

    def __init__(self, consumer: ConcurrentConsumer) -> None:
        self._consumer = consumer

    async def on_partitions_revoked(self, revoked: Sequence[TopicPartition]) -> None:
        """Called before partitions go; also before the first assignment, with none."""
        if revoked:
            await self._consumer.revoked()

    async def on_partitions_assigned(self, assigned: Sequence[TopicPartition]) -> None:
        """Called when partitions have come."""
        await self._consumer.assigned(sorted(assigned))


def _record(message: Any) -> Record:
    return Record(
        topic=message.topic,
        partition=message.partition,
        offset=message.offset,
        timestamp_ms=message.timestamp,
        key=message.key,
        value=message.value,
        headers=tuple((name, value if value is not None else b"") for name, value in message.headers),
    )


def _done(point: OffsetAndMetadata) -> int:
    """The bitmap of a commit; unreadable means replay, never failure."""
    try:
        return decode(point.metadata, point.offset)
    except UnreadableBitmap as error:
        log.warning("kafka.bitmap_unreadable", error=str(error))
        return 0
