"""What the uploader reports: one type per fact, with its log line and its metrics. No values, no tokens, no hashes."""

import logging
from dataclasses import dataclass
from typing import ClassVar

from connector.telemetry import Fact, Measure


@dataclass(frozen=True)
class ChunkDelivered(Fact):
    """Every record of a chunk is accounted for at Meta."""

    name: ClassVar[str] = "chunk.delivered"
    measures: ClassVar[tuple[Measure, ...]] = (
        Measure("fbc_uploader_chunks_delivered_total", "chunks delivered", labels=("operation",)),
        Measure("fbc_uploader_records_accepted_total", "records Meta accepted", value="accepted"),
        Measure("fbc_uploader_records_invalid_total", "records Meta refused one by one", value="invalid"),
        Measure("fbc_uploader_records_rejected_total", "records refused before they left", value="rejected"),
        Measure(
            "fbc_uploader_chunk_seconds", "from reading the event to its outcome", value="seconds", kind="histogram"
        ),
    )
    chunk: str
    operation: str
    accepted: int
    invalid: int
    rejected: int
    calls: int
    attempts: int
    seconds: float


@dataclass(frozen=True)
class ChunkWaits(Fact):
    """A chunk waits for a person; nothing of it is lost. Who has to be told is told once, by `scope.opened`."""

    name: ClassVar[str] = "chunk.waiting"
    measures: ClassVar[tuple[Measure, ...]] = (
        Measure("fbc_uploader_chunks_waiting_total", "chunks that began to wait", labels=("cause",)),
    )
    chunk: str
    cause: str
    scope: str


@dataclass(frozen=True)
class ScopeOpened(Fact):
    """A token, an ad account or an audience waits for a person; no call is made for it until somebody lets it go on."""

    name: ClassVar[str] = "scope.opened"
    level: ClassVar[int] = logging.WARNING
    measures: ClassVar[tuple[Measure, ...]] = (
        Measure("fbc_uploader_scopes_opened_total", "scopes that began to wait for a person", labels=("cause",)),
    )
    scope: str
    cause: str
    advice: str


@dataclass(frozen=True)
class ScopeReleased(Fact):
    """What waited for a person was mended, says auth: one call finds out."""

    name: ClassVar[str] = "scope.released"
    scope: str


@dataclass(frozen=True)
class ScopeClosed(Fact):
    """Meta serves a scope again that had waited for a person."""

    name: ClassVar[str] = "scope.closed"
    measures: ClassVar[tuple[Measure, ...]] = (
        Measure("fbc_uploader_scopes_closed_total", "scopes that work again after they had waited for a person"),
    )
    scope: str


@dataclass(frozen=True)
class ChunkDied(Fact):
    """A chunk was given up and lies in the dead-letter topic."""

    name: ClassVar[str] = "chunk.dead"
    level: ClassVar[int] = logging.ERROR
    measures: ClassVar[tuple[Measure, ...]] = (
        Measure("fbc_uploader_chunks_dead_total", "chunks given up", labels=("reason",)),
    )
    chunk: str
    reason: str
    code: str
    message: str


@dataclass(frozen=True)
class LineStopped(Fact):
    """Too much was given up: nothing new is begun. Look at the dead letters, mend the cause, restart the uploader."""

    name: ClassVar[str] = "line.stopped"
    level: ClassVar[int] = logging.CRITICAL
    measures: ClassVar[tuple[Measure, ...]] = (
        Measure("fbc_uploader_line_stops_total", "times the line stopped for too many dead letters"),
    )
    why: str


@dataclass(frozen=True)
class ChunkRetried(Fact):
    """An attempt failed and another one follows at once, in memory."""

    name: ClassVar[str] = "chunk.retried"
    level: ClassVar[int] = logging.WARNING
    measures: ClassVar[tuple[Measure, ...]] = (
        Measure("fbc_uploader_retries_total", "attempts that were repeated", labels=("reason",)),
    )
    chunk: str
    reason: str
    attempt: int
    seconds: float


@dataclass(frozen=True)
class ChunkPostponed(Fact):
    """A chunk goes on later, from a delay topic."""

    name: ClassVar[str] = "chunk.postponed"
    level: ClassVar[int] = logging.WARNING
    measures: ClassVar[tuple[Measure, ...]] = (
        Measure("fbc_uploader_postponed_total", "chunks put into a delay topic", labels=("tier", "kind")),
    )
    chunk: str
    tier: str
    kind: str
    code: str
    attempts: int
    seconds: float


@dataclass(frozen=True)
class ThrottleHeard(Fact):
    """Meta asked for a pause; the account (or everybody) gets it."""

    name: ClassVar[str] = "graph.throttled"
    level: ClassVar[int] = logging.WARNING
    measures: ClassVar[tuple[Measure, ...]] = (
        Measure("fbc_uploader_throttles_total", "throttle answers", labels=("scope",)),
        Measure("fbc_uploader_throttle_wait_seconds_total", "pauses Meta asked for", value="seconds"),
    )
    scope: str
    account: str
    seconds: float


@dataclass(frozen=True)
class CallMade(Fact):
    """One call to Meta and how it ended."""

    name: ClassVar[str] = "graph.called"
    level: ClassVar[int] = logging.DEBUG
    measures: ClassVar[tuple[Measure, ...]] = (
        Measure("fbc_uploader_graph_calls_total", "calls to Meta", labels=("operation", "result")),
        Measure("fbc_uploader_graph_seconds", "how long Meta took", value="seconds", kind="histogram"),
        Measure("fbc_uploader_graph_usage_percent", "largest usage percentage last heard", value="usage", kind="gauge"),
    )
    chunk: str
    operation: str
    result: str
    rows: int
    seconds: float
    usage: float
    request_id: str | None = None


@dataclass(frozen=True)
class UnknownAnswer(Fact):
    """Meta said something nobody has described yet: look it up and give it a row in the table of verdicts."""

    name: ClassVar[str] = "graph.unknown_answer"
    level: ClassVar[int] = logging.ERROR
    measures: ClassVar[tuple[Measure, ...]] = (
        Measure("fbc_uploader_unknown_answers_total", "answers without a verdict"),
    )
    chunk: str
    label: str


@dataclass(frozen=True)
class VersionWarning(Fact):
    """Meta served another version than asked for, or warns that ours ends: raise FBC_GRAPH__VERSION."""

    name: ClassVar[str] = "graph.version"
    level: ClassVar[int] = logging.WARNING
    measures: ClassVar[tuple[Measure, ...]] = (Measure("fbc_uploader_version_warnings_total", "version warnings"),)
    asked: str
    served: str
    warning: str | None = None


@dataclass(frozen=True)
class PoisonBuried(Fact):
    """A record that is no chunk event was put aside with its original bytes."""

    name: ClassVar[str] = "record.poison"
    level: ClassVar[int] = logging.ERROR
    measures: ClassVar[tuple[Measure, ...]] = (
        Measure("fbc_uploader_poison_total", "records nobody can read", labels=("code",)),
    )
    topic: str
    partition: int
    offset: int
    code: str
    message: str


@dataclass(frozen=True)
class ProduceHeld(Fact):
    """Kafka did not acknowledge an outcome or a dead letter; its record is held until it does."""

    name: ClassVar[str] = "produce.held"
    level: ClassVar[int] = logging.WARNING
    measures: ClassVar[tuple[Measure, ...]] = (
        Measure("fbc_uploader_produce_held_total", "writes that Kafka did not acknowledge", labels=("topic",)),
    )
    topic: str
    failures: int
    seconds: float
    error: str


@dataclass(frozen=True)
class LeaseTaken(Fact):
    """A token was leased for a destination."""

    name: ClassVar[str] = "lease.taken"
    level: ClassVar[int] = logging.DEBUG
    measures: ClassVar[tuple[Measure, ...]] = (Measure("fbc_uploader_leases_total", "leases taken from auth"),)
    chunk: str
    account: str


@dataclass(frozen=True)
class PassBegun(Fact):
    """A compressed file or a row group is read from its beginning; the chunks that follow share the pass."""

    name: ClassVar[str] = "stream.begun"
    level: ClassVar[int] = logging.DEBUG
    measures: ClassVar[tuple[Measure, ...]] = (
        Measure(
            "fbc_uploader_decode_passes_total",
            "passes over a compressed file or a row group",
            labels=("format", "compression"),
        ),
    )
    chunk: str
    format: str
    compression: str
