"""Writing to Kafka until it is acknowledged: a produce that fails holds the record it speaks of, nothing is skipped."""

import asyncio
from collections.abc import Callable
from typing import Protocol

from connector.kafka.headers import Headers
from connector.kafka.producer import ProduceError, RecordTooLarge
from connector.telemetry import Telemetry
from services.uploader.facts import ProduceHeld
from services.uploader.retrying import backoff

BASE, CAP = 0.5, 10.0
"""Seconds between tries. There is no last one: giving up would lose an outcome, and the offset waits meanwhile."""


class Producer(Protocol):
    """What writes bytes to a topic; `connector.kafka.producer.EventProducer` is the real one."""

    async def send(self, topic: str, key: bytes | None, value: bytes | None, headers: Headers) -> None:
        """Returns when acknowledged; raises `ProduceError` when that takes too long."""
        ...


class PatientProducer:
    """A producer that does not give up. Cancelled when the process stops: then the record is read again."""

    def __init__(self, producer: Producer, telemetry: Telemetry, chance: Callable[[], float]) -> None:
        self._producer = producer
        self._telemetry = telemetry
        self._chance = chance

    async def send(self, topic: str, key: bytes | None, value: bytes | None, headers: Headers) -> None:
        """Returns when Kafka has acknowledged.

        Raises:
            RecordTooLarge: Trying again cannot help.
        """
        failures = 0
        while True:
            try:
                await self._producer.send(topic, key, value, headers)
            except RecordTooLarge:
                raise
            except ProduceError as error:
                failures += 1
                seconds = backoff(BASE, CAP, failures, self._chance())
                self._telemetry.emit(ProduceHeld(topic, failures, round(seconds, 2), str(error)))
                await asyncio.sleep(seconds)
            else:
                return
