"""Profiles: a customer's connection to one ad account, with its token sealed beside it."""

from collections.abc import Callable
from dataclasses import dataclass
from datetime import datetime
from enum import StrEnum
from typing import Any
from uuid import UUID, uuid4

from pydantic import SecretStr
from sqlalchemy import ColumnElement, Row, Select, and_, insert, select, update
from sqlalchemy.exc import IntegrityError
from sqlalchemy.ext.asyncio import AsyncConnection, AsyncEngine

from schemas.events import ProfileStatus, Reason
from services.auth.refusals import Code, Refusal
from services.auth.tables import profiles, tokens
from services.auth.vault import Owner, Sealed, Vault

PAGE = 200
"""Profiles one question answers with at most."""


class CustomerFileSource(StrEnum):
    """Where the data came from. A legal statement to Meta, so it is the customer's to make and never ours to assume."""

    USER_PROVIDED_ONLY = "USER_PROVIDED_ONLY"
    PARTNER_PROVIDED_ONLY = "PARTNER_PROVIDED_ONLY"
    BOTH_USER_AND_PARTNER_PROVIDED = "BOTH_USER_AND_PARTNER_PROVIDED"


@dataclass(frozen=True)
class AdAccount:
    """An ad account (`act_…`) and the business that owns it."""

    id: str
    name: str
    business_id: str
    business_name: str


@dataclass(frozen=True)
class Grant:
    """What Meta says about a token: whose it is, what it allows, until when (None: it does not expire)."""

    user_id: str
    user_name: str
    scopes: tuple[str, ...]
    expires_at: datetime | None
    data_access_expires_at: datetime | None


@dataclass(frozen=True)
class Wish:
    """The profile a caller asks for, apart from what Meta says about it."""

    company_id: int
    name: str
    description: str | None
    customer_file_source: CustomerFileSource


@dataclass(frozen=True)
class Profile:
    """A profile as it is stored, without its token. `token_version` tells which token a statement was about."""

    id: UUID
    company_id: int
    name: str
    description: str | None
    status: ProfileStatus
    reason: Reason | None
    ad_account: AdAccount
    customer_file_source: CustomerFileSource
    grant: Grant
    token_version: int
    sequence: int
    created_at: datetime
    updated_at: datetime

    def document(self) -> dict[str, Any]:
        """As the API shows it."""
        account = self.ad_account
        return {
            "id": self.id,
            "company_id": self.company_id,
            "name": self.name,
            "description": self.description,
            "status": self.status.value,
            "reason": None if self.reason is None else self.reason.model_dump(),
            "ad_account": {
                "id": account.id,
                "name": account.name,
                "business": {"id": account.business_id, "name": account.business_name},
            },
            "user": {"id": self.grant.user_id, "name": self.grant.user_name},
            "customer_file_source": self.customer_file_source.value,
            "token": {
                "scopes": list(self.grant.scopes),
                "expires_at": self.grant.expires_at,
                "data_access_expires_at": self.grant.data_access_expires_at,
            },
            "created_at": self.created_at,
            "updated_at": self.updated_at,
        }


class Profiles:
    """The profiles in the database.

    Each change others are told of makes `sequence` one greater in the same transaction; `announcing.py` publishes it.
    """

    def __init__(self, engine: AsyncEngine, vault: Vault, clock: Callable[[], datetime]) -> None:
        self._engine = engine
        self._vault = vault
        self._clock = clock

    async def get(self, profile_id: UUID) -> Profile:
        """The profile.

        Raises:
            Refusal: `unknown_profile`.
        """
        found = await self._select(profiles.c.id == profile_id)
        if not found:
            raise Refusal(Code.UNKNOWN_PROFILE, f"there is no profile {profile_id}", "connect one, or correct the id")
        return found[0]

    async def find(self, *, company_id: int | None = None, name: str | None = None) -> list[Profile]:
        """Profiles by company, by name, by both or all of them, oldest first; at most `PAGE`."""
        conditions: list[ColumnElement[bool]] = []
        if company_id is not None:
            conditions.append(profiles.c.company_id == company_id)
        if name is not None:
            conditions.append(profiles.c.name == name)
        return await self._select(*conditions)

    async def token(self, profile: Profile) -> SecretStr:
        """The profile's token in the clear: for a call made now, never to be kept.

        Raises:
            CannotOpen: The row was altered, moved, or its key is not configured.
        """
        query = select(tokens).where(tokens.c.profile_id == profile.id, tokens.c.company_id == profile.company_id)
        async with self._engine.connect() as connection:
            row = (await connection.execute(query)).one()
        sealed = Sealed(row.fmt, row.kek_ref, row.wrapped_dek, row.nonce, row.ciphertext)
        secret = await self._vault.open(sealed, Owner(profile.company_id, profile.id))
        return SecretStr(secret.decode())

    async def connect(self, wish: Wish, account: AdAccount, grant: Grant, token: SecretStr) -> tuple[Profile, bool]:
        """Creates the profile, or gives the company's profile of that name a new token; whether it was created.

        Raises:
            Refusal: The profile of that name belongs to another ad account, or is disabled.
        """
        for _ in range(2):  # the second time round somebody else has just created it: then it is a reconnect
            existing = await self.find(company_id=wish.company_id, name=wish.name)
            profile_id = existing[0].id if existing else uuid4()
            sealed = await self._vault.seal(token.get_secret_value().encode(), Owner(wish.company_id, profile_id))
            if existing:
                await self._reconnect(profile_id, wish, account, grant, sealed)
            elif not await self._create(profile_id, wish, account, grant, sealed):
                continue
            return await self.get(profile_id), not existing
        raise Refusal(Code.BUSY, "the profile is being created by somebody else", "try again", retry_after=1)

    async def mark_dead(self, profile: Profile, reason: Reason) -> bool:
        """Records that Meta refused *profile*'s token; False when it was replaced meanwhile or was known to be dead."""
        current = select(tokens.c.version).where(tokens.c.profile_id == profile.id).scalar_subquery()
        statement = (
            update(profiles)
            .where(
                profiles.c.id == profile.id,
                profiles.c.status == ProfileStatus.CONNECTED,
                current == profile.token_version,
            )
            .values(**self._changed(ProfileStatus.TOKEN_DEAD, reason))
        )
        async with self._engine.begin() as connection:
            return (await connection.execute(statement)).rowcount > 0

    async def unpublished(self) -> list[UUID]:
        """Profiles whose last change was not published yet, oldest change first."""
        query = (
            select(profiles.c.id)
            .where(profiles.c.published_sequence < profiles.c.sequence)
            .order_by(profiles.c.updated_at)
            .limit(PAGE)
        )
        async with self._engine.connect() as connection:
            return list((await connection.scalars(query)).all())

    async def mark_published(self, profile: Profile) -> bool:
        """Records that this very state was published; False when the profile has changed since."""
        statement = (
            update(profiles)
            .where(profiles.c.id == profile.id, profiles.c.sequence == profile.sequence)
            .values(published_sequence=profile.sequence)
        )
        async with self._engine.begin() as connection:
            return (await connection.execute(statement)).rowcount > 0

    async def _select(self, *conditions: ColumnElement[bool]) -> list[Profile]:
        query = _PROFILE.where(*conditions).order_by(profiles.c.created_at, profiles.c.id).limit(PAGE)
        async with self._engine.connect() as connection:
            return [_profile(row) for row in (await connection.execute(query)).all()]

    async def _create(self, profile_id: UUID, wish: Wish, account: AdAccount, grant: Grant, sealed: Sealed) -> bool:
        now = self._clock()
        try:
            async with self._engine.begin() as connection:
                await connection.execute(
                    insert(profiles).values(
                        id=profile_id,
                        company_id=wish.company_id,
                        name=wish.name,
                        sequence=1,
                        published_sequence=0,
                        status=ProfileStatus.CONNECTED,
                        ad_account_id=account.id,
                        created_at=now,
                        updated_at=now,
                        **_described(wish, account),
                    )
                )
                await connection.execute(
                    insert(tokens).values(
                        profile_id=profile_id, company_id=wish.company_id, version=1, **_token(grant, sealed, now)
                    )
                )
        except IntegrityError:
            return False
        return True

    async def _reconnect(self, profile_id: UUID, wish: Wish, account: AdAccount, grant: Grant, sealed: Sealed) -> None:
        async with self._engine.begin() as connection:
            await _check_reconnectable(connection, profile_id, account)
            await connection.execute(
                update(profiles)
                .where(profiles.c.id == profile_id)
                .values(**self._changed(ProfileStatus.CONNECTED, None), **_described(wish, account))
            )
            await connection.execute(
                update(tokens)
                .where(tokens.c.profile_id == profile_id)
                .values(version=tokens.c.version + 1, **_token(grant, sealed, self._clock()))
            )

    def _changed(self, status: ProfileStatus, reason: Reason | None) -> dict[str, Any]:
        return {
            "status": status,
            "reason": None if reason is None else reason.model_dump(),
            "sequence": profiles.c.sequence + 1,
            "updated_at": self._clock(),
        }


async def _check_reconnectable(connection: AsyncConnection, profile_id: UUID, account: AdAccount) -> None:
    """Holds the row until the transaction ends.

    Raises:
        Refusal: Another ad account (its audiences would become another customer's), or disabled by somebody.
    """
    query = select(profiles.c.ad_account_id, profiles.c.status).where(profiles.c.id == profile_id).with_for_update()
    row = (await connection.execute(query)).one()
    if row.ad_account_id != account.id:
        raise Refusal(
            Code.AD_ACCOUNT_DIFFERS,
            f"profile {profile_id} belongs to {row.ad_account_id}, not to {account.id}",
            "a profile stays with its ad account: connect the other one under another name",
        )
    if row.status in {ProfileStatus.DISABLED, ProfileStatus.ARCHIVED}:
        raise Refusal(Code.PROFILE_DISABLED, f"profile {profile_id} is {row.status}", "enable it before reconnecting")


def _described(wish: Wish, account: AdAccount) -> dict[str, Any]:
    return {
        "description": wish.description,
        "customer_file_source": wish.customer_file_source,
        "ad_account_name": account.name,
        "business_id": account.business_id,
        "business_name": account.business_name,
    }


def _token(grant: Grant, sealed: Sealed, now: datetime) -> dict[str, Any]:
    return {
        "fmt": sealed.fmt,
        "kek_ref": sealed.kek_ref,
        "wrapped_dek": sealed.wrapped_dek,
        "nonce": sealed.nonce,
        "ciphertext": sealed.ciphertext,
        "user_id": grant.user_id,
        "user_name": grant.user_name,
        "scopes": list(grant.scopes),
        "expires_at": grant.expires_at,
        "data_access_expires_at": grant.data_access_expires_at,
        "written_at": now,
    }


_PROFILE: Select[Any] = select(
    *profiles.c,
    tokens.c.version,
    tokens.c.user_id,
    tokens.c.user_name,
    tokens.c.scopes,
    tokens.c.expires_at,
    tokens.c.data_access_expires_at,
).join(tokens, and_(tokens.c.profile_id == profiles.c.id, tokens.c.company_id == profiles.c.company_id))


def _profile(row: Row[Any]) -> Profile:
    return Profile(
        id=row.id,
        company_id=row.company_id,
        name=row.name,
        description=row.description,
        status=ProfileStatus(row.status),
        reason=None if row.reason is None else Reason.model_validate(row.reason),
        ad_account=AdAccount(row.ad_account_id, row.ad_account_name, row.business_id, row.business_name),
        customer_file_source=CustomerFileSource(row.customer_file_source),
        grant=Grant(row.user_id, row.user_name, tuple(row.scopes), row.expires_at, row.data_access_expires_at),
        token_version=row.version,
        sequence=row.sequence,
        created_at=row.created_at,
        updated_at=row.updated_at,
    )
