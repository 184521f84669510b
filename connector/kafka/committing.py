"""Writing offsets: bounded, and with each of Kafka's refusals answered by what it means."""

import asyncio
import time
from collections.abc import Mapping
from enum import Enum, auto
from typing import Any

from aiokafka.errors import (
    CommitFailedError,
    IllegalStateError,
    InvalidCommitOffsetSizeError,
    OffsetMetadataTooLargeError,
    RebalanceInProgressError,
)
from aiokafka.structs import TopicPartition

from connector.kafka.consumer_facts import BitmapIgnored, CommitFailed, Committed, ConsumerObserver
from connector.kafka.offsets import CommitPoint, PartitionTracker

TOO_LARGE = (OffsetMetadataTooLargeError, InvalidCommitOffsetSizeError)


class CommitResult(Enum):
    """How a commit ended."""

    DONE = auto()
    """Written, or nothing to write."""
    LATER = auto()
    """Not written; what is dirty stays dirty and the next commit carries it."""
    MEMBERSHIP_LOST = auto()
    """The group gave the partitions to others: not ours to commit, now or later."""


class Committer:
    """Commits what trackers say for one client.

    Periodic commits and the one on revocation exclude each other: a commit that is retried inside the client carries
    the generation of the moment it is sent, so one begun before a rebalance and sent after it would overwrite the next
    owner's offsets.
    """

    def __init__(self, client: Any, observer: ConsumerObserver) -> None:
        self._client = client
        self._observer = observer
        self._lock = asyncio.Lock()
        self._bitmaps = True

    async def commit(self, trackers: Mapping[TopicPartition, PartitionTracker], *, within: float) -> CommitResult:
        """Commits the dirty ones among *trackers* within so many seconds.

        Raises:
            KafkaError: Refused for a reason that trying again does not change (authorisation).
        """
        began = time.monotonic()
        try:
            async with asyncio.timeout(within), self._lock:
                return await self._commit(trackers, began)
        except TimeoutError:
            self._observer(CommitFailed("TimeoutError", time.monotonic() - began))
            return CommitResult.LATER

    async def _commit(self, trackers: Mapping[TopicPartition, PartitionTracker], began: float) -> CommitResult:
        assigned = self._client.assignment()
        points = {
            partition: tracker.commit_point()
            for partition, tracker in trackers.items()
            if tracker.dirty and partition in assigned
        }
        if not points:
            return CommitResult.DONE
        try:
            await self._write(points)
        except (CommitFailedError, IllegalStateError) as error:
            self._observer(CommitFailed(type(error.__cause__ or error).__name__, time.monotonic() - began))
            return _meaning(error)
        for partition, point in points.items():
            trackers[partition].committed(point)
        self._observer(
            Committed(
                {partition: point.offset for partition, point in points.items()},
                max(len(point.metadata) for point in points.values()),
                time.monotonic() - began,
            )
        )
        return CommitResult.DONE

    async def _write(self, points: Mapping[TopicPartition, CommitPoint]) -> None:
        """Writes with bitmaps, unless this broker's limit forbids them: the offset alone is enough to be right."""
        if self._bitmaps:
            try:
                await self._client.commit({name: (point.offset, point.metadata) for name, point in points.items()})
            except TOO_LARGE as error:
                self._bitmaps = False
                self._observer(BitmapIgnored(None, f"the broker refuses its size: {type(error).__name__}"))
            else:
                return
        await self._client.commit({name: (point.offset, "") for name, point in points.items()})


def _meaning(error: CommitFailedError | IllegalStateError) -> CommitResult:
    """A rebalance that is under way will ask for a last commit, and an unassigned partition for none: both go on."""
    if isinstance(error, CommitFailedError) and not isinstance(error.__cause__, RebalanceInProgressError):
        return CommitResult.MEMBERSHIP_LOST
    return CommitResult.LATER
