"""A record as handlers see it: plain bytes, no client objects; and the ways a handler may be done with it."""

import asyncio
from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from itertools import chain
from typing import Any, NamedTuple, NoReturn

from connector.kafka.headers import Headers, due_at_ms


class Record(NamedTuple):
    """One Kafka record; a tuple, because a frozen dataclass takes four times as long to make, for every record.

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


def received(message: Any) -> tuple[Record, int]:
    """The client's message without the client; and the bytes of key, value and headers: what holding it costs."""
    headers, size = _measured(message.headers)
    record = Record(
        message.topic, message.partition, message.offset, message.timestamp, message.key, message.value, headers
    )
    return record, size + len(record.key or b"") + len(record.value or b"")


def _measured(headers: Headers) -> tuple[Headers, int]:
    """The headers and their size; one whose value is null, which is allowed and rare, with an empty one.

    One look at them for both: eight headers are a large part of what a record costs the consumer.
    """
    try:
        return headers, _bytes(headers)
    except TypeError:  # null has no length
        whole = tuple((name, value or b"") for name, value in headers)
        return whole, _bytes(whole)


def _bytes(headers: Headers) -> int:
    return sum(map(len, chain.from_iterable(headers)))


Handler = Callable[[Record], Awaitable[None]]
"""Returning completes the record. Raising is a defect. A cancelled handler leaves the record to be read again."""

OnDefect = Callable[[Record, Exception], Awaitable[None]]
"""Puts a record whose handler raised where nothing is lost (dead letters). Returning completes the record."""

PutAside = Callable[[Record], Awaitable[None]]
"""Writes a record to another place (a delay topic). Returning, when Kafka has acknowledged it, completes the record."""


def due_at_header(record: Record) -> float | None:
    """What the header `due-at` says, in epoch seconds; None when it is missing or nobody can read it."""
    due = due_at_ms(record.headers)
    return None if due is None else due / 1_000


@dataclass(frozen=True)
class Delay:
    """What makes a topic one whose records are to be handled later.

    Attributes:
        seconds: How long its records wait at most. One that is due later holds up its partition for so long only, and
            is put back then.
        put_back: Writes a record to the end of a delay topic again, unchanged.
        due_at: Epoch seconds before which a record is not to be handled; None when it is due at once.
    """

    seconds: float
    put_back: PutAside
    due_at: Callable[[Record], float | None] = due_at_header


async def leave_unfinished() -> NoReturn:
    """Ends the current handler as one that was cancelled: its record is not done with and will be read again.

    Merely raising CancelledError would look like a defect of the handler, and bury the record: nobody had cancelled it.
    """
    task = asyncio.current_task()
    if task is not None:
        task.cancel()
    await asyncio.sleep(0)
    raise asyncio.CancelledError
