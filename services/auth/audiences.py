"""The ledger of audiences: which ones a profile may deliver to, and which one each of its origins uses."""

import asyncio
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass
from datetime import datetime
from enum import StrEnum
from typing import Any
from uuid import UUID

from sqlalchemy import delete, func, select
from sqlalchemy.dialects.postgresql import insert
from sqlalchemy.exc import OperationalError
from sqlalchemy.exc import TimeoutError as PoolTimeout
from sqlalchemy.ext.asyncio import AsyncConnection, AsyncEngine

from services.auth.profiles import Profile
from services.auth.refusals import Code, Refusal
from services.auth.tables import audiences, destinations


class Source(StrEnum):
    """How an audience came into the ledger: we created it, or the customer named one that was there."""

    CREATED = "created"
    NAMED = "named"


@dataclass(frozen=True)
class Audience:
    """A Custom Audience by id and name. A value-based one takes no row without a value (LOOKALIKE_VALUE)."""

    id: str
    name: str
    value_based: bool = False


@dataclass(frozen=True)
class Intent:
    """A create of an audience called *name* was about to be sent at *since*; what became of it is not known."""

    name: str
    since: datetime


class AudienceLedger:
    """The tables `audiences` and `destinations`."""

    def __init__(self, engine: AsyncEngine, clock: Callable[[], datetime]) -> None:
        self._engine = engine
        self._clock = clock

    async def holds(self, profile: Profile, audience_id: str) -> bool:
        """Whether *profile* may deliver to the audience, on the ad account the profile has now."""
        query = select(audiences.c.audience_id).where(
            audiences.c.profile_id == profile.id,
            audiences.c.company_id == profile.company_id,
            audiences.c.ad_account_id == profile.ad_account.id,
            audiences.c.audience_id == audience_id,
        )
        async with self._engine.connect() as connection:
            return await connection.scalar(query) is not None

    async def used_by(self, profile_id: UUID, origin: str) -> Audience | Intent | None:
        """The audience *origin* delivers to, the intent to create one, or neither."""
        of_profile = destinations.c.profile_id == audiences.c.profile_id
        query = (
            select(destinations, audiences.c.value_based)
            .outerjoin(audiences, of_profile & (destinations.c.audience_id == audiences.c.audience_id))
            .where(destinations.c.profile_id == profile_id, destinations.c.origin == origin)
        )
        async with self._engine.connect() as connection:
            row = (await connection.execute(query)).one_or_none()
        if row is None:
            return None
        if row.audience_id is None:
            return Intent(row.audience_name, row.updated_at)
        return Audience(row.audience_id, row.audience_name, row.value_based)

    async def use(self, profile: Profile, origin: str, audience: Audience, source: Source) -> None:
        """Lets *profile* deliver to *audience*, and *origin* do so from now on."""
        now = self._clock()
        ledger = insert(audiences).values(
            profile_id=profile.id,
            audience_id=audience.id,
            company_id=profile.company_id,
            ad_account_id=profile.ad_account.id,
            name=audience.name,
            source=source,
            value_based=audience.value_based,
            added_at=now,
        )
        async with self._engine.begin() as connection:
            await connection.execute(ledger.on_conflict_do_nothing())
            await self._point(connection, profile, origin, audience_id=audience.id, audience_name=audience.name)

    async def intend(self, profile: Profile, origin: str, name: str) -> None:
        """Records, before it is sent, that an audience called *name* is created for *origin*."""
        async with self._engine.begin() as connection:
            await self._point(connection, profile, origin, audience_id=None, audience_name=name)

    async def give_up_intent(self, profile: Profile, origin: str) -> None:
        """Forgets the intent: Meta is known not to have created anything."""
        statement = delete(destinations).where(
            destinations.c.profile_id == profile.id,
            destinations.c.origin == origin,
            destinations.c.audience_id.is_(None),
        )
        async with self._engine.begin() as connection:
            await connection.execute(statement)

    async def _point(self, connection: AsyncConnection, profile: Profile, origin: str, **target: Any) -> None:
        values = {**target, "creating": target["audience_id"] is None, "updated_at": self._clock()}
        statement = insert(destinations).values(
            profile_id=profile.id, origin=origin, company_id=profile.company_id, **values
        )
        await connection.execute(statement.on_conflict_do_update(index_elements=["profile_id", "origin"], set_=values))


class OneAtATime:
    """Lets one caller at a time work on an origin, in this process and in all others.

    PostgreSQL's advisory locks decide between processes. They are held by sessions of an engine of their own: the one
    who holds a lock needs ordinary connections to do its work, and would starve behind those who wait for the lock if
    all came from one pool. In this process a plain lock comes first, so that a crowd waits without a session each.
    """

    def __init__(self, engine: AsyncEngine) -> None:
        self._engine = engine
        self._local: dict[str, tuple[asyncio.Lock, int]] = {}

    @asynccontextmanager
    async def on(self, profile_id: UUID, origin: str) -> AsyncIterator[None]:
        """Holds the lock of *origin*.

        Raises:
            Refusal: `busy`, somebody else held it for too long.
        """
        name = f"fbc:auth:destination:{profile_id}:{origin}"
        async with self._alone_here(name), self._alone_anywhere(name):
            yield

    @asynccontextmanager
    async def _alone_here(self, name: str) -> AsyncIterator[None]:
        lock, users = self._local.get(name, (asyncio.Lock(), 0))
        self._local[name] = (lock, users + 1)
        try:
            async with lock:
                yield
        finally:
            lock, users = self._local[name]
            if users == 1:
                del self._local[name]
            else:
                self._local[name] = (lock, users - 1)

    @asynccontextmanager
    async def _alone_anywhere(self, name: str) -> AsyncIterator[None]:
        key = func.hashtextextended(name, 0)
        try:
            # Autocommit: a transaction left open during calls to Meta would hold back vacuum, and be ended as idle.
            connection = await self._engine.connect()
        except (PoolTimeout, OperationalError) as error:
            raise _busy() from error
        try:
            connection = await connection.execution_options(isolation_level="AUTOCOMMIT")
            try:
                await connection.execute(select(func.pg_advisory_lock(key)))
            except OperationalError as error:  # the statement time-out ended the wait
                raise _busy() from error
            try:
                yield
            finally:
                await _unlock(connection, key)
        finally:
            await connection.close()


async def _unlock(connection: AsyncConnection, key: Any) -> None:
    """Gives the lock back; a session that cannot is thrown away, and its lock with it."""
    try:
        await connection.execute(select(func.pg_advisory_unlock(key)))
    except BaseException:
        await connection.invalidate()
        raise


def _busy() -> Refusal:
    return Refusal(Code.BUSY, "this destination is being resolved by somebody else", "ask again", retry_after=2)
