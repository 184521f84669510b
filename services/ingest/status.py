"""Telling upstream what state a delivery is in: after the commit, at least once, never an older state as a newer one.

Row and event must agree. The row carries the sequence of its last change and of the last published one; whoever changes
a row publishes after its commit, and what a crash left in between is found by the sweep.
"""

from datetime import datetime, timedelta

from sqlalchemy.ext.asyncio import AsyncEngine

from connector.kafka.events import Encoded, encode
from connector.kafka.headers import child_traceparent
from connector.kafka.producer import EventProducer, ProduceError
from connector.kafka.topics import DELIVERY_STATUS
from connector.telemetry import Telemetry
from schemas.events import DeliveryStatusChanged, Totals
from schemas.registry import DELIVERY_STATUS_CHANGED
from services.ingest import deliveries
from services.ingest.accounting import file_facts
from services.ingest.clock import Clock
from services.ingest.deliveries import Delivery
from services.ingest.facts import StatusUnpublished
from services.ingest.states import total


def status_event(delivery: Delivery, totals: Totals, source: str, now: datetime) -> Encoded:
    """The record that tells where *delivery* stands."""
    event = delivery.event
    changed = DeliveryStatusChanged(
        revision=delivery.revision,
        sequence=delivery.sequence,
        company_id=event.company_id,
        profile_id=event.profile_id,
        connection_id=event.connection_id,
        subscription_id=event.subscription_id,
        state=delivery.state,
        audience_id=delivery.destination.audience_id if delivery.destination else None,
        totals=totals,
        reason=delivery.reason,
        changed_at=delivery.updated_at,
    )
    return encode(
        DELIVERY_STATUS_CHANGED,
        changed,
        key=str(delivery.revision),
        identity=(delivery.revision, delivery.sequence),
        source=source,
        subject=str(delivery.revision),
        now=now,
        traceparent=child_traceparent(
            delivery.traceparent, f"delivery/{delivery.revision}", f"status/{delivery.revision}/{delivery.sequence}"
        ),
    )


class StatusPublisher:
    """Publishes the current state of a delivery when it was not published yet. *source* is the service's name."""

    def __init__(
        self, engine: AsyncEngine, producer: EventProducer, source: str, telemetry: Telemetry, clock: Clock
    ) -> None:
        self._engine = engine
        self._producer = producer
        self._source = source
        self._telemetry = telemetry
        self._clock = clock

    async def publish(self, revision: int) -> None:
        """Publishes what is owed for *revision*; a broker that does not acknowledge leaves it to the sweep."""
        async with self._engine.connect() as connection:
            delivery = await deliveries.find(connection, revision)
            if delivery is None or delivery.published_sequence >= delivery.sequence:
                return
            facts = await file_facts(connection, [revision])
        totals = total([file.totals for file in facts[revision].values()])
        try:
            await self._producer.publish(DELIVERY_STATUS, status_event(delivery, totals, self._source, self._clock()))
        except ProduceError as error:
            self._telemetry.emit(StatusUnpublished(revision, type(error).__name__))
            return
        async with self._engine.begin() as connection:
            await deliveries.mark_published(connection, revision, delivery.sequence)

    async def sweep(self, *, age: float, limit: int) -> int:
        """Publishes at most *limit* states that are owed for longer than *age* seconds; how many were owed."""
        before = self._clock() - timedelta(seconds=age)
        async with self._engine.connect() as connection:
            owed = await deliveries.unpublished(connection, before=before, limit=limit)
        for revision in owed:
            await self.publish(revision)
        return len(owed)
