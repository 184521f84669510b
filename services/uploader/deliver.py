"""★ What happens to one chunk. `Deliverer.handle` is the story of the uploader; everything else is its sentences.

    decode → (govern) → lease → read → prepare → call → decide → settle, or go on later from a delay topic

An offset completes only after the chunk's outcome, its dead letter or its copy in a delay topic was acknowledged by
Kafka. A crash anywhere before that reads the chunk again; sending it again changes nothing, because membership is a
set.
"""

import asyncio
import time
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from dataclasses import replace
from typing import assert_never

from connector.audience.prepare import Prepared
from connector.graph.protocol import Credentials
from connector.kafka.events import PoisonEvent, decode
from connector.kafka.headers import past
from connector.kafka.record import Record
from connector.telemetry import Telemetry
from schemas.events import ChunkReady
from schemas.registry import CHUNK_READY
from services.uploader.delaying import Delays
from services.uploader.doors import Doors, Entry
from services.uploader.endings import Again, Arrived, Attempt, Ending, Lost, NeedsPerson, Paused, Postponed, StartAgain
from services.uploader.facts import ChunkRetried
from services.uploader.governor import Admitted, Governor, Wait
from services.uploader.leases import Leases
from services.uploader.patience import THROTTLED, Patience, kind_of
from services.uploader.reading import ChunkReader
from services.uploader.reconciling import Reconciled
from services.uploader.retrying import GiveUp, InMemory, ToTier, may_stay, to_tier
from services.uploader.room import WaitingRoom
from services.uploader.settings import RetrySettings, UploadSettings
from services.uploader.settle import Settler
from services.uploader.stopping import pause, unless_stopping
from services.uploader.upload import Uploads


class Deliverer:
    """Delivers chunks, at most `bounds.concurrency` calls at once over all accounts.

    A few chunks more are prepared meanwhile, so that a call that ends is followed by one that is ready. At most
    `bounds.bodies` and these are in memory, however many calls wait for their answer.
    """

    def __init__(
        self,
        *,
        leases: Leases,
        doors: Doors,
        reader: ChunkReader,
        uploads: Uploads,
        governor: Governor,
        settler: Settler,
        delays: Delays,
        telemetry: Telemetry,
        bounds: UploadSettings,
        retry: RetrySettings,
        stop: asyncio.Event,
        chance: Callable[[], float],
        clock: Callable[[], float] = time.monotonic,
        now: Callable[[], float] = time.time,
    ) -> None:
        self._leases = leases
        self._doors = doors
        self._reader = reader
        self._uploads = uploads
        self._governor = governor
        self._settler = settler
        self._delays = delays
        self._telemetry = telemetry
        self._desks = asyncio.Semaphore(min(bounds.concurrency, bounds.bodies) + bounds.workers)
        self._calls = asyncio.Semaphore(bounds.concurrency)
        self._policy = retry.policy()
        self._room = WaitingRoom(retry.waiting)
        self._stop = stop
        self._chance = chance
        self._clock = clock
        self._now = now

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
        patience = Patience(self._policy, past(record.headers))
        ending = await self._deliver(chunk, patience)
        match ending:
            case Arrived():
                await self._settler.arrived(record, chunk, ending, patience.attempt, self._clock() - started)
            case NeedsPerson():
                await self._settler.waits(record, chunk, ending, patience.attempt)
            case StartAgain():
                await self._settler.starts_again(record, chunk, ending, patience.attempt)
            case Lost():
                await self._settler.lost(record, chunk, ending, patience.attempt)
            case Postponed():
                await self._delays.postpone(record, chunk, ending)
            case _:
                assert_never(ending)

    async def put_aside(self, record: Record) -> None:
        """Sends a record that held up its partition to a tier: it was begun, and nobody knows why it hangs."""
        try:
            chunk = decode(CHUNK_READY, ChunkReady, record.value, record.headers)
        except PoisonEvent as error:
            await self._settler.poison(record, error)
            return
        patience = Patience(self._policy, past(record.headers))
        # Longer than any wait in memory: whatever hung here, it is not to hang here again.
        hung = Again("stuck", "stuck", "it did not end and held up its partition", not_before=self._policy.memory + 1.0)
        ending = await self._waited(chunk, hung, patience)
        match ending:
            case Lost():
                await self._settler.lost(record, chunk, ending, patience.attempt)
            case Postponed():
                await self._delays.postpone(record, chunk, ending)
            case None:
                raise RuntimeError("a wait that is longer than those in memory is not one of them")
            case _:
                assert_never(ending)

    async def _deliver(self, chunk: ChunkReady, patience: Patience) -> Ending | Postponed:
        """Attempts until one ends for good, or the next one is too far away to be waited for here."""
        calls = 0
        done: dict[int, Reconciled] = {}
        while True:
            result = await self._tried(chunk, patience, done)
            match result:
                case Postponed():
                    return result
                case Arrived() | NeedsPerson() | StartAgain() | Lost():
                    return replace(result, calls=calls + result.calls)
                case Paused():
                    calls += result.calls
                case Again():
                    calls += result.calls
                    end = await self._waited(chunk, result, patience)
                    if end is not None:
                        return replace(end, calls=calls) if isinstance(end, Lost) else end
                case _:
                    assert_never(result)

    async def _tried(self, chunk: ChunkReady, patience: Patience, done: dict[int, Reconciled]) -> Attempt | Postponed:
        """One attempt, unless something the chunk needs waits for a person, or its account for a long time."""
        entry = await self._doors.enter(chunk)
        if isinstance(entry, NeedsPerson):
            return entry
        result: Attempt | Postponed | None = None
        try:
            result = await self._governed(chunk, patience, done, entry)
        finally:
            self._doors.leave(entry, result)
        if isinstance(result, NeedsPerson):
            self._leases.forget(chunk.profile_id)
            return replace(result, since=entry.began)
        return result

    async def _governed(
        self, chunk: ChunkReady, patience: Patience, done: dict[int, Reconciled], entry: Entry
    ) -> Attempt | Postponed:
        """One attempt, in a place that the account's governor gives."""
        place = await self._admitted(chunk, patience)
        if isinstance(place, Postponed):
            return place
        try:
            return await self._attempt(chunk, patience.attempt, done, place, entry)
        finally:
            self._governor.ended(place, self._clock())

    async def _admitted(self, chunk: ChunkReady, patience: Patience) -> Admitted | Postponed:
        """Waits until the chunk's account may be called, holding nothing but a seat in the account's waiting room."""
        account, came = chunk.ad_account_id, self._clock()
        while isinstance(answer := self._governor.admit(account, self._clock()), Wait):
            waited, room = self._clock() - came, self._room.has_room(account)
            seconds = answer.behind(self._room.waiting(account))
            if not may_stay(self._policy, seconds, waited=waited, room=room, paused=answer.paused):
                # As long again, at least, as it waited here in vain.
                away = self._room.sent_away(account, max(seconds, waited), self._now())
                message = f"its account may not be called for {away:.0f} s: {answer.reason}"
                tier = to_tier(self._policy, away, self._now())
                return _postponed(tier, patience, THROTTLED, answer.reason, message)
            with self._room.seat(account):
                await pause(self._stop, answer.seconds)
        return answer

    async def _waited(self, chunk: ChunkReady, failed: Again, patience: Patience) -> Lost | Postponed | None:
        """Waits before the next attempt if that is soon; where the chunk goes if not."""
        decision = patience.failed(failed, self._now(), self._chance())
        match decision:
            case GiveUp(why):
                return Lost(failed.reason, failed.code, f"{failed.message} ({why})", kind=kind_of(failed))
            case ToTier():
                return _postponed(decision, patience, kind_of(failed), failed.code, failed.message)
            case InMemory(seconds):
                self._telemetry.emit(ChunkRetried(chunk.chunk_id, failed.reason, patience.spent, round(seconds, 2)))
                await pause(self._stop, seconds)
                return None
            case _:
                assert_never(decision)

    async def _attempt(
        self, chunk: ChunkReady, attempt: int, done: dict[int, Reconciled], place: Admitted, entry: Entry
    ) -> Attempt:
        """One attempt. A desk is taken only once the account may be called: who waits holds nobody up."""
        async with self._desk() as leave:
            await unless_stopping(self._stop)
            if turned_away := self._turned_away(chunk, entry):
                return turned_away
            credentials = await self._leases.take(chunk)
            if not isinstance(credentials, Credentials):
                return credentials
            prepared = await self._reader.prepared(chunk)
            if not isinstance(prepared, Prepared):
                return prepared
            async with self._calls:
                await unless_stopping(self._stop)
                if turned_away := self._turned_away(chunk, entry):
                    return turned_away
                return await self._uploads.send(
                    chunk,
                    prepared,
                    credentials,
                    attempt=attempt,
                    place=place,
                    done=done,
                    again=lambda: self._reader.prepared(chunk),
                    sent=leave,
                )

    def _turned_away(self, chunk: ChunkReady, entry: Entry) -> Paused | None:
        """What happened to the chunk's account or door while it waited for a desk or for its call."""
        paused = self._governor.paused(chunk.ad_account_id, self._clock())
        if paused > 0:
            return Paused(paused)  # throttled meanwhile: give the desk back and wait outside
        if not self._doors.stands(entry, chunk):
            return Paused(0.0)  # somebody else was refused meanwhile: back to the door, which knows for what
        return None

    @asynccontextmanager
    async def _desk(self) -> AsyncIterator[Callable[[], None]]:
        """Holds a desk, which is where a chunk's bodies lie, until it is left or the block ends."""
        await self._desks.acquire()
        taken = [self._desks]

        def leave() -> None:
            if taken:
                taken.pop().release()

        try:
            yield leave
        finally:
            leave()


def _postponed(decision: ToTier, patience: Patience, kind: str, code: str, message: str) -> Postponed:
    return Postponed(
        tier=decision.tier.name,
        due_at=decision.due_at,
        kind=kind,
        code=code,
        message=message,
        attempts=patience.spent,
        first_failure_at=patience.first_failure_at,
    )
