"""Which audiences are value-based: those take no row without a value.

Revision ID: 0002
Revises: 0001
Create Date: 2026-11-25
"""

import sqlalchemy as sa
from alembic import op

revision = "0002"
down_revision = "0001"
branch_labels = None
depends_on = None


def upgrade() -> None:
    op.add_column(
        "audiences", sa.Column("value_based", sa.Boolean(), nullable=False, server_default=sa.false()), schema="auth"
    )


def downgrade() -> None:
    op.drop_column("audiences", "value_based", schema="auth")
