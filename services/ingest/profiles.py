"""What the ledger knows of profiles: whether each is connected, as auth said last."""

from uuid import UUID

from sqlalchemy import select, union
from sqlalchemy.dialects.postgresql import insert as upsert
from sqlalchemy.ext.asyncio import AsyncConnection

from schemas.events import DeliveryState, ProfileChanged, ProfileStatus
from services.ingest.states import Settlement
from services.ingest.tables import chunks, deliveries, profiles


async def remember(connection: AsyncConnection, event: ProfileChanged) -> None:
    """Notes *event*, unless a newer one was noted before."""
    statement = upsert(profiles).values(
        profile_id=event.profile_id, status=event.status, sequence=event.sequence, changed_at=event.changed_at
    )
    new = statement.excluded
    await connection.execute(
        statement.on_conflict_do_update(
            index_elements=[profiles.c.profile_id],
            set_={"status": new.status, "sequence": new.sequence, "changed_at": new.changed_at},
            where=profiles.c.sequence < new.sequence,
        )
    )


async def overlooked(connection: AsyncConnection) -> list[UUID]:
    """Profiles that were connected after something began to wait for them, and for which it still waits.

    An outcome may arrive after the event that would have released it; without this it would wait for the next one.
    """
    connected = profiles.c.status == ProfileStatus.CONNECTED
    mine = deliveries.c.profile_id == profiles.c.profile_id
    unplanned = (
        select(profiles.c.profile_id)
        .join(deliveries, mine)
        .where(
            connected,
            deliveries.c.state == DeliveryState.WAITING,
            deliveries.c.audience_id.is_(None),
            deliveries.c.updated_at < profiles.c.changed_at,
        )
    )
    unsent = (
        select(profiles.c.profile_id)
        .join(deliveries, mine)
        .join(chunks, chunks.c.revision == deliveries.c.revision)
        .where(
            connected,
            chunks.c.settlement == Settlement.WAITING,
            chunks.c.settled_at < profiles.c.changed_at,
        )
    )
    return list(await connection.scalars(union(unplanned, unsent)))
