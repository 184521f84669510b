"""Record headers: the CloudEvents envelope (binary mode), the trace, and what a dead letter tells about its past.

Pure. All values are UTF-8 text. Headers that come from Kafka are untrusted: they are length-capped when read.
"""

import hashlib
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Protocol
from uuid import UUID, uuid5

Headers = tuple[tuple[str, bytes], ...]

NAMESPACE = UUID("6f2cfa1e-52d5-5a0f-9d0b-1f3f0c5b1e11")
"""Namespace of deterministic event ids (CloudEvents `id`): the same fact written twice has the same id."""

MAX_HEADER = 4_096
MAX_MESSAGE = 512
MAX_DIGITS = 15
TRACEPARENT = re.compile(r"^00-[0-9a-f]{32}-[0-9a-f]{16}-[0-9a-f]{2}$")


def event_id(event_type: str, *identity: object) -> str:
    """The deterministic id of a fact: its type and what identifies it."""
    return str(uuid5(NAMESPACE, "/".join([event_type, *map(str, identity)])))


@dataclass(frozen=True)
class Envelope:
    """What a reader learns without opening the value."""

    id: str
    type: str
    source: str
    subject: str
    time: str
    dataschema: str
    traceparent: str | None = None

    def headers(self) -> Headers:
        """As Kafka headers, CloudEvents 1.0 binary mode."""
        pairs = [
            ("ce_specversion", "1.0"),
            ("ce_id", self.id),
            ("ce_source", self.source),
            ("ce_subject", self.subject),
            ("ce_time", self.time),
            ("ce_dataschema", self.dataschema),
            ("content-type", "application/json"),
            ("ce_type", self.type),  # asked for of every record: readers look from the end
        ]
        if self.traceparent is not None:
            pairs.append(("traceparent", self.traceparent))
        return tuple((name, value.encode()) for name, value in pairs)


def text(headers: Sequence[tuple[str, bytes]], name: str) -> str | None:
    """The last header called *name* as text, or None when absent, too long or not UTF-8."""
    for key, value in reversed(headers):
        if key == name:
            return _text(value)
    return None


def _text(value: bytes) -> str | None:
    if len(value) > MAX_HEADER:
        return None
    try:
        return value.decode()
    except UnicodeDecodeError:
        return None


def traceparent(headers: Sequence[tuple[str, bytes]]) -> str | None:
    """The W3C trace context, when there is a well-formed one."""
    value = text(headers, "traceparent")
    return value if value is not None and TRACEPARENT.match(value) else None


def child_traceparent(parent: str | None, trace_seed: str, span_seed: str) -> str:
    """A trace context for work that follows from *parent*: same trace, a span derived from *span_seed*.

    Without a parent the trace id is derived from *trace_seed*, so that a delivery has one trace even across restarts.
    """
    trace = parent.split("-")[1] if parent else hashlib.sha256(trace_seed.encode()).hexdigest()[:32]
    return f"00-{trace}-{hashlib.sha256(span_seed.encode()).hexdigest()[:16]}-01"


class KafkaRecord(Protocol):
    """A record as it came, whichever client read it."""

    @property
    def topic(self) -> str:
        """Full name of the topic."""

    @property
    def partition(self) -> int:
        """Partition of the topic."""

    @property
    def offset(self) -> int:
        """Offset in the partition."""

    @property
    def timestamp_ms(self) -> int:
        """When it was written, in milliseconds since 1970."""

    @property
    def key(self) -> bytes | None:
        """The key's bytes."""

    @property
    def value(self) -> bytes | None:
        """The value's bytes."""

    @property
    def headers(self) -> Headers:
        """The headers in their order."""


@dataclass(frozen=True)
class Failure:
    """Why a record goes to a delay or dead-letter topic. One that was only asked to wait has not failed yet."""

    kind: str
    code: str
    message: str
    attempt: int
    first_failure_at_ms: int | None
    last_failure_at_ms: int
    due_at_ms: int | None = None

    @property
    def fingerprint(self) -> str:
        """Groups dead letters of one cause: kind and code, not the message (it may carry ids)."""
        return hashlib.sha256(f"{self.kind}/{self.code}".encode()).hexdigest()[:16]


FIRST_HOP = ("origin-topic", "origin-partition", "origin-offset", "origin-timestamp", "first-failure-at")
"""Written on the first hop and never overwritten: they lead back to the record that upstream wrote."""

VALUE_OMITTED = "value-omitted"

REWRITTEN = (
    "attempt",
    "last-failure-at",
    "due-at",
    "failure-kind",
    "error-code",
    "error-message",
    "error-fingerprint",
)


def failure_headers(record: KafkaRecord, failure: Failure) -> Headers:
    """The headers of a record on its way to a delay or dead-letter topic: the original ones, and its past."""
    first: Mapping[str, str | None] = {
        "origin-topic": record.topic,
        "origin-partition": str(record.partition),
        "origin-offset": str(record.offset),
        "origin-timestamp": str(record.timestamp_ms),
        "first-failure-at": None if failure.first_failure_at_ms is None else str(failure.first_failure_at_ms),
    }
    known = {name for name, _ in record.headers}
    latest: Mapping[str, str | None] = {
        "attempt": str(failure.attempt),
        "last-failure-at": str(failure.last_failure_at_ms),
        "due-at": None if failure.due_at_ms is None else str(failure.due_at_ms),
        "failure-kind": failure.kind,
        "error-code": failure.code,
        "error-message": failure.message[:MAX_MESSAGE],
        "error-fingerprint": failure.fingerprint,
    }
    kept = tuple(pair for pair in record.headers if pair[0] not in REWRITTEN)
    added = {name: value for name, value in first.items() if name not in known} | dict(latest)
    return kept + tuple((name, value.encode()) for name, value in added.items() if value is not None)


def without_value(record: KafkaRecord, headers: Headers) -> Headers:
    """The headers of a letter whose value is left out: at Kafka's limit a record does not fit beside its reasons.

    Holding it for ever would stop its partition; `origin-*` leads to the record that has the value.
    """
    return (*headers, (VALUE_OMITTED, str(len(record.value or b"")).encode()))


@dataclass(frozen=True)
class Past:
    """What a record's headers tell of its earlier hops; the defaults are those of a record on its first.

    `attempts` counts the failed ones, `kind` is the last failure's.
    """

    attempts: int = 0
    first_failure_at_ms: int | None = None
    kind: str | None = None


def past(headers: Headers) -> Past:
    """The past of a record. What cannot be read counts as not said: the record then begins anew."""
    return Past(_number(headers, "attempt") or 0, _number(headers, "first-failure-at"), text(headers, "failure-kind"))


def due_at_ms(headers: Headers) -> int | None:
    """When a record in a delay topic may be tried, epoch milliseconds; None when it may be at once."""
    return _number(headers, "due-at")


def _number(headers: Headers, name: str) -> int | None:
    written = text(headers, name)
    return int(written) if written and len(written) <= MAX_DIGITS and written.isascii() and written.isdigit() else None
