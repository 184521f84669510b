"""Formats: how a file is read, what a range counts, which values were left out, and whether an audience takes worths.

Revision ID: 0002
Revises: 0001
Create Date: 2026-11-25
"""

import sqlalchemy as sa
from alembic import op
from sqlalchemy.dialects import postgresql

revision = "0002"
down_revision = "0001"
branch_labels = None
depends_on = None

SCHEMA = "ingest"


def upgrade() -> None:
    op.add_column(
        "deliveries",
        sa.Column("value_based", sa.Boolean(), server_default=sa.text("false"), nullable=False),
        schema=SCHEMA,
    )
    op.add_column("files", sa.Column("format", sa.Text(), nullable=True), schema=SCHEMA)
    op.add_column("files", sa.Column("compression", sa.Text(), nullable=True), schema=SCHEMA)
    op.add_column("files", sa.Column("as_table", postgresql.JSONB(), nullable=True), schema=SCHEMA)
    op.add_column(
        "chunks",
        sa.Column("range_kind", sa.Text(), server_default=sa.text("'bytes'"), nullable=False),
        schema=SCHEMA,
    )
    op.add_column("chunks", sa.Column("row_group", sa.Integer(), nullable=True), schema=SCHEMA)
    op.add_column(
        "chunks",
        sa.Column("cell_rejects", postgresql.JSONB(), server_default=sa.text("'{}'::jsonb"), nullable=False),
        schema=SCHEMA,
    )
    op.create_check_constraint(
        "ck_chunks_range_kind", "chunks", "range_kind IN ('bytes', 'decoded', 'rows')", schema=SCHEMA
    )
    op.create_check_constraint(
        "ck_chunks_row_group", "chunks", "(range_kind = 'rows') = (row_group IS NOT NULL)", schema=SCHEMA
    )


def downgrade() -> None:
    for column in ("cell_rejects", "row_group", "range_kind"):
        op.drop_column("chunks", column, schema=SCHEMA)
    for column in ("as_table", "compression", "format"):
        op.drop_column("files", column, schema=SCHEMA)
    op.drop_column("deliveries", "value_based", schema=SCHEMA)
