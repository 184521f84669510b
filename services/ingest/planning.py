"""Planning a delivery: the reading and writing around the decisions of `plan`.

A crash anywhere is harmless. A stretch of a file goes into the ledger in one transaction, chunks and checkpoint
together; then its chunks are sent; then they are marked as sent. Planning again sends what is not marked, and reads on
from the checkpoint.
"""

import asyncio
import time
from collections.abc import Awaitable
from contextlib import aclosing

from sqlalchemy.ext.asyncio import AsyncEngine

from connector.audience.heads import Refused as RefusedHead
from connector.files.cutting import Checkpoint, Item
from connector.files.decoding import Corrupt
from connector.files.formats import Refusal
from connector.files.limits import DEFAULT_LIMITS, Limits, LimitViolated
from connector.files.parquet_damage import UnreadableParquet
from connector.objects.errors import StoreError
from connector.objects.store import ObjectStore
from connector.objects.stores import Stores
from connector.telemetry import Telemetry
from schemas.events import DeliveryState, Operation, Reason
from services.ingest import chunks, deliveries, files, plan, rejects, replacing
from services.ingest.clock import Clock
from services.ingest.cutting import stretches
from services.ingest.deliveries import Delivery
from services.ingest.destinations import Destinations, Refused, Waits
from services.ingest.emission import Emission
from services.ingest.facts import DeliveryMoved, FilePlanned, FileRefused
from services.ingest.files import PlannedFile
from services.ingest.holding import Stopped
from services.ingest.inspecting import inspect
from services.ingest.patience import TryLater
from services.ingest.plan import Destination, Ending
from services.ingest.preflighting import PreflightLook, refusal, stored
from services.ingest.states import Planning, Verdict, ended
from services.ingest.status import StatusPublisher


class Planner:
    """Turns recorded deliveries into chunks on Kafka. *batch* is the most chunks written to the ledger at once.

    *stop* ends planning between two stretches of a file, where nothing is half done.
    """

    def __init__(
        self,
        *,
        engine: AsyncEngine,
        destinations: Destinations,
        stores: Stores,
        emission: Emission,
        status: StatusPublisher,
        telemetry: Telemetry,
        clock: Clock,
        stop: asyncio.Event,
        batch: int,
        look: PreflightLook,
        limits: Limits = DEFAULT_LIMITS,
    ) -> None:
        self._engine = engine
        self._destinations = destinations
        self._stores = stores
        self._emission = emission
        self._status = status
        self._telemetry = telemetry
        self._clock = clock
        self._stop = stop
        self._batch = batch
        self._look = look
        self._limits = limits

    async def plan(self, revision: int) -> None:
        """Brings a delivery as far as it gets without the uploader: planned and sent, ended, or waiting for a person.

        Raises:
            TryLater: Something that may pass by itself; call again.
            Stopped: The process is to stop; another one calls again.
        """
        delivery = await self._found(revision)
        await self._status.publish(revision)
        if ended(delivery.state):
            return
        ending = plan.refused(delivery.event)
        if ending is not None:
            await self._end(delivery, ending)
            return
        destination = delivery.destination or await self._resolved(delivery)
        if destination is None:
            return
        refused = await self._preflight(delivery, destination)
        if refused is not None:
            await self._end(delivery, Ending(DeliveryState.FAILED, refused))
            return
        await self._emission.emit_due(delivery, destination)
        for file in await self._files(revision):
            if file.unplanned:
                await self._unless_unfit(delivery, file, self._plan_file(delivery, destination, file))
        if delivery.event.operation is Operation.REPLACE and not await self._replaceable(revision):
            await self._end(delivery, Ending(DeliveryState.FAILED, replacing.INCOMPLETE))
            return
        await self._emission.emit_due(delivery, destination)
        await self._reassess(revision)

    async def give_up(self, revision: int, error: TryLater) -> None:
        """Ends what could not be planned for too long; chunks that were sent settle on their own."""
        reason = plan.reason(
            error.code, str(error), "when the cause is gone, publish the delivery again with a new revision"
        )
        await self._end(await self._found(revision), Ending(DeliveryState.FAILED, reason))

    async def _replaceable(self, revision: int) -> bool:
        """Whether all files were planned and hold something: a file left out would take its people out, too."""
        planned = await self._files(revision)
        return all(file.planning is Planning.PLANNED for file in planned) and any(
            file.checkpoint.chunks for file in planned
        )

    async def _found(self, revision: int) -> Delivery:
        async with self._engine.connect() as connection:
            delivery = await deliveries.find(connection, revision)
        if delivery is None:
            raise LookupError(f"delivery {revision} is not in the ledger: it is recorded before it is planned")
        return delivery

    async def _resolved(self, delivery: Delivery) -> Destination | None:
        """Where the delivery goes, noted in the ledger; None when it cannot go, or waits for a person."""
        answer = await self._destinations.resolve(delivery.event)
        match answer:
            case Destination():
                async with self._engine.begin() as connection:
                    locked = await deliveries.locked(connection, delivery.revision) or delivery
                    await deliveries.send_to(connection, locked, answer, self._clock())
                    await deliveries.move(connection, locked, Verdict(DeliveryState.PLANNING), self._clock())
                await self._moved(delivery.revision, Verdict(DeliveryState.PLANNING))
                return answer
            case Refused(reason):
                await self._end(delivery, Ending(DeliveryState.FAILED, reason))
                return None
            case Waits(reason):
                await self._wait(delivery, reason)
                return None

    async def _wait(self, delivery: Delivery, reason: Reason) -> None:
        verdict = Verdict(DeliveryState.WAITING, reason)
        now = self._clock()
        async with self._engine.begin() as connection:
            locked = await deliveries.locked(connection, delivery.revision) or delivery
            if not await deliveries.move(connection, locked, verdict, now):
                await deliveries.touch(connection, delivery.revision, now)
        await self._moved(delivery.revision, verdict)

    async def _end(self, delivery: Delivery, ending: Ending) -> None:
        """Ends a delivery that is not planned (any further)."""
        now = self._clock()
        verdict: Verdict | None = Verdict(ending.state, ending.reason)
        async with self._engine.begin() as connection:
            locked = await deliveries.locked(connection, delivery.revision) or delivery
            if ending.state is DeliveryState.FAILED:
                await files.fail_unplanned(connection, delivery.revision, ending.reason)
                await chunks.give_up_unemitted(connection, delivery.revision, ending.reason, now)
            if ending.state is DeliveryState.FAILED and delivery.event.files:
                verdict = await deliveries.reassess(connection, locked, now)
            else:
                await deliveries.move(connection, locked, Verdict(ending.state, ending.reason), now)
        await self._moved(delivery.revision, verdict)

    async def _files(self, revision: int) -> list[PlannedFile]:
        async with self._engine.connect() as connection:
            return await files.of_delivery(connection, revision)

    async def _preflight(self, delivery: Delivery, destination: Destination) -> Reason | None:
        """Looks at the beginning of every file before anything of the delivery is sent; why it is refused, or None.

        A file that cannot be read at all is refused alone, as it is when it breaks off later.
        """
        for file in await self._files(delivery.revision):
            if file.unplanned and file.preflight is None:
                await self._unless_unfit(delivery, file, self._look_at(delivery, destination, file))
        looked_at = await self._files(delivery.revision)
        found = (refusal(file.name, file.preflight) for file in looked_at if file.preflight is not None)
        return next((reason for reason in found if reason is not None), None)

    async def _look_at(self, delivery: Delivery, destination: Destination, file: PlannedFile) -> None:
        store = self._stores.get(file.store)
        opened = await self._opened(delivery, store, file)
        if isinstance(opened, Reason):
            await self._refuse(file, opened)
            return
        found = await self._look.at(
            store, delivery.event, opened, value_based=destination.value_based, now=self._clock()
        )
        async with self._engine.begin() as connection:
            await files.looked_at(connection, opened, stored(found, self._look.records))
        if self._stop.is_set():
            raise Stopped

    async def _unless_unfit(self, delivery: Delivery, file: PlannedFile, work: Awaitable[None]) -> None:
        """Does *work* on one file, or notes why it cannot be done; the next file is not disturbed.

        Raises:
            TryLater: The store is not available; planning goes on at the checkpoint.
        """
        announced = delivery.event.files[file.index]
        try:
            await work
        except StoreError as error:
            if error.retryable:
                raise TryLater(error.code, f"{file.name}: {error}") from error
            await self._refuse_current(file, plan.unreadable(announced, error))
        except (Corrupt, UnreadableParquet, LimitViolated) as error:
            await self._refuse_current(file, plan.unfit(announced, error))
        except RefusedHead as error:
            await self._refuse_current(file, plan.unread(announced, error.refusal))

    async def _plan_file(self, delivery: Delivery, destination: Destination, file: PlannedFile) -> None:
        """Plans one file to its end."""
        started = time.monotonic()
        store = self._stores.get(file.store)
        opened = await self._opened(delivery, store, file)
        if isinstance(opened, Reason):
            await self._refuse(file, opened)
            return
        planned = await self._read(delivery, destination, store, opened)
        await self._finish(delivery, planned, time.monotonic() - started)

    async def _opened(self, delivery: Delivery, store: ObjectStore, file: PlannedFile) -> PlannedFile | Reason:
        """The file with its version and its kind pinned, or why the object found is not the one announced."""
        if file.etag is not None:
            return file
        announced = delivery.event.files[file.index]
        info = await store.head(file.key)
        reason = plan.opened(announced, info)
        if reason is not None:
            return reason
        found = await inspect(store, delivery.event, announced, info, self._limits)
        if isinstance(found, Refusal):
            return plan.unread(announced, found)
        async with self._engine.begin() as connection:
            return await files.pin(connection, file, info, found.kind, found.table)

    async def _read(
        self, delivery: Delivery, destination: Destination, store: ObjectStore, file: PlannedFile
    ) -> PlannedFile:
        """Cuts the file from its checkpoint on; what became certain goes out batch by batch.

        The first chunk leaves alone, so that uploading starts while the rest is read; then batches double.
        """
        items: list[Item] = []
        checkpoint = file.checkpoint
        size = 1
        async with aclosing(stretches(store, file, self._limits)) as found:
            async for stretch in found:
                items += stretch.items
                checkpoint = stretch.checkpoint
                if len(items) >= size:
                    file = await self._store_and_emit(delivery, destination, file, items, checkpoint)
                    items = []
                    size = min(2 * size, self._batch)
                if self._stop.is_set():
                    raise Stopped
        return await self._store_and_emit(delivery, destination, file, items, checkpoint)

    async def _store_and_emit(
        self,
        delivery: Delivery,
        destination: Destination,
        file: PlannedFile,
        items: list[Item],
        checkpoint: Checkpoint,
    ) -> PlannedFile:
        """One stretch of a file: into the ledger with the checkpoint after it, then to the uploader."""
        stretch = plan.cut(items)
        async with self._engine.begin() as connection:
            await deliveries.locked(connection, file.revision)
            advanced = await files.advance(connection, file, checkpoint)
            await chunks.add(connection, file, stretch.chunks)
            await rejects.keep(connection, file.revision, file.index, stretch.rejects)
        await self._emission.emit_due(delivery, destination)
        return advanced

    async def _finish(self, delivery: Delivery, file: PlannedFile, seconds: float) -> None:
        reason = plan.finished(delivery.event.files[file.index], file.checkpoint)
        if reason is not None:
            await self._refuse(file, reason)
            return
        async with self._engine.begin() as connection:
            await deliveries.locked(connection, file.revision)
            await files.finish(connection, file)
        done = file.checkpoint
        self._telemetry.emit(
            FilePlanned(file.revision, file.index, done.records, done.chunks, done.rejected, round(seconds, 3))
        )

    async def _refuse_current(self, file: PlannedFile, reason: Reason) -> None:
        """Refuses *file* as the ledger has it by now: the checkpoint may have moved since *file* was read."""
        await self._refuse((await self._files(file.revision))[file.index], reason)

    async def _refuse(self, file: PlannedFile, reason: Reason) -> None:
        async with self._engine.begin() as connection:
            await deliveries.locked(connection, file.revision)
            await files.fail(connection, file, reason)
        self._telemetry.emit(FileRefused(file.revision, file.index, reason.code, reason.message))

    async def _reassess(self, revision: int) -> None:
        async with self._engine.begin() as connection:
            locked = await deliveries.locked(connection, revision)
            verdict = None if locked is None else await deliveries.reassess(connection, locked, self._clock())
        await self._moved(revision, verdict)

    async def _moved(self, revision: int, verdict: Verdict | None) -> None:
        if verdict is not None:
            code = verdict.reason.code if verdict.reason else None
            self._telemetry.emit(DeliveryMoved(revision, verdict.state, code))
        await self._status.publish(revision)
