"""The ledger's deliveries: recorded once per revision, moved from state to state under a row lock."""

import hashlib
import json
from dataclasses import dataclass
from datetime import datetime
from typing import Any
from uuid import UUID

from sqlalchemy import Row, Select, exists, insert, select, update
from sqlalchemy.dialects.postgresql import insert as upsert
from sqlalchemy.ext.asyncio import AsyncConnection

from schemas.events import DeliveryRequested, DeliveryState, Reason
from services.ingest.accounting import file_facts
from services.ingest.plan import Destination
from services.ingest.states import Planning, Settlement, Verdict, assess, ended, may_follow
from services.ingest.tables import chunks, deliveries, files


@dataclass(frozen=True)
class Delivery:
    """One row of the ledger: what was asked, and what became of it."""

    revision: int
    event: DeliveryRequested
    state: DeliveryState
    reason: Reason | None
    destination: Destination | None
    sequence: int
    published_sequence: int
    traceparent: str | None
    created_at: datetime
    updated_at: datetime
    ended_at: datetime | None


@dataclass(frozen=True)
class Recorded:
    """The delivery was not known; it is now."""

    delivery: Delivery


@dataclass(frozen=True)
class Known:
    """The same delivery was recorded before; this is where it stands."""

    delivery: Delivery


@dataclass(frozen=True)
class Conflict:
    """Another delivery was recorded under this revision; it stays as it is."""

    revision: int


Acceptance = Recorded | Known | Conflict


def content_of(event: DeliveryRequested) -> bytes:
    """What makes two deliveries the same: SHA-256 over the canonical JSON of all that is not a default.

    Defaults are left out so that an optional field added to the schema later does not turn a repeated delivery into a
    conflict.
    """
    document = event.model_dump(mode="json", exclude_defaults=True)
    # Not orjson: it refuses numbers beyond 64 bits, which only the database shall judge.
    return hashlib.sha256(json.dumps(document, sort_keys=True).encode()).digest()


async def record(
    connection: AsyncConnection, event: DeliveryRequested, *, traceparent: str | None, now: datetime
) -> Acceptance:
    """Writes the delivery and its files, unless the revision is taken."""
    content = content_of(event)
    written = await connection.execute(
        upsert(deliveries)
        .values(
            revision=event.revision,
            content=content,
            event=event.model_dump(mode="json", exclude_none=True),
            company_id=event.company_id,
            profile_id=event.profile_id,
            state=DeliveryState.ACCEPTED,
            sequence=1,
            traceparent=traceparent,
            created_at=now,
            updated_at=now,
        )
        .on_conflict_do_nothing(index_elements=[deliveries.c.revision])
        .returning(*deliveries.c)
    )
    row = written.one_or_none()
    if row is not None:
        await _record_files(connection, event)
        return Recorded(_delivery(row))
    known = (await connection.execute(_selected(event.revision))).one()
    return Known(_delivery(known)) if known.content == content else Conflict(event.revision)


async def _record_files(connection: AsyncConnection, event: DeliveryRequested) -> None:
    if event.files:
        rows = [
            {
                "revision": event.revision,
                "file_index": index,
                "name": file.name,
                "store": file.store,
                "key": file.key,
                "planning": Planning.PENDING,
            }
            for index, file in enumerate(event.files)
        ]
        await connection.execute(insert(files), rows)


async def find(connection: AsyncConnection, revision: int) -> Delivery | None:
    """The delivery *revision*, or None."""
    row = (await connection.execute(_selected(revision))).one_or_none()
    return None if row is None else _delivery(row)


async def locked(connection: AsyncConnection, revision: int) -> Delivery | None:
    """The delivery *revision*, its row locked until the transaction ends.

    Whoever changes anything a state is derived from takes this lock first: two processes that settle the last chunk and
    plan the last file at once would otherwise each see the other's half missing, and the delivery would never end.
    """
    row = (await connection.execute(_selected(revision).with_for_update())).one_or_none()
    return None if row is None else _delivery(row)


async def listed(
    connection: AsyncConnection,
    *,
    state: DeliveryState | None = None,
    company_id: int | None = None,
    after: int | None = None,
    limit: int,
) -> list[Delivery]:
    """Deliveries, newest (highest revision) first; *after* is the last revision of the page before."""
    query = select(deliveries).order_by(deliveries.c.revision.desc()).limit(limit)
    if state is not None:
        query = query.where(deliveries.c.state == state)
    if company_id is not None:
        query = query.where(deliveries.c.company_id == company_id)
    if after is not None:
        query = query.where(deliveries.c.revision < after)
    return [_delivery(row) for row in await connection.execute(query)]


async def send_to(connection: AsyncConnection, delivery: Delivery, destination: Destination, now: datetime) -> None:
    """Notes where the delivery goes; the row is locked by the caller."""
    await connection.execute(
        update(deliveries)
        .where(deliveries.c.revision == delivery.revision)
        .values(
            ad_account_id=destination.ad_account_id,
            audience_id=destination.audience_id,
            value_based=destination.value_based,
            updated_at=now,
        )
    )


async def move(connection: AsyncConnection, delivery: Delivery, verdict: Verdict, now: datetime) -> bool:
    """Moves a delivery, locked by the caller, to *verdict*; False when there is nothing to change.

    Each change raises the sequence: a status event is owed from here on.
    """
    if not may_follow(delivery.state, verdict.state):
        return False
    if (delivery.state, delivery.reason) == (verdict.state, verdict.reason):
        return False
    await connection.execute(
        update(deliveries)
        .where(deliveries.c.revision == delivery.revision)
        .values(
            state=verdict.state,
            reason=None if verdict.reason is None else verdict.reason.model_dump(mode="json"),
            sequence=deliveries.c.sequence + 1,
            updated_at=now,
            ended_at=now if ended(verdict.state) else None,
        )
    )
    return True


async def reassess(connection: AsyncConnection, delivery: Delivery, now: datetime) -> Verdict | None:
    """Derives the state of a delivery, locked by the caller, from its files and chunks; what it moved to, or None."""
    if ended(delivery.state) or await _still_the_same(connection, delivery):
        return None
    facts = await file_facts(connection, [delivery.revision])
    verdict = assess([fact for _, fact in sorted(facts[delivery.revision].items())])
    return verdict if await move(connection, delivery, verdict, now) else None


async def _still_the_same(connection: AsyncConnection, delivery: Delivery) -> bool:
    """Spares the sums: one open chunk keeps `uploading`, one unplanned file keeps `planning`."""
    match delivery.state:
        case DeliveryState.UPLOADING:
            found = exists().where(chunks.c.revision == delivery.revision, chunks.c.settlement == Settlement.OPEN)
        case DeliveryState.PLANNING:
            unplanned = files.c.planning.in_([Planning.PENDING, Planning.PLANNING])
            found = exists().where(files.c.revision == delivery.revision, unplanned)
        case _:
            return False
    return bool(await connection.scalar(select(found)))


async def unpublished(connection: AsyncConnection, *, before: datetime, limit: int) -> list[int]:
    """Revisions whose last change, older than *before*, was not published: what a crash left behind."""
    query = (
        select(deliveries.c.revision)
        .where(deliveries.c.published_sequence < deliveries.c.sequence, deliveries.c.updated_at < before)
        .order_by(deliveries.c.updated_at)
        .limit(limit)
    )
    return list(await connection.scalars(query))


async def mark_published(connection: AsyncConnection, revision: int, sequence: int) -> None:
    """Notes that the status *sequence* was acknowledged; never goes back when two publishers overlap."""
    await connection.execute(
        update(deliveries)
        .where(deliveries.c.revision == revision, deliveries.c.published_sequence < sequence)
        .values(published_sequence=sequence)
    )


async def touch(connection: AsyncConnection, revision: int, now: datetime) -> None:
    """Notes that a delivery was looked at: what waits is not released twice for one change of its profile."""
    await connection.execute(update(deliveries).where(deliveries.c.revision == revision).values(updated_at=now))


async def waiting_to_be_planned(connection: AsyncConnection, profile_id: UUID) -> list[Delivery]:
    """The deliveries of a profile that wait because auth could not say where they go."""
    query = (
        select(deliveries)
        .where(
            deliveries.c.profile_id == profile_id,
            deliveries.c.state == DeliveryState.WAITING,
            deliveries.c.audience_id.is_(None),
        )
        .order_by(deliveries.c.revision)
    )
    return [_delivery(row) for row in await connection.execute(query)]


def _selected(revision: int) -> Select[Any]:
    return select(deliveries).where(deliveries.c.revision == revision)


def _delivery(row: Row[Any]) -> Delivery:
    known = row.ad_account_id is not None and row.audience_id is not None
    return Delivery(
        revision=row.revision,
        event=DeliveryRequested.model_validate(row.event),
        state=DeliveryState(row.state),
        reason=None if row.reason is None else Reason.model_validate(row.reason),
        destination=Destination(row.ad_account_id, row.audience_id, row.value_based) if known else None,
        sequence=row.sequence,
        published_sequence=row.published_sequence,
        traceparent=row.traceparent,
        created_at=row.created_at,
        updated_at=row.updated_at,
        ended_at=row.ended_at,
    )
