"""Accepting a delivery: into the ledger, once, whichever way and however often it comes."""

from sqlalchemy.ext.asyncio import AsyncEngine

from connector.telemetry import Telemetry
from schemas.events import DeliveryRequested
from services.ingest import deliveries
from services.ingest.clock import Clock
from services.ingest.deliveries import Acceptance, Conflict, Recorded
from services.ingest.facts import DeliveryRecorded, RevisionConflict


class Acceptor:
    """Records deliveries. *via* in its calls says how one came: `topic` or `api`."""

    def __init__(self, engine: AsyncEngine, telemetry: Telemetry, clock: Clock) -> None:
        self._engine = engine
        self._telemetry = telemetry
        self._clock = clock

    async def accept(self, event: DeliveryRequested, *, via: str, traceparent: str | None = None) -> Acceptance:
        """Records *event*; the same delivery again is known, another one under its revision a conflict."""
        async with self._engine.begin() as connection:
            acceptance = await deliveries.record(connection, event, traceparent=traceparent, now=self._clock())
        match acceptance:
            case Recorded():
                self._telemetry.emit(DeliveryRecorded(event.revision, event.kind, event.operation, len(event.files)))
            case Conflict(revision):
                self._telemetry.emit(RevisionConflict(revision, via))
            case _:
                pass
        return acceptance


def conflict_message(revision: int) -> str:
    """What a conflict says to whoever caused it."""
    return f"revision {revision} is taken by a delivery with other content: the first one stays as it is"


CONFLICT_CODE = "revision_conflict"
CONFLICT_ADVICE = "publish it with a revision of its own; a revision names one content for ever"
