"""★ What happens to one chunk. `Deliverer.handle` is the story of the uploader; everything else is its sentences.

    decode → lease → read → prepare → (govern) → call → decide → settle

An offset completes only after the chunk's outcome, or its dead letter, was acknowledged by Kafka. A crash anywhere
before that reads the chunk again; sending it again changes nothing, because membership is a set.
"""

import asyncio
import time
from collections.abc import Callable
from concurrent.futures import Executor
from typing import assert_never

from connector.audience.prepare import Prepared, prepare
from connector.graph.protocol import Credentials
from connector.kafka.consumer import Record
from connector.kafka.events import PoisonEvent, decode
from connector.objects.errors import StoreError
from connector.objects.stores import Stores
from connector.telemetry import Telemetry
from schemas.events import ChunkReady
from schemas.registry import CHUNK_READY
from services.uploader.endings import Again, Arrived, Attempt, Ending, Lost, NeedsPerson, Paused
from services.uploader.facts import ChunkRetried
from services.uploader.governor import Governor
from services.uploader.leases import Leases
from services.uploader.retrying import GiveUp, RetryPolicy, TryAgain, decide
from services.uploader.settings import RetrySettings
from services.uploader.settle import Settler
from services.uploader.upload import Uploads


class Deliverer:
    """Delivers chunks, at most *concurrency* calls at once over all accounts."""

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
        concurrency: int,
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
        self._places = asyncio.Semaphore(concurrency)
        self._policy = RetryPolicy(retry.attempts, retry.base, retry.cap, retry.total)
        self._throttle_patience = retry.throttle_patience
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
            await self._settler.bury_poison(record, error)
            return
        ending, attempts = await self._deliver(chunk, started)
        match ending:
            case Arrived():
                await self._settler.arrived(record, chunk, ending, attempts, self._clock() - started)
            case NeedsPerson():
                await self._settler.waits(record, chunk, ending, attempts)
            case Lost():
                await self._settler.lost(record, chunk, ending, attempts)
            case _:
                assert_never(ending)

    async def _deliver(self, chunk: ChunkReady, started: float) -> tuple[Ending, int]:
        """Attempts until one ends for good or patience is spent; the ending and the number of attempts."""
        attempt = 1
        while True:
            result = await self._attempt(chunk, attempt)
            match result:
                case Arrived() | NeedsPerson() | Lost():
                    return result, attempt
                case Paused():
                    if self._clock() - started > self._throttle_patience:
                        message = f"Meta throttled this account for {self._throttle_patience:.0f} s"
                        return Lost("throttled_too_long", "throttled", message, kind="throttled"), attempt
                case Again():
                    given_up = await self._waited(chunk, result, attempt, started)
                    if given_up is not None:
                        return given_up, attempt
                    attempt += 1
                case _:
                    assert_never(result)

    async def _waited(self, chunk: ChunkReady, failed: Again, attempt: int, started: float) -> Lost | None:
        """Waits before the next attempt; the end when there is none."""
        decision = decide(
            self._policy,
            attempt=attempt,
            elapsed=self._clock() - started,
            chance=self._chance(),
            slow=failed.slow,
        )
        match decision:
            case GiveUp(why):
                return Lost(failed.reason, failed.code, f"{failed.message} ({why})", kind="transient")
            case TryAgain() if failed.last:
                return Lost(failed.reason, failed.code, failed.message, kind="unknown")
            case TryAgain(seconds):
                self._telemetry.emit(ChunkRetried(chunk.chunk_id, failed.reason, attempt, round(seconds, 2)))
                await self._pause(seconds)
                return None
            case _:
                assert_never(decision)

    async def _attempt(self, chunk: ChunkReady, attempt: int) -> Attempt:
        """One attempt. A place is taken only once the account may be called: who waits holds nobody up."""
        while True:
            await self._governed(chunk.ad_account_id)
            async with self._places:
                if self._governor.wait(chunk.ad_account_id, self._clock()) > 0:
                    continue
                self._governor.admitted(chunk.ad_account_id, self._clock())
                return await self._placed(chunk, attempt)

    async def _placed(self, chunk: ChunkReady, attempt: int) -> Attempt:
        credentials = await self._leases.take(chunk)
        if not isinstance(credentials, Credentials):
            return credentials
        block = await self._read(chunk)
        if not isinstance(block, bytes):
            return block
        prepared = await self._prepare(chunk, block)
        if prepared.records != chunk.records:
            message = f"the range holds {prepared.records} records, {chunk.records} were planned"
            return Lost("records_mismatch", "range", message)
        result = await self._uploads.send(chunk, prepared, credentials, attempt)
        if isinstance(result, NeedsPerson):
            self._leases.forget(chunk)
        return result

    async def _governed(self, account: str) -> None:
        """Waits until *account* may be called, holding no place."""
        while (seconds := self._governor.wait(account, self._clock())) > 0:
            await self._pause(seconds)

    async def _read(self, chunk: ChunkReady) -> bytes | Again | Lost:
        try:
            store = self._stores.get(chunk.store)
            return await store.read_range(chunk.key, chunk.range.start, chunk.range.end, chunk.etag)
        except StoreError as error:
            if error.retryable or error.code == "object_truncated":
                return Again(error.code, error.code, str(error))
            return Lost(error.code, error.code, str(error))
        except ValueError as error:
            return Lost("range_refused", "range", str(error))

    async def _prepare(self, chunk: ChunkReady, block: bytes) -> Prepared:
        """Normalises and hashes in a worker thread: seconds of arithmetic must not stop heartbeats."""
        loop = asyncio.get_running_loop()
        return await loop.run_in_executor(
            self._workers,
            lambda: prepare(block, layout=chunk.layout, first_record=chunk.first_record, first_line=chunk.first_line),
        )

    async def _pause(self, seconds: float) -> None:
        """Waits, but not against a stop: who waits has nothing half done and is read again."""
        try:
            async with asyncio.timeout(seconds):
                await self._stop.wait()
        except TimeoutError:
            return
        raise asyncio.CancelledError
