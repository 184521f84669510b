"""The deliveries topic: each record becomes a planned delivery, or a dead letter. Its offset completes only then."""

import asyncio
import random
import time
from functools import partial

from connector.kafka.events import PoisonEvent, decode
from connector.kafka.headers import KafkaRecord, traceparent
from connector.kafka.record import leave_unfinished
from connector.kafka.topics import DELIVERIES_DLQ
from connector.telemetry import Telemetry
from schemas.events import DeliveryRequested
from schemas.registry import DELIVERY_REQUESTED
from services.ingest.accept import CONFLICT_CODE, Acceptor, conflict_message
from services.ingest.deadletters import DeadLetters
from services.ingest.deliveries import Acceptance, Conflict, Known, Recorded
from services.ingest.facts import PlanningGivenUp, PlanningPostponed
from services.ingest.holding import Holding, Stopped, Unrecordable, pause
from services.ingest.patience import Patience, TryLater
from services.ingest.planning import Planner

POISON = "poison"
CONFLICT = "conflict"
DEFECT = "defect"


class Intake:
    """Handles records of the deliveries topic. At most *places* deliveries are planned at once.

    A delivery that has to wait for something to come back gives its place to another one meanwhile.
    """

    def __init__(
        self,
        *,
        acceptor: Acceptor,
        planner: Planner,
        dead_letters: DeadLetters,
        holding: Holding,
        patience: Patience,
        telemetry: Telemetry,
        stop: asyncio.Event,
        places: int,
    ) -> None:
        self._acceptor = acceptor
        self._planner = planner
        self._dead_letters = dead_letters
        self._holding = holding
        self._patience = patience
        self._telemetry = telemetry
        self._stop = stop
        self._places = asyncio.Semaphore(places)

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
        """Puts aside a record our own code broke on; the error's text may quote data and stays out of the letter."""
        await self._dead_letters.bury(
            record,
            DELIVERIES_DLQ,
            kind=DEFECT,
            code=type(error).__name__,
            message="our own code failed on this record; the log of ingest says where",
        )

    async def _handle(self, record: KafkaRecord) -> None:
        try:
            acceptance = await self._accepted(record)
        except PoisonEvent as error:
            await self._bury(record, POISON, error.code, str(error))
            return
        except Unrecordable as error:
            await self._bury(record, POISON, "unrecordable", str(error))
            return
        match acceptance:
            case Conflict(revision):
                await self._bury(record, CONFLICT, CONFLICT_CODE, conflict_message(revision))
            case Recorded(delivery) | Known(delivery):
                await self._planned(delivery.revision)

    async def _accepted(self, record: KafkaRecord) -> Acceptance:
        event = decode(DELIVERY_REQUESTED, DeliveryRequested, record.value, record.headers)
        trace = traceparent(record.headers)
        return await self._holding(partial(self._acceptor.accept, event, via="topic", traceparent=trace))

    async def _planned(self, revision: int) -> None:
        """Plans until it works, or until the patience for what stands in the way is spent."""
        attempts, since = 0, time.monotonic()
        while True:
            try:
                async with self._places:
                    await self._holding(partial(self._planner.plan, revision))
            except TryLater as error:
                attempts += 1
                if self._patience.spent(attempts, time.monotonic() - since):
                    await self._give_up(revision, error, attempts)
                    return
                await self._postpone(revision, error, attempts)
            else:
                return

    async def _postpone(self, revision: int, error: TryLater, attempts: int) -> None:
        seconds = self._patience.pause(attempts, random.random(), error.asked)  # noqa: S311 -- jitter
        self._telemetry.emit(PlanningPostponed(revision, error.code, str(error), attempts, round(seconds, 2)))
        await pause(self._stop, seconds)

    async def _give_up(self, revision: int, error: TryLater, attempts: int) -> None:
        await self._holding(partial(self._planner.give_up, revision, error))
        self._telemetry.emit(PlanningGivenUp(revision, error.code, str(error), attempts))

    async def _bury(self, record: KafkaRecord, kind: str, code: str, message: str) -> None:
        await self._dead_letters.bury(record, DELIVERIES_DLQ, kind=kind, code=code, message=message)
