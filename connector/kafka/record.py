"""A record as handlers see it: plain bytes, no client objects; and the ways a handler may be done with it."""

import asyncio
from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from typing import NoReturn

from connector.kafka.headers import Headers


@dataclass(frozen=True, slots=True)
class Record:
    """One Kafka record.

    Attributes:
        topic: Name on the broker, with prefix.
        timestamp_ms: Epoch milliseconds, as the producer or the broker set it.
        key: None when there is none; None as value is a tombstone.
    """

    topic: str
    partition: int
    offset: int
    timestamp_ms: int
    key: bytes | None
    value: bytes | None
    headers: Headers

    @property
    def size(self) -> int:
        """Bytes of key, value and headers: what holding it costs."""
        headers = sum(len(name) + len(value) for name, value in self.headers)
        return len(self.key or b"") + len(self.value or b"") + headers


Handler = Callable[[Record], Awaitable[None]]
"""Returning completes the record. Raising is a defect. A cancelled handler leaves the record to be read again."""

OnDefect = Callable[[Record, Exception], Awaitable[None]]
"""Puts a record whose handler raised where nothing is lost (dead letters). Returning completes the record."""


async def leave_unfinished() -> NoReturn:
    """Ends the current handler as one that was cancelled: its record is not done with and will be read again.

    Merely raising CancelledError would look like a defect of the handler, and bury the record: nobody had cancelled it.
    """
    task = asyncio.current_task()
    if task is not None:
        task.cancel()
    await asyncio.sleep(0)
    raise asyncio.CancelledError
