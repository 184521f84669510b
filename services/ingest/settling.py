"""Applying an outcome to the ledger: a chunk settles once, in whatever order and however often outcomes come."""

from dataclasses import dataclass
from typing import assert_never

from sqlalchemy.ext.asyncio import AsyncConnection, AsyncEngine

from connector.telemetry import Telemetry
from schemas.events import ChunkSettled, Dead, Delivered, Outcome, Waiting
from services.ingest import chunks, deliveries, rejects
from services.ingest.clock import Clock
from services.ingest.deliveries import Delivery
from services.ingest.facts import ChunkApplied, DeliveryMoved, OutcomeRepeated
from services.ingest.plan import Destination
from services.ingest.states import Settlement, Verdict, settlement_applies
from services.ingest.status import StatusPublisher


@dataclass(frozen=True)
class Applied:
    """The chunk changed; `verdict` is what its delivery moved to by that, if it did."""

    verdict: Verdict | None


@dataclass(frozen=True)
class Repeated:
    """Nothing changed: this outcome was applied before, or the chunk is settled for good."""


@dataclass(frozen=True)
class Contradiction:
    """The outcome cannot be true of what the ledger planned; `code` and `message` say why."""

    code: str
    message: str


Result = Applied | Repeated | Contradiction


def settlement_of(outcome: Outcome) -> Settlement:
    """Where an outcome leaves its chunk."""
    match outcome:
        case Delivered():
            return Settlement.DELIVERED
        case Waiting():
            return Settlement.WAITING
        case Dead():
            return Settlement.DEAD
        case _:
            assert_never(outcome)


class Settler:
    """Applies `ChunkSettled` events, and publishes the status of a delivery that moves by one."""

    def __init__(self, engine: AsyncEngine, status: StatusPublisher, telemetry: Telemetry, clock: Clock) -> None:
        self._engine = engine
        self._status = status
        self._telemetry = telemetry
        self._clock = clock

    async def apply(self, event: ChunkSettled) -> Result:
        """Writes what became of a chunk, and the state its delivery comes into, in one transaction."""
        async with self._engine.begin() as connection:
            delivery = await deliveries.locked(connection, event.revision)
            result = await self._applied(connection, delivery, event)
        await self._tell(event, result)
        return result

    async def _applied(self, connection: AsyncConnection, delivery: Delivery | None, event: ChunkSettled) -> Result:
        standing = await chunks.standing(connection, event)
        if delivery is None or standing is None:
            return Contradiction("unknown_chunk", f"chunk {event.chunk_id} was never planned here")
        if event.counts.records != standing.records:
            message = f"chunk {event.chunk_id} has {standing.records} records, {event.counts.records} are accounted for"
            return Contradiction("records_mismatch", message)
        if delivery.destination != Destination(event.ad_account_id, event.audience_id):
            message = f"chunk {event.chunk_id} was sent to another ad account or audience than it was planned for"
            return Contradiction("wrong_destination", message)
        if not settlement_applies(
            standing.settlement,
            settled_before=standing.settled_at == event.settled_at,
            outdated=event.emission < standing.emission and not isinstance(event.outcome, Delivered),
        ):
            return Repeated()
        await chunks.settle(connection, event, settlement_of(event.outcome))
        await rejects.keep(connection, event.revision, event.file_index, event.rejects)
        return Applied(await deliveries.reassess(connection, delivery, self._clock()))

    async def _tell(self, event: ChunkSettled, result: Result) -> None:
        match result:
            case Applied(verdict):
                counts = event.counts
                self._telemetry.emit(
                    ChunkApplied(
                        event.chunk_id,
                        event.outcome.kind,
                        counts.accepted,
                        counts.invalid,
                        counts.rejected,
                        counts.dead,
                    )
                )
                if verdict is not None:
                    code = verdict.reason.code if verdict.reason else None
                    self._telemetry.emit(DeliveryMoved(event.revision, verdict.state, code))
                    await self._status.publish(event.revision)
            case Repeated():
                self._telemetry.emit(OutcomeRepeated(event.chunk_id))
            case Contradiction():
                pass  # the dead letter it becomes is the fact
            case _:
                assert_never(result)
