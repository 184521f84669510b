"""The ledger: deliveries, their files, the chunks these became, samples of refused records, and profiles.

Revision ID: 0001
Revises:
Create Date: 2026-11-24
"""

import sqlalchemy as sa
from alembic import op
from sqlalchemy.dialects import postgresql

revision = "0001"
down_revision = None
branch_labels = None
depends_on = None

SCHEMA = "ingest"


def upgrade() -> None:
    op.create_table(
        "deliveries",
        sa.Column("revision", sa.BigInteger(), autoincrement=False, nullable=False),
        sa.Column("content", sa.LargeBinary(length=32), nullable=False),
        sa.Column("event", postgresql.JSONB(), nullable=False),
        sa.Column("company_id", sa.BigInteger(), nullable=False),
        sa.Column("profile_id", sa.Uuid(), nullable=False),
        sa.Column("state", sa.Text(), nullable=False),
        sa.Column("reason", postgresql.JSONB(), nullable=True),
        sa.Column("ad_account_id", sa.Text(), nullable=True),
        sa.Column("audience_id", sa.Text(), nullable=True),
        sa.Column("sequence", sa.Integer(), nullable=False),
        sa.Column("published_sequence", sa.Integer(), server_default=sa.text("0"), nullable=False),
        sa.Column("traceparent", sa.Text(), nullable=True),
        sa.Column("created_at", sa.DateTime(timezone=True), nullable=False),
        sa.Column("updated_at", sa.DateTime(timezone=True), nullable=False),
        sa.Column("ended_at", sa.DateTime(timezone=True), nullable=True),
        sa.CheckConstraint(
            "state IN ('accepted', 'planning', 'uploading', 'waiting', "
            "'delivered', 'partly_delivered', 'failed', 'cancelled')",
            name="ck_deliveries_state",
        ),
        sa.PrimaryKeyConstraint("revision", name="pk_deliveries"),
        schema=SCHEMA,
    )
    op.create_index("ix_deliveries_company_id_revision", "deliveries", ["company_id", "revision"], schema=SCHEMA)
    op.create_index("ix_deliveries_state_revision", "deliveries", ["state", "revision"], schema=SCHEMA)
    op.create_index(
        "ix_deliveries_unpublished",
        "deliveries",
        ["updated_at"],
        schema=SCHEMA,
        postgresql_where=sa.text("published_sequence < sequence"),
    )
    op.create_index(
        "ix_deliveries_waiting",
        "deliveries",
        ["profile_id"],
        schema=SCHEMA,
        postgresql_where=sa.text("state = 'waiting'"),
    )
    op.create_table(
        "profiles",
        sa.Column("profile_id", sa.Uuid(), nullable=False),
        sa.Column("status", sa.Text(), nullable=False),
        sa.Column("sequence", sa.BigInteger(), nullable=False),
        sa.Column("changed_at", sa.DateTime(timezone=True), nullable=False),
        sa.CheckConstraint("status IN ('connected', 'token_dead', 'disabled', 'archived')", name="ck_profiles_status"),
        sa.PrimaryKeyConstraint("profile_id", name="pk_profiles"),
        schema=SCHEMA,
    )
    op.create_table(
        "files",
        sa.Column("revision", sa.BigInteger(), autoincrement=False, nullable=False),
        sa.Column("file_index", sa.Integer(), autoincrement=False, nullable=False),
        sa.Column("name", sa.Text(), nullable=False),
        sa.Column("store", sa.Text(), nullable=False),
        sa.Column("key", sa.Text(), nullable=False),
        sa.Column("planning", sa.Text(), nullable=False),
        sa.Column("reason", postgresql.JSONB(), nullable=True),
        sa.Column("etag", sa.Text(), nullable=True),
        sa.Column("size", sa.BigInteger(), nullable=True),
        sa.Column("checkpoint_offset", sa.BigInteger(), server_default=sa.text("0"), nullable=False),
        sa.Column("checkpoint_records", sa.BigInteger(), server_default=sa.text("0"), nullable=False),
        sa.Column("checkpoint_lines", sa.BigInteger(), server_default=sa.text("0"), nullable=False),
        sa.Column("checkpoint_chunks", sa.BigInteger(), server_default=sa.text("0"), nullable=False),
        sa.Column("checkpoint_rejected", sa.BigInteger(), server_default=sa.text("0"), nullable=False),
        sa.CheckConstraint("planning IN ('pending', 'planning', 'planned', 'failed')", name="ck_files_planning"),
        sa.ForeignKeyConstraint(["revision"], ["ingest.deliveries.revision"], name="fk_files_deliveries"),
        sa.PrimaryKeyConstraint("revision", "file_index", name="pk_files"),
        schema=SCHEMA,
    )
    op.create_table(
        "chunks",
        sa.Column("revision", sa.BigInteger(), autoincrement=False, nullable=False),
        sa.Column("file_index", sa.Integer(), autoincrement=False, nullable=False),
        sa.Column("chunk_index", sa.Integer(), autoincrement=False, nullable=False),
        sa.Column("range_start", sa.BigInteger(), nullable=False),
        sa.Column("range_end", sa.BigInteger(), nullable=False),
        sa.Column("first_record", sa.BigInteger(), nullable=False),
        sa.Column("first_line", sa.BigInteger(), nullable=False),
        sa.Column("records", sa.Integer(), nullable=False),
        sa.Column("emission", sa.Integer(), server_default=sa.text("1"), nullable=False),
        sa.Column("emitted", sa.Integer(), server_default=sa.text("0"), nullable=False),
        sa.Column("settlement", sa.Text(), server_default=sa.text("'open'"), nullable=False),
        sa.Column("accepted", sa.BigInteger(), server_default=sa.text("0"), nullable=False),
        sa.Column("invalid", sa.BigInteger(), server_default=sa.text("0"), nullable=False),
        sa.Column("rejected", sa.BigInteger(), server_default=sa.text("0"), nullable=False),
        sa.Column("waiting", sa.BigInteger(), server_default=sa.text("0"), nullable=False),
        sa.Column("dead", sa.BigInteger(), server_default=sa.text("0"), nullable=False),
        sa.Column("reject_reasons", postgresql.JSONB(), server_default=sa.text("'{}'::jsonb"), nullable=False),
        sa.Column("reason", postgresql.JSONB(), nullable=True),
        sa.Column("calls", sa.BigInteger(), server_default=sa.text("0"), nullable=False),
        sa.Column("attempts", sa.BigInteger(), server_default=sa.text("0"), nullable=False),
        sa.Column("fbtrace_id", sa.Text(), nullable=True),
        sa.Column("settled_at", sa.DateTime(timezone=True), nullable=True),
        sa.CheckConstraint(
            "settlement = 'open' OR accepted + invalid + rejected + waiting + dead = records",
            name="ck_chunks_accounted",
        ),
        sa.CheckConstraint("settlement IN ('open', 'delivered', 'waiting', 'dead')", name="ck_chunks_settlement"),
        sa.ForeignKeyConstraint(
            ["revision", "file_index"], ["ingest.files.revision", "ingest.files.file_index"], name="fk_chunks_files"
        ),
        sa.PrimaryKeyConstraint("revision", "file_index", "chunk_index", name="pk_chunks"),
        schema=SCHEMA,
    )
    op.create_index(
        "ix_chunks_open", "chunks", ["revision"], schema=SCHEMA, postgresql_where=sa.text("settlement = 'open'")
    )
    op.create_index(
        "ix_chunks_unemitted", "chunks", ["revision"], schema=SCHEMA, postgresql_where=sa.text("emitted < emission")
    )
    op.create_index(
        "ix_chunks_waiting", "chunks", ["revision"], schema=SCHEMA, postgresql_where=sa.text("settlement = 'waiting'")
    )
    op.create_table(
        "rejects",
        sa.Column("revision", sa.BigInteger(), autoincrement=False, nullable=False),
        sa.Column("file_index", sa.Integer(), autoincrement=False, nullable=False),
        sa.Column("record", sa.BigInteger(), autoincrement=False, nullable=False),
        sa.Column("line", sa.BigInteger(), nullable=True),
        sa.Column("reason", sa.Text(), nullable=False),
        sa.Column("column", sa.Text(), nullable=True),
        sa.ForeignKeyConstraint(
            ["revision", "file_index"], ["ingest.files.revision", "ingest.files.file_index"], name="fk_rejects_files"
        ),
        sa.PrimaryKeyConstraint("revision", "file_index", "record", name="pk_rejects"),
        schema=SCHEMA,
    )


def downgrade() -> None:
    for table in ("rejects", "chunks", "files", "profiles", "deliveries"):
        op.drop_table(table, schema=SCHEMA)
