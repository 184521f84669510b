"""The tables of auth, all in its own schema. Tokens lie apart from profiles: reading a profile never reads a token."""

from datetime import datetime

from sqlalchemy import (
    ARRAY,
    BigInteger,
    Boolean,
    CheckConstraint,
    Column,
    DateTime,
    ForeignKeyConstraint,
    Index,
    Integer,
    LargeBinary,
    MetaData,
    PrimaryKeyConstraint,
    SmallInteger,
    Table,
    Text,
    UniqueConstraint,
    Uuid,
    false,
)
from sqlalchemy.dialects.postgresql import JSONB

SCHEMA = "auth"

NAMING = {
    "pk": "%(table_name)s_pk",
    "fk": "%(table_name)s_%(referred_table_name)s_fk",
    "uq": "%(table_name)s_%(column_0_N_name)s_uq",
    "ck": "%(table_name)s_%(constraint_name)s_ck",
}

metadata = MetaData(schema=SCHEMA, naming_convention=NAMING)


def _moment(name: str, *, nullable: bool = False) -> Column[datetime]:
    return Column(name, DateTime(timezone=True), nullable=nullable)


profiles = Table(
    "profiles",
    metadata,
    Column("id", Uuid, nullable=False),
    Column("company_id", BigInteger, nullable=False),
    Column("name", Text, nullable=False),
    Column("description", Text),
    Column("status", Text, nullable=False),
    Column("reason", JSONB(none_as_null=True)),
    Column("ad_account_id", Text, nullable=False),
    Column("ad_account_name", Text, nullable=False),
    Column("business_id", Text, nullable=False),
    Column("business_name", Text, nullable=False),
    Column("customer_file_source", Text, nullable=False),
    Column("sequence", BigInteger, nullable=False),
    Column("published_sequence", BigInteger, nullable=False),
    _moment("created_at"),
    _moment("updated_at"),
    PrimaryKeyConstraint("id"),
    UniqueConstraint("company_id", "name"),
    UniqueConstraint("id", "company_id"),
    CheckConstraint("status IN ('connected', 'token_dead', 'disabled', 'archived')", name="status"),
    CheckConstraint("ad_account_id ~ '^act_[0-9]{1,32}$'", name="ad_account"),
    CheckConstraint(
        "customer_file_source IN ('USER_PROVIDED_ONLY', 'PARTNER_PROVIDED_ONLY', 'BOTH_USER_AND_PARTNER_PROVIDED')",
        name="customer_file_source",
    ),
    CheckConstraint("published_sequence <= sequence", name="sequence"),
)
"""A customer's connection to one ad account. `sequence` grows with each change that others are told of."""

Index(
    "profiles_unpublished_ix",
    profiles.c.updated_at,
    postgresql_where=profiles.c.published_sequence < profiles.c.sequence,
)

tokens = Table(
    "tokens",
    metadata,
    Column("profile_id", Uuid, nullable=False),
    Column("company_id", BigInteger, nullable=False),
    Column("version", Integer, nullable=False),
    Column("fmt", SmallInteger, nullable=False),
    Column("kek_ref", Text, nullable=False),
    Column("wrapped_dek", LargeBinary, nullable=False),
    Column("nonce", LargeBinary, nullable=False),
    Column("ciphertext", LargeBinary, nullable=False),
    Column("user_id", Text, nullable=False),
    Column("user_name", Text, nullable=False),
    Column("scopes", ARRAY(Text), nullable=False),
    _moment("expires_at", nullable=True),
    _moment("data_access_expires_at", nullable=True),
    _moment("written_at"),
    PrimaryKeyConstraint("profile_id"),
    ForeignKeyConstraint(["profile_id", "company_id"], ["auth.profiles.id", "auth.profiles.company_id"]),
)
"""A profile's token, sealed (`vault.py`), and what Meta says about it. `version` grows when it is replaced."""

audiences = Table(
    "audiences",
    metadata,
    Column("profile_id", Uuid, nullable=False),
    Column("audience_id", Text, nullable=False),
    Column("company_id", BigInteger, nullable=False),
    Column("ad_account_id", Text, nullable=False),
    Column("name", Text, nullable=False),
    Column("source", Text, nullable=False),
    _moment("added_at"),
    # Meta refuses a value-based audience every call without LOOKALIKE_VALUE (code 100).
    Column("value_based", Boolean, nullable=False, server_default=false()),
    PrimaryKeyConstraint("profile_id", "audience_id"),
    ForeignKeyConstraint(["profile_id", "company_id"], ["auth.profiles.id", "auth.profiles.company_id"]),
    CheckConstraint("source IN ('created', 'named')", name="source"),
)
"""The ledger of audiences: each one a profile may deliver to. Leases are given for these and no others.

A row stays when a destination moves on to another audience, because chunks planned before that are still on their way.
"""

destinations = Table(
    "destinations",
    metadata,
    Column("profile_id", Uuid, nullable=False),
    Column("origin", Text, nullable=False),
    Column("company_id", BigInteger, nullable=False),
    Column("audience_name", Text, nullable=False),
    Column("audience_id", Text),
    Column("creating", Boolean, nullable=False),
    _moment("updated_at"),
    PrimaryKeyConstraint("profile_id", "origin"),
    ForeignKeyConstraint(["profile_id", "company_id"], ["auth.profiles.id", "auth.profiles.company_id"]),
    ForeignKeyConstraint(["profile_id", "audience_id"], ["auth.audiences.profile_id", "auth.audiences.audience_id"]),
    CheckConstraint("origin ~ '^(connection|subscription):[0-9a-f-]{36}$'", name="origin"),
    CheckConstraint("creating = (audience_id IS NULL)", name="creating"),
)
"""Which audience a connection or subscription delivers to.

Without an audience the row is an intent: a create was about to be sent, and whether Meta acted on it is not known yet.
"""
