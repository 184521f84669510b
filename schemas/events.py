"""The events on Kafka, as pydantic models. Everything else in this package is generated from them.

Rules of compatibility (checked in tests/contract/test_schemas.py): readers ignore fields they do not know, new fields
are optional with a default, a name is never reused or retyped, an enumeration is never narrowed within a major version.

No event carries a record: a chunk names a range of an object, a reject names a row number and a reason code.
"""

from datetime import datetime
from enum import StrEnum
from typing import Annotated, Literal
from uuid import UUID

from pydantic import BaseModel, ConfigDict, Field, StringConstraints, model_validator

from schemas.match_keys import ColumnMapping

MAX_FILES = 1_000
"""Files one delivery may name: keeps the largest event well under Kafka's default 1 MiB."""

MAX_CHUNK_RECORDS = 10_000
"""Records one chunk may hold: Meta refuses a `users` call with more than 10,000 rows."""

MAX_REJECT_SAMPLES = 100
"""Rejects one settled chunk names one by one; the counts per reason are always complete."""

REPLACE_RESTART = "replace_restart"
"""The cause of a chunk that waits because its replacement's session is over: ingest begins the replacement again."""

Revision = Annotated[int, Field(ge=0, lt=2**63)]
Count = Annotated[int, Field(ge=0)]
Name = Annotated[str, StringConstraints(min_length=1, max_length=1_024)]
Slug = Annotated[str, StringConstraints(pattern=r"^[a-z0-9][a-z0-9_-]{0,63}$")]
AdAccountId = Annotated[str, StringConstraints(pattern=r"^act_[0-9]{1,32}$")]
AudienceId = Annotated[str, StringConstraints(pattern=r"^[0-9]{1,32}$")]
ShortText = Annotated[str, StringConstraints(max_length=512)]


class Event(BaseModel):
    """Base of everything on the wire: immutable, and tolerant of fields a newer writer added."""

    model_config = ConfigDict(frozen=True, extra="ignore")


class DeliveryKind(StrEnum):
    """Why upstream asks for a delivery."""

    SNAPSHOT_APPENDED = "snapshot-appended"
    CONNECTION_CREATED = "connection-created"
    SUBSCRIPTION_DELIVERY = "subscription-delivery"


class Operation(StrEnum):
    """What happens to the audience's members."""

    ADD = "add"
    REMOVE = "remove"
    REPLACE = "replace"


class Layout(StrEnum):
    """Where in a record the match keys lie."""

    NARRATIVE_DATASET = "narrative-dataset"
    NARRATIVE_LEGACY = "narrative-legacy"
    COLUMNS = "columns"


class Format(StrEnum):
    """How a file holds its records."""

    NDJSON = "ndjson"
    CSV = "csv"
    TSV = "tsv"
    PARQUET = "parquet"


class Compression(StrEnum):
    """What a file as a whole is wrapped in. Parquet compresses inside and takes only `none`."""

    NONE = "none"
    GZIP = "gzip"
    ZSTD = "zstd"


class QuickSettings(Event):
    """What the customer chose on the connection itself."""

    audience_id: AudienceId | None = None
    audience_name: Annotated[str, StringConstraints(min_length=1, max_length=200)] | None = None
    historical_data_enabled: bool | None = None


class FileRef(Event):
    """A file by reference: a configured store and a key in it. URLs are not accepted (no request forgery).

    Without `format` and `compression` the ending of the key tells them, and the first bytes must agree.
    """

    name: Name
    store: Slug
    key: Name
    bytes: Count | None = None
    etag: Annotated[str, StringConstraints(min_length=1, max_length=256)] | None = None
    format: Format | None = None
    compression: Compression | None = None


class DeliveryRequested(Event):
    """Upstream to ingest: these files of people belong in that customer's audience.

    `revision` is the identity: the same revision with the same content again is a no-op; with other content it is
    refused.
    """

    revision: Revision
    kind: DeliveryKind
    company_id: Count
    profile_id: UUID
    connection_id: UUID | None = None
    subscription_id: UUID | None = None
    dataset_id: Count | None = None
    snapshot_id: Count | None = None
    operation: Operation = Operation.ADD
    quick_settings: QuickSettings = QuickSettings()
    layout: Layout = Layout.NARRATIVE_DATASET
    mapping: ColumnMapping | None = None
    files: Annotated[tuple[FileRef, ...], Field(max_length=MAX_FILES)]

    @model_validator(mode="after")
    def _names_its_origin(self) -> "DeliveryRequested":
        """A subscription delivery names its subscription, the other kinds their connection."""
        if self.kind is DeliveryKind.SUBSCRIPTION_DELIVERY:
            if self.subscription_id is None or self.connection_id is not None:
                raise ValueError("a subscription-delivery names subscription_id and no connection_id")
        elif self.connection_id is None or self.subscription_id is not None:
            raise ValueError(f"a {self.kind} names connection_id and no subscription_id")
        if not self.files and self.kind is not DeliveryKind.CONNECTION_CREATED:
            raise ValueError("files is empty: name at least one file")
        return self

    @model_validator(mode="after")
    def _maps_its_columns(self) -> "DeliveryRequested":
        """The layout `columns` has a mapping, the others know their fields."""
        if (self.layout is Layout.COLUMNS) != (self.mapping is not None):
            raise ValueError("the layout columns needs a mapping, and no other layout takes one")
        return self

    @property
    def origin(self) -> str:
        """`connection:<uuid>` or `subscription:<uuid>`: with the profile, what an audience is created for once."""
        if self.subscription_id is not None:
            return f"subscription:{self.subscription_id}"
        return f"connection:{self.connection_id}"


class ByteRange(Event):
    """Records of a plain line-separated file: bytes `start` (inclusive) to `end` (exclusive), cut at record ends."""

    kind: Literal["bytes"] = "bytes"
    start: Count
    end: Annotated[int, Field(gt=0)]

    @model_validator(mode="after")
    def _is_not_empty(self) -> "ByteRange":
        """A range holds at least one byte."""
        if self.end <= self.start:
            raise ValueError(f"range ends at {self.end}, before it starts at {self.start}")
        return self


class DecodedRange(ByteRange):
    """Records of a compressed line-separated file: bytes `start` to `end` of what it decodes to, cut at record ends."""

    kind: Literal["decoded"] = "decoded"  # type: ignore[assignment]


class RowRange(Event):
    """Rows `start` (inclusive) to `end` (exclusive), from 0, within one row group of a Parquet file."""

    kind: Literal["rows"] = "rows"
    row_group: Count
    start: Count
    end: Annotated[int, Field(gt=0)]

    @model_validator(mode="after")
    def _is_not_empty(self) -> "RowRange":
        """A range holds at least one row."""
        if self.end <= self.start:
            raise ValueError(f"range ends at {self.end}, before it starts at {self.start}")
        return self


ChunkRange = Annotated[ByteRange | DecodedRange | RowRange, Field(discriminator="kind")]


class Table(Event):
    """How to read the lines of a CSV or TSV file without its header.

    A header is not repeated here: in a file that has none, its first line is a person. `positions` are the columns
    (from 0) that hold what the layout asks for, in the layout's order; None where the file has no such column.
    """

    delimiter: Annotated[str, StringConstraints(min_length=1, max_length=1)]
    width: Annotated[int, Field(ge=1, le=256)]
    positions: Annotated[tuple[Annotated[int, Field(ge=0, lt=256)] | None, ...], Field(max_length=64)]


class ReplaceBatch(Event):
    """A chunk's place in a replacement: `number` of `total`, from 1. Number 1 is sent first, alone."""

    number: Annotated[int, Field(ge=1)]
    total: Annotated[int, Field(ge=1)]


class ChunkReady(Event):
    """ingest to uploader: a range of one file to be sent to one audience. Keyed by the ad account.

    `first_record` and `first_line` count from 1 within the file (a blank line is a line but not a record), so that a
    reject names the line its owner sees in an editor; in Parquet they are the same. `emission` counts how often the
    chunk was to be sent; from the second time on `released_at` says when somebody let it go on.
    """

    revision: Revision
    file_index: Count
    chunk_index: Count
    company_id: Count
    profile_id: UUID
    ad_account_id: AdAccountId
    audience_id: AudienceId
    operation: Operation
    layout: Layout
    file_name: Name
    store: Slug
    key: Name
    etag: Annotated[str, StringConstraints(min_length=1, max_length=256)]
    range: ChunkRange
    first_record: Annotated[int, Field(ge=1)]
    first_line: Annotated[int, Field(ge=1)]
    records: Annotated[int, Field(ge=1, le=MAX_CHUNK_RECORDS)]
    mapping: ColumnMapping | None = None
    format: Format = Format.NDJSON
    compression: Compression = Compression.NONE
    table: Table | None = None
    value_based: bool = False
    replace: ReplaceBatch | None = None
    emission: Annotated[int, Field(ge=1)] = 1
    released_at: datetime | None = None

    @property
    def chunk_id(self) -> str:
        """`revision/file/chunk`: deterministic, the same in ledger, logs and outcomes."""
        return f"{self.revision}/{self.file_index}/{self.chunk_index}"


class Reject(Event):
    """A record that does not leave, by number and reason code. Never a value."""

    record: Annotated[int, Field(ge=1)]
    line: Annotated[int, Field(ge=1)] | None = None
    reason: Slug
    column: Annotated[str, StringConstraints(max_length=64)] | None = None


class Delivered(Event):
    """Every record of the chunk is accounted for: accepted by Meta, invalid for Meta, or rejected by us."""

    kind: Literal["delivered"] = "delivered"


class Waiting(Event):
    """The chunk waits for a person; it goes on when `scope` is released."""

    kind: Literal["waiting"] = "waiting"
    cause: Slug
    scope: Annotated[str, StringConstraints(max_length=256)]
    advice: ShortText


class Dead(Event):
    """The chunk was given up and lies in the dead-letter topic."""

    kind: Literal["dead"] = "dead"
    reason: Slug
    code: Annotated[str, StringConstraints(max_length=64)] | None = None
    message: ShortText


Outcome = Annotated[Delivered | Waiting | Dead, Field(discriminator="kind")]


class ChunkCounts(Event):
    """Where the chunk's records went: `records = accepted + invalid + rejected + waiting + dead`."""

    records: Count
    accepted: Count = 0
    invalid: Count = 0
    rejected: Count = 0
    waiting: Count = 0
    dead: Count = 0

    @model_validator(mode="after")
    def _adds_up(self) -> "ChunkCounts":
        """A record is in exactly one place: the promise `accounted` is enforced where the numbers are made."""
        placed = self.accepted + self.invalid + self.rejected + self.waiting + self.dead
        if placed != self.records:
            raise ValueError(f"{self.records} records, but {placed} accounted for")
        return self


class ChunkSettled(Event):
    """uploader to ingest: what became of a chunk. Keyed by the revision.

    `reject_reasons` counts records; `cell_rejects` counts values that were left out, as `<key>:<reason>`, whose records
    may have left all the same. `emission` is that of the chunk event it answers: what was sent again since is not
    settled by it.
    """

    revision: Revision
    file_index: Count
    chunk_index: Count
    ad_account_id: AdAccountId
    audience_id: AudienceId
    outcome: Outcome
    counts: ChunkCounts
    reject_reasons: dict[str, int] = {}
    cell_rejects: dict[str, int] = {}
    rejects: Annotated[tuple[Reject, ...], Field(max_length=MAX_REJECT_SAMPLES)] = ()
    calls: Count = 0
    attempts: Annotated[int, Field(ge=1)] = 1
    fbtrace_id: Annotated[str, StringConstraints(max_length=128)] | None = None
    emission: Annotated[int, Field(ge=1)] = 1
    settled_at: datetime

    @property
    def chunk_id(self) -> str:
        """`revision/file/chunk`, as in the `ChunkReady` it answers."""
        return f"{self.revision}/{self.file_index}/{self.chunk_index}"


class DeliveryState(StrEnum):
    """The life of a delivery. The last four end it."""

    ACCEPTED = "accepted"
    PLANNING = "planning"
    UPLOADING = "uploading"
    WAITING = "waiting"
    DELIVERED = "delivered"
    PARTLY_DELIVERED = "partly_delivered"
    FAILED = "failed"
    CANCELLED = "cancelled"


class Totals(Event):
    """Records of a delivery by where they are.

    Once it ended: `records = accepted + invalid + rejected + waiting + dead`.

    While it runs, records planned but not settled are in none of the five.
    """

    records: Count = 0
    accepted: Count = 0
    invalid: Count = 0
    rejected: Count = 0
    waiting: Count = 0
    dead: Count = 0


class Reason(Event):
    """Why a delivery or a file is where it is, and what to do next."""

    code: Slug
    message: ShortText
    advice: ShortText = ""


class DeliveryStatusChanged(Event):
    """ingest to upstream: a delivery changed its state. Keyed by the revision; the topic is compacted.

    `sequence` grows with each change of one delivery: a reader that sees an older one after a newer one drops it.
    """

    revision: Revision
    sequence: Annotated[int, Field(ge=1)]
    company_id: Count
    profile_id: UUID
    connection_id: UUID | None = None
    subscription_id: UUID | None = None
    state: DeliveryState
    audience_id: AudienceId | None = None
    totals: Totals
    reason: Reason | None = None
    changed_at: datetime


class ProfileStatus(StrEnum):
    """Whether a profile can be delivered to."""

    CONNECTED = "connected"
    TOKEN_DEAD = "token_dead"  # noqa: S105 -- a state's name, not a secret
    DISABLED = "disabled"
    ARCHIVED = "archived"


class ProfileChanged(Event):
    """auth to ingest and uploader: a customer's connection to Facebook changed. Keyed by the profile; no secrets."""

    profile_id: UUID
    company_id: Count
    status: ProfileStatus
    sequence: Annotated[int, Field(ge=1)]
    ad_account_id: AdAccountId | None = None
    reason: Reason | None = None
    changed_at: datetime
