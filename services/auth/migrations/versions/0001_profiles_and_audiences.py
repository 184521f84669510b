"""Profiles, their sealed tokens, the ledger of audiences, and the destinations that use them.

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


def upgrade() -> None:
    op.create_table(
        "profiles",
        sa.Column("id", sa.Uuid(), nullable=False),
        sa.Column("company_id", sa.BigInteger(), nullable=False),
        sa.Column("name", sa.Text(), nullable=False),
        sa.Column("description", sa.Text()),
        sa.Column("status", sa.Text(), nullable=False),
        sa.Column("reason", postgresql.JSONB()),
        sa.Column("ad_account_id", sa.Text(), nullable=False),
        sa.Column("ad_account_name", sa.Text(), nullable=False),
        sa.Column("business_id", sa.Text(), nullable=False),
        sa.Column("business_name", sa.Text(), nullable=False),
        sa.Column("customer_file_source", sa.Text(), nullable=False),
        sa.Column("sequence", sa.BigInteger(), nullable=False),
        sa.Column("published_sequence", sa.BigInteger(), nullable=False),
        sa.Column("created_at", sa.DateTime(timezone=True), nullable=False),
        sa.Column("updated_at", sa.DateTime(timezone=True), nullable=False),
        sa.PrimaryKeyConstraint("id", name="profiles_pk"),
        sa.UniqueConstraint("company_id", "name", name="profiles_company_id_name_uq"),
        sa.UniqueConstraint("id", "company_id", name="profiles_id_company_id_uq"),
        sa.CheckConstraint("status IN ('connected', 'token_dead', 'disabled', 'archived')", name="profiles_status_ck"),
        sa.CheckConstraint("ad_account_id ~ '^act_[0-9]{1,32}$'", name="profiles_ad_account_ck"),
        sa.CheckConstraint(
            "customer_file_source IN ('USER_PROVIDED_ONLY', 'PARTNER_PROVIDED_ONLY', 'BOTH_USER_AND_PARTNER_PROVIDED')",
            name="profiles_customer_file_source_ck",
        ),
        sa.CheckConstraint("published_sequence <= sequence", name="profiles_sequence_ck"),
        schema="auth",
    )
    op.create_index(
        "profiles_unpublished_ix",
        "profiles",
        ["updated_at"],
        schema="auth",
        postgresql_where=sa.text("published_sequence < sequence"),
    )
    op.create_table(
        "tokens",
        sa.Column("profile_id", sa.Uuid(), nullable=False),
        sa.Column("company_id", sa.BigInteger(), nullable=False),
        sa.Column("version", sa.Integer(), nullable=False),
        sa.Column("fmt", sa.SmallInteger(), nullable=False),
        sa.Column("kek_ref", sa.Text(), nullable=False),
        sa.Column("wrapped_dek", sa.LargeBinary(), nullable=False),
        sa.Column("nonce", sa.LargeBinary(), nullable=False),
        sa.Column("ciphertext", sa.LargeBinary(), nullable=False),
        sa.Column("user_id", sa.Text(), nullable=False),
        sa.Column("user_name", sa.Text(), nullable=False),
        sa.Column("scopes", sa.ARRAY(sa.Text()), nullable=False),
        sa.Column("expires_at", sa.DateTime(timezone=True)),
        sa.Column("data_access_expires_at", sa.DateTime(timezone=True)),
        sa.Column("written_at", sa.DateTime(timezone=True), nullable=False),
        sa.PrimaryKeyConstraint("profile_id", name="tokens_pk"),
        sa.ForeignKeyConstraint(
            ["profile_id", "company_id"],
            ["auth.profiles.id", "auth.profiles.company_id"],
            name="tokens_profiles_fk",
        ),
        schema="auth",
    )
    op.create_table(
        "audiences",
        sa.Column("profile_id", sa.Uuid(), nullable=False),
        sa.Column("audience_id", sa.Text(), nullable=False),
        sa.Column("company_id", sa.BigInteger(), nullable=False),
        sa.Column("ad_account_id", sa.Text(), nullable=False),
        sa.Column("name", sa.Text(), nullable=False),
        sa.Column("source", sa.Text(), nullable=False),
        sa.Column("added_at", sa.DateTime(timezone=True), nullable=False),
        sa.PrimaryKeyConstraint("profile_id", "audience_id", name="audiences_pk"),
        sa.ForeignKeyConstraint(
            ["profile_id", "company_id"],
            ["auth.profiles.id", "auth.profiles.company_id"],
            name="audiences_profiles_fk",
        ),
        sa.CheckConstraint("source IN ('created', 'named')", name="audiences_source_ck"),
        schema="auth",
    )
    op.create_table(
        "destinations",
        sa.Column("profile_id", sa.Uuid(), nullable=False),
        sa.Column("origin", sa.Text(), nullable=False),
        sa.Column("company_id", sa.BigInteger(), nullable=False),
        sa.Column("audience_name", sa.Text(), nullable=False),
        sa.Column("audience_id", sa.Text()),
        sa.Column("creating", sa.Boolean(), nullable=False),
        sa.Column("updated_at", sa.DateTime(timezone=True), nullable=False),
        sa.PrimaryKeyConstraint("profile_id", "origin", name="destinations_pk"),
        sa.ForeignKeyConstraint(
            ["profile_id", "company_id"],
            ["auth.profiles.id", "auth.profiles.company_id"],
            name="destinations_profiles_fk",
        ),
        sa.ForeignKeyConstraint(
            ["profile_id", "audience_id"],
            ["auth.audiences.profile_id", "auth.audiences.audience_id"],
            name="destinations_audiences_fk",
        ),
        sa.CheckConstraint("origin ~ '^(connection|subscription):[0-9a-f-]{36}$'", name="destinations_origin_ck"),
        sa.CheckConstraint("creating = (audience_id IS NULL)", name="destinations_creating_ck"),
        schema="auth",
    )


def downgrade() -> None:
    op.drop_table("destinations", schema="auth")
    op.drop_table("audiences", schema="auth")
    op.drop_table("tokens", schema="auth")
    op.drop_table("profiles", schema="auth")
