"""Events to bytes and back. A record that is not the event it should be becomes a `PoisonEvent`, never a crash.

Pure: the time is an argument.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import TypeVar

import orjson
from pydantic import ValidationError

from connector.kafka.headers import Envelope, Headers, event_id, text
from schemas.events import Event
from schemas.registry import EventType

AnyEvent = TypeVar("AnyEvent", bound=Event)

MAX_VALUE = 1_000_000
"""Bytes of a value we read or write: Kafka's default limit for a record is 1 MiB."""


class PoisonEvent(Exception):
    """Raised when a record's bytes are not the event expected; the text names what and where, never the value."""

    def __init__(self, code: str, message: str) -> None:
        super().__init__(message)
        self.code = code


@dataclass(frozen=True)
class Encoded:
    """An event ready to be produced."""

    key: bytes
    value: bytes
    headers: Headers


def encode(
    kind: EventType,
    event: Event,
    *,
    key: str,
    identity: tuple[object, ...],
    source: str,
    subject: str,
    now: datetime,
    traceparent: str | None = None,
) -> Encoded:
    """The record of *event*: JSON value, CloudEvents headers, deterministic `ce_id` from *identity*."""
    envelope = Envelope(
        id=event_id(kind.ce_type, *identity),
        type=kind.ce_type,
        source=source,
        subject=subject,
        time=now.isoformat(),
        dataschema=kind.dataschema,
        traceparent=traceparent,
    )
    value = orjson.dumps(event.model_dump(mode="json", exclude_none=True))
    return Encoded(key.encode(), value, envelope.headers())


def decode(
    kind: EventType, model: type[AnyEvent], value: bytes | None, headers: Sequence[tuple[str, bytes]]
) -> AnyEvent:
    """The event in a record's *value*.

    A producer that sets no CloudEvents headers is accepted (upstream may be simple); one that names another type is
    not.

    Raises:
        PoisonEvent: Empty or oversized value, another `ce_type`, not JSON, or not the schema.
    """
    if not value:
        raise PoisonEvent("empty_value", f"the record has no value; a {kind.ce_type} event is expected")
    if len(value) > MAX_VALUE:
        raise PoisonEvent("oversized", f"the value has {len(value)} bytes, at most {MAX_VALUE} are read")
    named = text(headers, "ce_type")
    if named is not None and named != kind.ce_type:
        raise PoisonEvent("wrong_type", f"ce_type is {named[:100]!r}, {kind.ce_type} is expected")
    try:
        document = orjson.loads(value)
    except orjson.JSONDecodeError:
        raise PoisonEvent("not_json", "the value is not JSON") from None
    try:
        return model.model_validate(document)
    except ValidationError as error:
        problems = "; ".join(
            f"{'.'.join(map(str, problem['loc'])) or 'event'}: {problem['msg']}"
            for problem in error.errors(include_input=False, include_url=False, include_context=False)[:5]
        )
        raise PoisonEvent("schema", f"not a valid {kind.ce_type}: {problems}") from None
