"""What ingest and its progress stream tell operators. Ids are in the log line, never in a metric's labels."""

import logging
from dataclasses import dataclass
from typing import ClassVar

from connector.telemetry import Fact, Measure


@dataclass(frozen=True)
class DeliveryRecorded(Fact):
    """A delivery that was not known before is in the ledger."""

    name: ClassVar[str] = "delivery.recorded"
    measures: ClassVar[tuple[Measure, ...]] = (
        Measure("fbc_deliveries_recorded_total", "deliveries recorded", labels=("kind", "operation")),
    )
    revision: int
    kind: str
    operation: str
    files: int


@dataclass(frozen=True)
class RevisionConflict(Fact):
    """Upstream used a revision for two contents: the first stays, the second is refused."""

    name: ClassVar[str] = "delivery.revision_conflict"
    level: ClassVar[int] = logging.ERROR
    measures: ClassVar[tuple[Measure, ...]] = (
        Measure("fbc_revision_conflicts_total", "deliveries refused for a revision that is taken", labels=("via",)),
    )
    revision: int
    via: str


@dataclass(frozen=True)
class ChunksEmitted(Fact):
    """Chunks were acknowledged by Kafka and are the uploader's now."""

    name: ClassVar[str] = "chunks.emitted"
    level: ClassVar[int] = logging.DEBUG
    measures: ClassVar[tuple[Measure, ...]] = (
        Measure("fbc_chunks_emitted_total", "chunks emitted", value="chunks"),
        Measure("fbc_records_planned_total", "records in emitted chunks", value="records"),
    )
    revision: int
    chunks: int
    records: int


@dataclass(frozen=True)
class FilePlanned(Fact):
    """A file was read to its end."""

    name: ClassVar[str] = "file.planned"
    measures: ClassVar[tuple[Measure, ...]] = (
        Measure("fbc_files_planned_total", "files planned"),
        Measure("fbc_planning_seconds", "time to plan a file", value="seconds", kind="histogram"),
    )
    revision: int
    file_index: int
    records: int
    chunks: int
    too_long: int
    seconds: float


@dataclass(frozen=True)
class FileRefused(Fact):
    """A file cannot be planned; its owner has to change something."""

    name: ClassVar[str] = "file.refused"
    level: ClassVar[int] = logging.WARNING
    measures: ClassVar[tuple[Measure, ...]] = (
        Measure("fbc_files_refused_total", "files that could not be planned", labels=("reason",)),
    )
    revision: int
    file_index: int
    reason: str
    message: str


@dataclass(frozen=True)
class DeliveryMoved(Fact):
    """A delivery changed its state."""

    name: ClassVar[str] = "delivery.moved"
    measures: ClassVar[tuple[Measure, ...]] = (
        Measure("fbc_delivery_transitions_total", "deliveries that came into a state", labels=("state",)),
    )
    revision: int
    state: str
    reason: str | None = None


@dataclass(frozen=True)
class PlanningPostponed(Fact):
    """A step of planning failed and will be tried again."""

    name: ClassVar[str] = "planning.postponed"
    level: ClassVar[int] = logging.WARNING
    measures: ClassVar[tuple[Measure, ...]] = (
        Measure("fbc_planning_postponed_total", "steps of planning that are tried again", labels=("code",)),
    )
    revision: int
    code: str
    message: str
    attempt: int
    pause: float


@dataclass(frozen=True)
class PlanningGivenUp(Fact):
    """A step of planning failed for too long."""

    name: ClassVar[str] = "planning.given_up"
    level: ClassVar[int] = logging.ERROR
    measures: ClassVar[tuple[Measure, ...]] = (
        Measure("fbc_planning_given_up_total", "deliveries whose planning was given up", labels=("code",)),
    )
    revision: int
    code: str
    message: str
    attempts: int


@dataclass(frozen=True)
class LedgerUnavailable(Fact):
    """The database does not do its part: the record is held, nothing is lost and nothing goes on."""

    name: ClassVar[str] = "ledger.unavailable"
    level: ClassVar[int] = logging.ERROR
    measures: ClassVar[tuple[Measure, ...]] = (
        Measure("fbc_ledger_unavailable_total", "attempts that failed at the database", labels=("during",)),
    )
    during: str
    error: str
    attempt: int
    pause: float


@dataclass(frozen=True)
class DeadLettered(Fact):
    """A record nobody can process was put aside with its original bytes."""

    name: ClassVar[str] = "record.dead_lettered"
    level: ClassVar[int] = logging.ERROR
    measures: ClassVar[tuple[Measure, ...]] = (
        Measure("fbc_dead_letters_total", "records put into a dead-letter topic", labels=("topic", "kind", "code")),
    )
    topic: str
    partition: int
    offset: int
    kind: str
    code: str
    message: str


@dataclass(frozen=True)
class ChunkApplied(Fact):
    """An outcome changed the ledger."""

    name: ClassVar[str] = "chunk.applied"
    level: ClassVar[int] = logging.DEBUG
    measures: ClassVar[tuple[Measure, ...]] = (
        Measure("fbc_chunks_settled_total", "chunks by what became of them", labels=("outcome",)),
        Measure("fbc_records_accepted_total", "records accepted by Meta", value="accepted"),
        Measure("fbc_records_invalid_total", "records Meta called invalid", value="invalid"),
        Measure("fbc_records_rejected_total", "records we refused", value="rejected"),
        Measure("fbc_records_dead_total", "records in chunks that were given up", value="dead"),
    )
    chunk_id: str
    outcome: str
    accepted: int
    invalid: int
    rejected: int
    dead: int


@dataclass(frozen=True)
class OutcomeRepeated(Fact):
    """An outcome came that changes nothing: it was applied before, or the chunk is settled for good."""

    name: ClassVar[str] = "chunk.outcome_repeated"
    level: ClassVar[int] = logging.DEBUG
    measures: ClassVar[tuple[Measure, ...]] = (Measure("fbc_outcomes_repeated_total", "outcomes that changed nothing"),)
    chunk_id: str


@dataclass(frozen=True)
class StatusUnpublished(Fact):
    """A status event was not acknowledged; the sweep will publish it."""

    name: ClassVar[str] = "status.unpublished"
    level: ClassVar[int] = logging.WARNING
    measures: ClassVar[tuple[Measure, ...]] = (
        Measure("fbc_status_unpublished_total", "status events left to the sweep"),
    )
    revision: int
    error: str


@dataclass(frozen=True)
class SweepFailed(Fact):
    """A sweep could not do its work; the next one tries again."""

    name: ClassVar[str] = "sweep.failed"
    level: ClassVar[int] = logging.WARNING
    measures: ClassVar[tuple[Measure, ...]] = (Measure("fbc_sweeps_failed_total", "sweeps that failed"),)
    error: str


@dataclass(frozen=True)
class DeliveryReleased(Fact):
    """An operator let a delivery go on."""

    name: ClassVar[str] = "delivery.released"
    measures: ClassVar[tuple[Measure, ...]] = (
        Measure("fbc_chunks_released_by_operators_total", "waiting chunks an operator let go on", value="chunks"),
    )
    revision: int
    chunks: int


@dataclass(frozen=True)
class WaitingReleased(Fact):
    """A profile is connected again: what waited for it goes on."""

    name: ClassVar[str] = "waiting.released"
    measures: ClassVar[tuple[Measure, ...]] = (
        Measure("fbc_chunks_released_total", "waiting chunks sent again", value="chunks"),
        Measure("fbc_deliveries_released_total", "waiting deliveries planned again", value="deliveries"),
    )
    profile_id: str
    chunks: int
    deliveries: int
