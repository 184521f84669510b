"""The partitions a member reads between two rebalances, and what is known of each."""

import asyncio
import itertools
from collections.abc import Mapping
from dataclasses import dataclass, field

from aiokafka.structs import OffsetAndMetadata, TopicPartition

from connector.kafka.bitmap import UnreadableBitmap, decode
from connector.kafka.consumer_facts import BitmapIgnored, ConsumerObserver, Rewound
from connector.kafka.offsets import PartitionTracker


@dataclass
class Assignment:
    """One assignment. A new one begins when partitions are taken away; who holds an old one has stale results."""

    trackers: dict[TopicPartition, PartitionTracker] = field(default_factory=dict)
    partitions: frozenset[TopicPartition] = frozenset()
    open: bool = False
    settled: asyncio.Event = field(default_factory=asyncio.Event)
    """Set when records may be taken, and again (closed) when they no longer may: whoever waits must look again."""


class Assignments:
    """The current assignment, and the epochs of its trackers: each tracker has one that no other ever had."""

    def __init__(self, observer: ConsumerObserver) -> None:
        self._observer = observer
        self._epochs = itertools.count(1)
        self.current = Assignment()

    def open(self, partitions: frozenset[TopicPartition], committed: Mapping[TopicPartition, OffsetAndMetadata]) -> int:
        """Begins reading *partitions* from what was *committed*; how many records are finished beyond that."""
        assignment = self.current
        assignment.trackers.update({name: self._restored(name, found) for name, found in committed.items()})
        assignment.partitions = partitions
        assignment.open = True
        assignment.settled.set()
        return sum(tracker.done_above_base for tracker in assignment.trackers.values())

    def forget(self) -> None:
        """From here on results of the old assignment are stale; whoever waits for it is woken to find out."""
        old, self.current = self.current, Assignment()
        old.open = False
        old.settled.set()

    def tracker(self, partition: TopicPartition, first: int) -> PartitionTracker:
        """The partition's tracker, made anew when the log went back behind what was read.

        The client never delivers an offset twice by itself. When it does, the broker has reset it to the start of
        another log: counting on would skip the records of that log as finished.
        """
        tracker = self.current.trackers.get(partition)
        if tracker is not None and first < tracker.position:
            self._observer(Rewound(partition, tracker.position, first))
            tracker = None
        if tracker is None:
            tracker = self.current.trackers[partition] = PartitionTracker(first, next(self._epochs))
        return tracker

    def _restored(self, partition: TopicPartition, committed: OffsetAndMetadata) -> PartitionTracker:
        try:
            done = decode(committed.metadata, committed.offset)
        except UnreadableBitmap as error:
            self._observer(BitmapIgnored(partition, str(error)))
            done = 0
        return PartitionTracker(committed.offset, next(self._epochs), done)
