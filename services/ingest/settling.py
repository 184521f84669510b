"""Applying an outcome to the ledger: a chunk settles once, in whatever order and however often outcomes come."""

from contextlib import suppress
from dataclasses import dataclass
from typing import assert_never

from sqlalchemy.ext.asyncio import AsyncConnection, AsyncEngine

from connector.telemetry import Telemetry
from schemas.events import REPLACE_RESTART, ChunkSettled, Dead, Delivered, Operation, Outcome, Waiting
from services.ingest import chunks, deliveries, rejects, replacing
from services.ingest.clock import Clock
from services.ingest.deliveries import Delivery
from services.ingest.emission import Emission
from services.ingest.facts import ChunkApplied, DeliveryMoved, OutcomeRepeated
from services.ingest.patience import TryLater
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


def is_replacement(delivery: Delivery) -> bool:
    """Whether a delivery replaces its audience."""
    return delivery.event.operation is Operation.REPLACE


class Settler:
    """Applies `ChunkSettled` events, publishes the status of a delivery that moves by one, and goes on replacing."""

    def __init__(
        self, engine: AsyncEngine, emission: Emission, status: StatusPublisher, telemetry: Telemetry, clock: Clock
    ) -> None:
        self._engine = engine
        self._emission = emission
        self._status = status
        self._telemetry = telemetry
        self._clock = clock

    async def apply(self, event: ChunkSettled) -> Result:
        """Writes what became of a chunk, and the state its delivery comes into, in one transaction."""
        async with self._engine.begin() as connection:
            delivery = await deliveries.locked(connection, event.revision)
            result = await self._applied(connection, delivery, event)
        await self._tell(event, result)
        if delivery is not None and delivery.destination is not None and is_replacement(delivery):
            with suppress(TryLater):  # the sweep sends what Kafka does not take now
                await self._emission.emit_due(delivery, delivery.destination)
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
            outdated=event.emission < standing.emission
            and (is_replacement(delivery) or not isinstance(event.outcome, Delivered)),
        ):
            return Repeated()
        await chunks.settle(connection, event, settlement_of(event.outcome))
        if is_replacement(delivery):
            await self._replaced(connection, event)
        await rejects.keep(connection, event.revision, event.file_index, event.rejects)
        return Applied(await deliveries.reassess(connection, delivery, self._clock()))

    async def _replaced(self, connection: AsyncConnection, event: ChunkSettled) -> None:
        """What a chunk's end means for all of its replacement: one too late begins it anew, one given up breaks it."""
        broken = await replacing.any_in(connection, event.revision, Settlement.DEAD)
        too_late = isinstance(event.outcome, Waiting) and event.outcome.cause == REPLACE_RESTART
        if too_late and not broken and event.emission < replacing.MAX_EMISSIONS:
            await replacing.restart(connection, event.revision)
        elif too_late or broken:
            reason = replacing.TOO_OFTEN if too_late and not broken else replacing.BROKEN
            await replacing.give_up(connection, event.revision, reason, self._clock())

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
