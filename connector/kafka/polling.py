"""The poll loop: takes records for ever, hands them to the workers, and stops fetching what may not be read now.

It never waits for a handler, and it polls also when everything is paused and when no partition is ours: a member that
does not poll is thrown out of its group.
"""

import asyncio
import time
from collections.abc import Callable, Mapping, Sequence
from contextlib import suppress
from typing import Any

from aiokafka.errors import KafkaError
from aiokafka.structs import TopicPartition

from connector.kafka.assignment import Assignment, Assignments
from connector.kafka.consumer_config import Tuning
from connector.kafka.consumer_facts import (
    ConsumerObserver,
    NotDue,
    PartitionStanding,
    Paused,
    PauseReason,
    Polled,
    Resumed,
    Standing,
)
from connector.kafka.holds import Holds, held_until, is_due
from connector.kafka.offsets import PartitionTracker
from connector.kafka.pressure import Load, Pressure
from connector.kafka.record import Delay, Record, received
from connector.kafka.workers import Flight, Workers


class Poller:
    """Reads for one member.

    Args:
        client: The consumer, started before `run`.
        assignments: Whose partitions are read.
        workers: Who gets the records.
        holds: What is not read though there is room.
        lane_of: The lane of a record.
        delay: When the records of a delay topic may be handled; None for a topic without delay.
        clock: Monotonic seconds.
        now: Epoch seconds.
    """

    def __init__(
        self,
        client: Any,
        assignments: Assignments,
        workers: Workers,
        holds: Holds[TopicPartition],
        *,
        lane_of: Callable[[Record], str],
        delay: Delay | None,
        tuning: Tuning,
        observer: ConsumerObserver,
        clock: Callable[[], float],
        now: Callable[[], float] = time.time,
    ) -> None:
        self._client = client
        self._assignments = assignments
        self._workers = workers
        self._holds = holds
        self._lane_of = lane_of
        self._delay = delay
        self._tuning = tuning
        self._observer = observer
        self._clock = clock
        self._now = now
        self._pressure: Pressure[TopicPartition] = Pressure(tuning.marks)
        self._paused_for: Mapping[PauseReason, int] = {}
        self.last_poll_at: float | None = None

    async def run(self) -> None:
        """Takes records for ever."""
        look_at = self._clock()
        while True:
            batches = await self._client.getmany(timeout_ms=self._patience_ms(), max_records=self._tuning.poll_records)
            self.last_poll_at = self._clock()
            assignment = self._assignments.current
            if batches:
                await assignment.settled.wait()  # records arrive before on_partitions_assigned has ended (aiokafka 738)
                if assignment is self._assignments.current and assignment.open:
                    self._admit(batches)
            self._press()
            if self._clock() >= look_at:
                look_at = self._clock() + self._tuning.commit_every
                await self._observe_positions()
                self._tell_standing()
            await asyncio.sleep(0)  # getmany does not yield while it has records

    def _patience_ms(self) -> int:
        """How long one poll waits: not beyond the moment when something held is due."""
        due = self._holds.next_due()
        wait = self._tuning.poll if due is None else min(self._tuning.poll, due - self._now())
        return max(int(wait * 1_000), 1)

    # Records

    def _admit(self, batches: Mapping[TopicPartition, Sequence[Any]]) -> None:
        self._observer(Polled(sum(map(len, batches.values()))))
        for partition, batch in batches.items():
            tracker = self._assignments.tracker(partition, batch[0].offset)
            for message in batch:
                if self._delay is not None and self._waits(partition, message, self._delay):
                    break
                if tracker.admit(message.offset, message.timestamp):
                    self._workers.submit(self._flight(message, partition, tracker.epoch))
        self._workers.dispatch()

    def _waits(self, partition: TopicPartition, message: Any, delay: Delay) -> bool:
        """Whether the partition waits for this record: then it is read again, from this record on, when it is due.

        The record is not kept here meanwhile: an idle partition's base moves to the client's position, which would be
        behind it.
        """
        now, written = self._now(), message.timestamp / 1_000
        due = _due(received(message)[0], delay)
        until = held_until(due, written=written, delay=delay.seconds, now=now)
        if until is None:
            return False
        self._client.seek(partition, message.offset)
        self._holds.hold(partition, until, written=written)
        self._observer(NotDue(partition, message.offset, until - now))
        return True

    def _flight(self, message: Any, partition: TopicPartition, epoch: int) -> Flight:
        record, size = received(message)
        early = self._delay is not None and not is_due(_due(record, self._delay), now=self._now())
        return Flight(record, partition, epoch, self._lane(record), size, early)

    def _lane(self, record: Record) -> str:
        """A record without a lane goes to its handler all the same: if it ended the loop, it would do so for ever."""
        try:
            return self._lane_of(record)
        except Exception:  # noqa: BLE001 -- whatever is wrong with the record, its handler meets it too and reports it
            return f"{record.topic}/{record.partition}"

    # Partitions

    def _press(self) -> None:
        """Pauses and resumes. Compared with what the client says: a rebalance forgets what was paused."""
        assignment = self._assignments.current
        if not assignment.open:
            return
        loads = {name: Load(one.in_flight, one.spread) for name, one in assignment.trackers.items()}
        full = self._pressure.update(loads, size=self._workers.size)
        not_due = self._holds.not_due(assignment.partitions, self._now())
        held = frozenset[TopicPartition]() if self._holds.line is None else assignment.partitions
        self._paused_for = {
            PauseReason.FULL: len(full),
            PauseReason.NOT_DUE: len(not_due),
            PauseReason.LINE_HELD: len(held),
        }
        wanted = (full | not_due | held) & self._client.assignment()
        paused = frozenset(self._client.paused())
        if more := wanted - paused:
            self._client.pause(*more)
            self._observer(Paused(more))
        if fewer := paused - wanted:
            self._client.resume(*fewer)
            self._observer(Resumed(fewer))

    async def _observe_positions(self) -> None:
        """Moves the base over transaction markers and other gaps at the end of idle partitions."""
        assignment = self._assignments.current
        if not assignment.open:
            return  # the client's position may be ahead of what was admitted
        idle = [(name, tracker) for name, tracker in assignment.trackers.items() if not tracker.in_flight]
        with suppress(TimeoutError, KafkaError):
            async with asyncio.timeout(self._tuning.poll):
                for partition, tracker in idle:
                    tracker.observed_position(await self._client.position(partition))

    def _tell_standing(self) -> None:
        assignment: Assignment = self._assignments.current
        trackers = assignment.trackers if assignment.open else {}
        self._observer(
            Standing(
                {name: self._standing(name, tracker) for name, tracker in trackers.items()},
                self._paused_for,
                self._workers.in_flight,
                self._workers.waiting,
            )
        )

    def _standing(self, name: TopicPartition, tracker: PartitionTracker) -> PartitionStanding:
        oldest_ms = tracker.head_written_ms
        if oldest_ms is None and (held := self._holds.written(name)) is not None:
            oldest_ms = round(held * 1_000)
        end = self._client.highwater(name)
        lag = 0 if end is None else max(end - tracker.base, 0)
        return PartitionStanding(tracker.in_flight, tracker.spread, oldest_ms, lag)


def _due(record: Record, delay: Delay) -> float | None:
    """A record whose time cannot be told is due: its handler meets what is wrong with it and reports it."""
    try:
        return delay.due_at(record)
    except Exception:  # noqa: BLE001 -- as for lanes: no record may end the loop
        return None
