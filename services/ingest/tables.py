"""The ledger's tables (schema `ingest`): what was asked, what it became, and where every record is.

The migrations create them; a test holds the two together. States are text with a check, so that a row can be read by a
person and a typing error cannot be stored.
"""

from sqlalchemy import (
    BigInteger,
    Boolean,
    CheckConstraint,
    Column,
    DateTime,
    ForeignKey,
    ForeignKeyConstraint,
    Index,
    Integer,
    LargeBinary,
    MetaData,
    Table,
    Text,
    Uuid,
    text,
)
from sqlalchemy.dialects.postgresql import JSONB

from schemas.events import DeliveryState, ProfileStatus
from services.ingest.states import Planning, Settlement

SCHEMA = "ingest"

metadata = MetaData(
    schema=SCHEMA,
    naming_convention={
        "pk": "pk_%(table_name)s",
        "fk": "fk_%(table_name)s_%(referred_table_name)s",
        "ix": "ix_%(table_name)s_%(column_0_N_name)s",
        "ck": "ck_%(table_name)s_%(constraint_name)s",
    },
)


def _one_of(column: str, values: type[DeliveryState | Planning | Settlement | ProfileStatus]) -> CheckConstraint:
    allowed = ", ".join(f"'{value.value}'" for value in values)
    return CheckConstraint(f"{column} IN ({allowed})", name=column)


def _moment(name: str, *, nullable: bool = False) -> Column[object]:
    return Column(name, DateTime(timezone=True), nullable=nullable)


def _count(name: str) -> Column[int]:
    return Column(name, BigInteger, nullable=False, server_default=text("0"))


deliveries = Table(
    "deliveries",
    metadata,
    Column("revision", BigInteger, primary_key=True, autoincrement=False),
    # SHA-256 of the canonical event: tells the same delivery again from another one under its name.
    Column("content", LargeBinary(32), nullable=False),
    Column("event", JSONB, nullable=False),
    Column("company_id", BigInteger, nullable=False),
    Column("profile_id", Uuid, nullable=False),
    Column("state", Text, nullable=False),
    Column("reason", JSONB(none_as_null=True)),
    Column("ad_account_id", Text),
    Column("audience_id", Text),
    # Whether Meta takes worths of people there: auth found that out together with the audience.
    Column("value_based", Boolean, nullable=False, server_default=text("false")),
    # A status event is owed while published_sequence < sequence.
    Column("sequence", Integer, nullable=False),
    Column("published_sequence", Integer, nullable=False, server_default=text("0")),
    Column("traceparent", Text),
    _moment("created_at"),
    _moment("updated_at"),
    _moment("ended_at", nullable=True),
    _one_of("state", DeliveryState),
)
Index("ix_deliveries_company_id_revision", deliveries.c.company_id, deliveries.c.revision)
Index("ix_deliveries_state_revision", deliveries.c.state, deliveries.c.revision)
Index(
    "ix_deliveries_unpublished",
    deliveries.c.updated_at,
    postgresql_where=deliveries.c.published_sequence < deliveries.c.sequence,
)
Index(
    "ix_deliveries_waiting",
    deliveries.c.profile_id,
    postgresql_where=deliveries.c.state == text("'waiting'"),
)

files = Table(
    "files",
    metadata,
    Column("revision", BigInteger, ForeignKey(deliveries.c.revision), primary_key=True, autoincrement=False),
    Column("file_index", Integer, primary_key=True, autoincrement=False),
    Column("name", Text, nullable=False),
    Column("store", Text, nullable=False),
    Column("key", Text, nullable=False),
    Column("planning", Text, nullable=False),
    Column("reason", JSONB(none_as_null=True)),
    # The version that is planned and read, pinned when the file was first opened.
    Column("etag", Text),
    Column("size", BigInteger),
    # How it is read, decided at the same moment: `as_table` is a `schemas.events.Table`. NULL: plain NDJSON.
    Column("format", Text),
    Column("compression", Text),
    Column("as_table", JSONB(none_as_null=True)),
    # What the first records looked like: `connector.audience.preflight.Preflight.report`, counts and columns only.
    Column("preflight", JSONB(none_as_null=True)),
    # Where planning goes on after a crash; `checkpoint_rejected` is also the count of records in no chunk.
    _count("checkpoint_offset"),
    _count("checkpoint_records"),
    _count("checkpoint_lines"),
    _count("checkpoint_chunks"),
    _count("checkpoint_rejected"),
    _one_of("planning", Planning),
)

chunks = Table(
    "chunks",
    metadata,
    Column("revision", BigInteger, primary_key=True, autoincrement=False),
    Column("file_index", Integer, primary_key=True, autoincrement=False),
    Column("chunk_index", Integer, primary_key=True, autoincrement=False),
    # A range of bytes, of decoded bytes, or of rows of a row group: the kinds of `schemas.events.ChunkRange`.
    Column("range_kind", Text, nullable=False, server_default=text("'bytes'")),
    Column("row_group", Integer),
    Column("range_start", BigInteger, nullable=False),
    Column("range_end", BigInteger, nullable=False),
    Column("first_record", BigInteger, nullable=False),
    Column("first_line", BigInteger, nullable=False),
    Column("records", Integer, nullable=False),
    # `emission` is how often the chunk was to be sent, `emitted` the last one Kafka acknowledged.
    Column("emission", Integer, nullable=False, server_default=text("1")),
    Column("emitted", Integer, nullable=False, server_default=text("0")),
    Column("settlement", Text, nullable=False, server_default=text("'open'")),
    _count("accepted"),
    _count("invalid"),
    _count("rejected"),
    _count("waiting"),
    _count("dead"),
    Column("reject_reasons", JSONB, nullable=False, server_default=text("'{}'::jsonb")),
    Column("cell_rejects", JSONB, nullable=False, server_default=text("'{}'::jsonb")),
    Column("reason", JSONB(none_as_null=True)),
    _count("calls"),
    _count("attempts"),
    Column("fbtrace_id", Text),
    _moment("settled_at", nullable=True),
    ForeignKeyConstraint(["revision", "file_index"], [files.c.revision, files.c.file_index]),
    _one_of("settlement", Settlement),
    CheckConstraint("range_kind IN ('bytes', 'decoded', 'rows')", name="range_kind"),
    CheckConstraint("(range_kind = 'rows') = (row_group IS NOT NULL)", name="row_group"),
    CheckConstraint(
        "settlement = 'open' OR accepted + invalid + rejected + waiting + dead = records", name="accounted"
    ),
)
Index("ix_chunks_open", chunks.c.revision, postgresql_where=chunks.c.settlement == text("'open'"))
Index("ix_chunks_waiting", chunks.c.revision, postgresql_where=chunks.c.settlement == text("'waiting'"))
Index("ix_chunks_unemitted", chunks.c.revision, postgresql_where=chunks.c.emitted < chunks.c.emission)

rejects = Table(
    "rejects",
    metadata,
    Column("revision", BigInteger, primary_key=True, autoincrement=False),
    Column("file_index", Integer, primary_key=True, autoincrement=False),
    Column("record", BigInteger, primary_key=True, autoincrement=False),
    Column("line", BigInteger),
    Column("reason", Text, nullable=False),
    Column("column", Text),
    ForeignKeyConstraint(["revision", "file_index"], [files.c.revision, files.c.file_index]),
)

profiles = Table(
    "profiles",
    metadata,
    Column("profile_id", Uuid, primary_key=True),
    Column("status", Text, nullable=False),
    Column("sequence", BigInteger, nullable=False),
    _moment("changed_at"),
    _one_of("status", ProfileStatus),
)
