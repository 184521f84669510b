"""Reading the delay topics: each record waits until it is due, then takes the road of every other chunk.

A tier is read by a group of its own, so that what waits there does not disturb the main line. Its records are written
in the order in which they become due (nearly: a wait that Meta asked for may be shorter than its tier's), so those that
hold a place while they wait are the next ones, and the partition is read no further than that.
"""

import asyncio
import time
from collections.abc import Callable

from connector.kafka.consumer import ConcurrentConsumer
from connector.kafka.headers import due_at_ms
from connector.kafka.record import Handler, OnDefect, Record
from connector.kafka.topics import CHUNK_RETRIES
from connector.runtime.settings import KafkaSettings
from services.uploader.stopping import pause

WAITING = 1_024
"""Records of a tier in hand that are not due yet; they are references of a few hundred bytes."""


class DueHandler:
    """Holds a record until it is due, then hands it on, at most *concurrency* at once."""

    def __init__(
        self,
        handler: Handler,
        stop: asyncio.Event,
        *,
        concurrency: int,
        now: Callable[[], float] = time.time,
    ) -> None:
        self._handler = handler
        self._stop = stop
        self._places = asyncio.Semaphore(concurrency)
        self._now = now

    async def handle(self, record: Record) -> None:
        """Returns when the record is done with for good.

        Raises:
            CancelledError: The process is to stop first; the record will be read again, and is due when it was.
        """
        due = due_at_ms(record.headers)
        seconds = 0.0 if due is None else due / 1_000 - self._now()
        if seconds > 0:
            await pause(self._stop, seconds)
        async with self._places:
            await self._handler(record)


def tier_consumers(
    settings: KafkaSettings,
    *,
    group: str,
    handler: Handler,
    on_defect: OnDefect,
    lane_of: Callable[[Record], str],
    stop: asyncio.Event,
    concurrency: int,
) -> dict[str, ConcurrentConsumer]:
    """A consumer for each delay topic, by the tier's name; *concurrency* records of each are worked on at once."""
    consumers = {}
    for topic in CHUNK_RETRIES:
        tier = topic.name.rpartition(".")[2]
        consumers[tier] = ConcurrentConsumer(
            settings,
            topics=[topic.full_name(settings.topic_prefix)],
            group=f"{group}-retry-{tier}",
            handler=DueHandler(handler, stop, concurrency=concurrency).handle,
            lane_of=lane_of,
            lane_concurrency=WAITING,
            concurrency=WAITING,
            on_defect=on_defect,
        )
    return consumers
