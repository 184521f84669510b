"""★ What happens to one chunk. `Deliverer.handle` is the story of the uploader; everything else is its sentences.

    decode → (govern) → lease → read → prepare → call → decide → settle

An offset completes only after the chunk's outcome, or its dead letter, was acknowledged by Kafka. A crash anywhere
before that reads the chunk again; sending it again changes nothing, because membership is a set.
"""

import asyncio
import time
from collections.abc import Callable
from concurrent.futures import Executor
from dataclasses import replace
from datetime import UTC, datetime
from typing import assert_never

from connector.audience.prepare import Prepared, prepare
from connector.graph.protocol import Credentials
from connector.kafka.events import PoisonEvent, decode
from connector.kafka.record import Record
from connector.objects.errors import StoreError
from connector.objects.stores import Stores
from connector.telemetry import Telemetry
from schemas.events import ChunkReady
from schemas.registry import CHUNK_READY
from services.uploader.endings import Again, Arrived, Attempt, Ending, Lost, NeedsPerson, Paused
from services.uploader.facts import ChunkRetried
from services.uploader.governor import Admitted, Governor, Wait
from services.uploader.leases import Leases
from services.uploader.patience import Patience
from services.uploader.retrying import GiveUp, TryAgain
from services.uploader.settings import RetrySettings, UploadSettings
from services.uploader.settle import Settler
from services.uploader.stopping import pause, unless_stopping
from services.uploader.upload import Uploads

RETRYABLE_READS = frozenset({"object_truncated"})
"""Besides what a store itself calls retryable: an object that is still being written may be whole the next time."""


class Deliverer:
    """Delivers chunks, at most `bounds.concurrency` calls at once over all accounts.

    A few chunks more are prepared meanwhile, so that a call that ends is followed by one that is ready.
    """

    def __init__(
        self,
        *,
        leases: Leases,
        stores: Stores,
        uploads: Uploads,
        governor: Governor,
        settler: Settler,
        telemetry: Telemetry,
        workers: Executor,
        bounds: UploadSettings,
        retry: RetrySettings,
        stop: asyncio.Event,
        chance: Callable[[], float],
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self._leases = leases
        self._stores = stores
        self._uploads = uploads
        self._governor = governor
        self._settler = settler
        self._telemetry = telemetry
        self._workers = workers
        self._desks = asyncio.Semaphore(bounds.concurrency + bounds.workers)
        self._calls = asyncio.Semaphore(bounds.concurrency)
        self._retry = retry
        self._stop = stop
        self._chance = chance
        self._clock = clock

    async def handle(self, record: Record) -> None:
        """Returns when the record is done with for good.

        Raises:
            CancelledError: The process is to stop first; the record will be read again.
        """
        started = self._clock()
        try:
            chunk = decode(CHUNK_READY, ChunkReady, record.value, record.headers)
        except PoisonEvent as error:
            await self._settler.poison(record, error)
            return
        ending, attempts = await self._deliver(chunk)
        match ending:
            case Arrived():
                await self._settler.arrived(record, chunk, ending, attempts, self._clock() - started)
            case NeedsPerson():
                await self._settler.waits(record, chunk, ending, attempts)
            case Lost():
                await self._settler.lost(record, chunk, ending, attempts)
            case _:
                assert_never(ending)

    async def _deliver(self, chunk: ChunkReady) -> tuple[Ending, int]:
        """Attempts until one ends for good or patience is spent; the ending and the number of attempts."""
        patience = Patience(self._retry)
        calls = 0
        while True:
            result = await self._attempt(chunk, patience.attempt)
            calls += result.calls
            match result:
                case Arrived() | NeedsPerson() | Lost():
                    return replace(result, calls=calls), patience.attempt
                case Paused():
                    exhausted = patience.throttled(self._clock())
                    if exhausted is not None:
                        return replace(exhausted, calls=calls), patience.attempt
                case Again():
                    exhausted = await self._waited(chunk, result, patience)
                    if exhausted is not None:
                        return replace(exhausted, calls=calls), patience.attempt
                    patience.attempt += 1
                case _:
                    assert_never(result)

    async def _waited(self, chunk: ChunkReady, failed: Again, patience: Patience) -> Lost | None:
        """Waits before the next attempt; the end when there is none."""
        decision = patience.failed(failed, self._clock(), self._chance())
        match decision:
            case GiveUp(why):
                kind = "unknown" if failed.unknown else "transient"
                return Lost(failed.reason, failed.code, f"{failed.message} ({why})", kind=kind)
            case TryAgain(seconds):
                self._telemetry.emit(ChunkRetried(chunk.chunk_id, failed.reason, patience.attempt, round(seconds, 2)))
                await pause(self._stop, seconds)
                return None
            case _:
                assert_never(decision)

    async def _attempt(self, chunk: ChunkReady, attempt: int) -> Attempt:
        """One attempt. A desk is taken only once the account may be called: who waits holds nobody up."""
        while True:
            place = await self._admitted(chunk.ad_account_id)
            try:
                async with self._desks:
                    await unless_stopping(self._stop)
                    credentials = await self._leases.take(chunk)
                    if not isinstance(credentials, Credentials):
                        return credentials
                    prepared = await self._prepared(chunk)
                    if not isinstance(prepared, Prepared):
                        return prepared
                    async with self._calls:
                        await unless_stopping(self._stop)
                        if self._governor.paused(chunk.ad_account_id, self._clock()) > 0:
                            continue  # throttled meanwhile: give the desk back and wait outside
                        result = await self._uploads.send(chunk, prepared, credentials, attempt, place)
            finally:
                self._governor.ended(place, self._clock())
            if isinstance(result, NeedsPerson):
                self._leases.forget(chunk)
            return result

    async def _admitted(self, account: str) -> Admitted:
        """Waits until *account* may be called, holding nothing."""
        while isinstance(answer := self._governor.admit(account, self._clock()), Wait):
            await pause(self._stop, answer.seconds)
        return answer

    async def _prepared(self, chunk: ChunkReady) -> Prepared | Again | Lost:
        """The chunk's rows, if the range still holds exactly what was planned; otherwise nothing of it leaves."""
        block = await self._read(chunk)
        if not isinstance(block, bytes):
            return block
        # In a worker thread: arithmetic must not stop heartbeats.
        prepared = await asyncio.get_running_loop().run_in_executor(
            self._workers,
            lambda: prepare(
                block,
                layout=chunk.layout,
                first_record=chunk.first_record,
                first_line=chunk.first_line,
                this_year=datetime.now(UTC).year,
            ),
        )
        if prepared.records != chunk.records:
            message = f"the range holds {prepared.records} records, {chunk.records} were planned"
            return Lost("records_mismatch", "range", message)
        return prepared

    async def _read(self, chunk: ChunkReady) -> bytes | Again | Lost:
        try:
            store = self._stores.get(chunk.store)
            return await store.read_range(chunk.key, chunk.range.start, chunk.range.end, chunk.etag)
        except StoreError as error:
            if error.retryable or error.code in RETRYABLE_READS:
                return Again(error.code, error.code, str(error))
            return Lost(error.code, error.code, str(error))
        except ValueError as error:
            return Lost("range_refused", "range", str(error))
