"""Reading a topic that every process has to hear whole: no group, no offsets, from now on."""

import asyncio
from collections.abc import Callable
from contextlib import suppress

import structlog
from aiokafka import AIOKafkaConsumer
from aiokafka.errors import KafkaError

from connector.kafka.connection import connection_arguments
from connector.kafka.record import Record, received
from connector.runtime.settings import KafkaSettings

log = structlog.get_logger()

POLL_MS = 500
RETRY_AFTER = 2.0
STOP_TIMEOUT = 5.0


class Broadcast:
    """Gives each record of *topic* (name on the broker) that is written from now on to *handle*.

    A group per process would leave its offsets on the broker for weeks after every restart. What is written while the
    broker cannot be reached is not heard: whoever listens here must be able to do without.
    """

    def __init__(self, settings: KafkaSettings, topic: str, client_id: str, handle: Callable[[Record], None]) -> None:
        self._settings = settings
        self._topic = topic
        self._client_id = client_id
        self._handle = handle

    async def run(self, stop: asyncio.Event) -> None:
        """Listens until *stop*; a broken connection is made anew."""
        while not stop.is_set():
            try:
                await self._listen(stop)
            except (KafkaError, TimeoutError) as error:
                log.warning("kafka.broadcast_interrupted", topic=self._topic, error=type(error).__name__)
                with suppress(TimeoutError):
                    async with asyncio.timeout(RETRY_AFTER):
                        await stop.wait()

    async def _listen(self, stop: asyncio.Event) -> None:
        consumer = AIOKafkaConsumer(
            self._topic,
            **connection_arguments(self._settings, self._client_id),
            group_id=None,
            enable_auto_commit=False,
            auto_offset_reset="latest",
        )
        try:
            async with asyncio.timeout(self._settings.request_timeout):
                await consumer.start()
            while not stop.is_set():
                for batch in (await consumer.getmany(timeout_ms=POLL_MS)).values():
                    for message in batch:
                        self._handle(received(message)[0])
        finally:
            with suppress(TimeoutError, KafkaError):
                async with asyncio.timeout(STOP_TIMEOUT):
                    await consumer.stop()
