"""What waits for a person goes on when auth says that the profile is connected again, or an operator does."""

import asyncio
import random
from datetime import datetime
from functools import partial
from uuid import UUID

from sqlalchemy.ext.asyncio import AsyncEngine

from connector.kafka.events import PoisonEvent, decode
from connector.kafka.headers import KafkaRecord
from connector.kafka.producer import EventProducer, ProduceError
from connector.kafka.record import leave_unfinished
from connector.kafka.topics import DELIVERIES, PROFILES_DLQ
from connector.telemetry import Telemetry
from schemas.events import DeliveryState, Operation, ProfileChanged, ProfileStatus
from schemas.registry import PROFILE_CHANGED
from services.ingest import chunks, deliveries, profiles, replacing
from services.ingest.clock import Clock
from services.ingest.deadletters import DeadLetters
from services.ingest.deliveries import Delivery
from services.ingest.emission import Emission
from services.ingest.facts import DeliveryReleased, WaitingReleased
from services.ingest.holding import Holding, Stopped, Unrecordable, pause
from services.ingest.patience import Patience, TryLater
from services.ingest.publication import delivery_record
from services.ingest.states import Settlement
from services.ingest.status import StatusPublisher


class Releaser:
    """Lets go on what waits for a profile. Everything here is safe to do twice."""

    def __init__(
        self,
        *,
        engine: AsyncEngine,
        producer: EventProducer,
        emission: Emission,
        status: StatusPublisher,
        telemetry: Telemetry,
        clock: Clock,
    ) -> None:
        self._engine = engine
        self._producer = producer
        self._emission = emission
        self._status = status
        self._telemetry = telemetry
        self._clock = clock

    async def remember(self, event: ProfileChanged) -> None:
        """Notes what auth said of a profile."""
        async with self._engine.begin() as connection:
            await profiles.remember(connection, event)

    async def release(self, profile_id: UUID) -> None:
        """Sends the waiting chunks of a profile again, and has its waiting deliveries planned again.

        Raises:
            TryLater: Kafka did not acknowledge; call again.
        """
        planned = await self._plan_again(profile_id)
        async with self._engine.connect() as connection:
            revisions = await chunks.to_release(connection, profile_id)
        released = sum([await self._send_again(revision) for revision in revisions])
        if planned or revisions:
            self._telemetry.emit(WaitingReleased(str(profile_id), released, planned))

    async def release_delivery(self, revision: int) -> int:
        """Sends the waiting chunks of one delivery again, as an operator asked; how many.

        A delivery that waits because auth could not say where it goes is planned again instead.

        Raises:
            TryLater: Kafka did not acknowledge; call again.
        """
        async with self._engine.connect() as connection:
            delivery = await deliveries.find(connection, revision)
        if delivery is not None and delivery.destination is None:
            if delivery.state is DeliveryState.WAITING:
                await self._to_be_planned(delivery)
            return 0
        released = await self._send_again(revision)
        self._telemetry.emit(DeliveryReleased(revision, released))
        return released

    async def sweep(self) -> None:
        """Releases what began to wait before its profile was connected, and was overlooked."""
        async with self._engine.connect() as connection:
            overlooked = await profiles.overlooked(connection)
        for profile_id in overlooked:
            await self.release(profile_id)

    async def send_unsent(self, *, before: datetime, limit: int) -> None:
        """Sends what a crash left unsent, of deliveries that moved last before *before*.

        Raises:
            TryLater: Kafka did not acknowledge; call again.
        """
        async with self._engine.connect() as connection:
            revisions = await chunks.unsent(connection, before=before, limit=limit)
            found = [await deliveries.find(connection, revision) for revision in revisions]
        for delivery in found:
            if delivery is not None and delivery.destination is not None:
                await self._emission.emit_due(delivery, delivery.destination)

    async def _plan_again(self, profile_id: UUID) -> int:
        """Writes the deliveries to their topic once more: they take the road of every other one."""
        async with self._engine.connect() as connection:
            waiting = await deliveries.waiting_to_be_planned(connection, profile_id)
        for delivery in waiting:
            await self._to_be_planned(delivery)
        return len(waiting)

    async def _to_be_planned(self, delivery: Delivery) -> None:
        record = delivery_record(delivery.event, now=self._clock(), traceparent=delivery.traceparent)
        try:
            await self._producer.publish(DELIVERIES, record)
        except ProduceError as error:
            raise TryLater("kafka_unavailable", str(error)) from error
        async with self._engine.begin() as connection:
            await deliveries.touch(connection, delivery.revision, self._clock())

    async def _send_again(self, revision: int) -> int:
        async with self._engine.begin() as connection:
            delivery = await deliveries.locked(connection, revision)
            if delivery is None or delivery.destination is None:
                return 0
            if delivery.event.operation is not Operation.REPLACE:
                released = await chunks.release_waiting(connection, revision)
            elif await replacing.any_in(connection, revision, Settlement.WAITING):
                released = await replacing.restart(connection, revision)
            else:
                released = 0
            await deliveries.reassess(connection, delivery, self._clock())
        await self._emission.emit_due(delivery, delivery.destination)
        await self._status.publish(revision)
        return released


class ProfileIntake:
    """Handles records of the profiles topic."""

    def __init__(
        self,
        *,
        releaser: Releaser,
        dead_letters: DeadLetters,
        holding: Holding,
        patience: Patience,
        stop: asyncio.Event,
    ) -> None:
        self._releaser = releaser
        self._dead_letters = dead_letters
        self._holding = holding
        self._patience = patience
        self._stop = stop

    async def handle(self, record: KafkaRecord) -> None:
        """Returns when the record is done with for good.

        Raises:
            CancelledError: The process is to stop first; the record will be read again.
        """
        try:
            await self._handle(record)
        except Stopped:
            await leave_unfinished()

    async def bury_defect(self, record: KafkaRecord, error: Exception) -> None:
        """Puts aside a record our own code broke on."""
        await self._bury(record, "defect", type(error).__name__, "our own code failed on this record")

    async def _handle(self, record: KafkaRecord) -> None:
        if record.value is None:  # a tombstone: the topic is compacted, and this profile is gone
            return
        try:
            event = decode(PROFILE_CHANGED, ProfileChanged, record.value, record.headers)
            await self._holding(partial(self._releaser.remember, event))
        except PoisonEvent as error:
            await self._bury(record, "poison", error.code, str(error))
            return
        except Unrecordable as error:
            await self._bury(record, "poison", "unrecordable", str(error))
            return
        if event.status is ProfileStatus.CONNECTED:
            await self._released(event.profile_id)

    async def _released(self, profile_id: UUID) -> None:
        attempt = 0
        while True:
            try:
                await self._holding(partial(self._releaser.release, profile_id))
            except TryLater as error:
                attempt += 1
                await pause(self._stop, self._patience.pause(attempt, random.random(), error.asked))  # noqa: S311 -- jitter
            else:
                return

    async def _bury(self, record: KafkaRecord, kind: str, code: str, message: str) -> None:
        await self._dead_letters.bury(record, PROFILES_DLQ, kind=kind, code=code, message=message)
