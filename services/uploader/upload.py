"""The calls of one attempt: a chunk's rows to its audience, each answer reconciled, a refused batch halved.

A batch that Meta refuses as a whole is halved until the row it is refused for stands alone; that row is invalid, all
others arrive. The number of calls that may take is capped: a batch of which every half is refused has another problem.
"""

import asyncio
import time
from collections.abc import Callable
from concurrent.futures import Executor
from dataclasses import dataclass, field, replace
from typing import Protocol, TypeVar, assert_never

from connector.audience.payload import Batch
from connector.audience.prepare import Prepared
from connector.graph.protocol import (
    Answer,
    Credentials,
    Garbled,
    GraphRequest,
    MemberOperation,
    NoAnswer,
    Refusal,
    Session,
    Success,
    other_version,
    session_id,
    users,
    users_reply,
)
from connector.graph.verdicts import (
    Impossible,
    RetryLater,
    Split,
    Throttled,
    Unknown,
    WaitForPerson,
    WaitScope,
    classify,
)
from connector.telemetry import Telemetry
from schemas.events import MAX_CHUNK_RECORDS, ChunkReady, Operation
from services.uploader.endings import Again, Arrived, Attempt, Failed, Lost, NeedsPerson, Paused
from services.uploader.facts import CallMade, ThrottleHeard, UnknownAnswer, VersionWarning
from services.uploader.governor import Admitted, Governor, Wait
from services.uploader.halving import Halving, most_calls
from services.uploader.reconciling import Mismatch, Reconciled, SessionSoFar, account, reconcile, refused_row

Result = TypeVar("Result")

MAX_ROWS = MAX_CHUNK_RECORDS
"""Rows in one call; a chunk whose records have several identifiers each may have more rows than records."""


LONGEST_PACE = 5.0
"""Seconds a chunk that has begun waits for its next call without giving its desk back."""


class Graph(Protocol):
    """What sends a request to Meta; `connector.graph.client.GraphClient` is the real one."""

    async def send(self, request: GraphRequest, credentials: Credentials) -> Answer:
        """The answer; never an exception."""
        ...


@dataclass(frozen=True)
class _Refused:
    """Meta refused the batch as a whole: halve it."""


@dataclass
class _Sending:
    """One attempt under way: what it may still do and what it has done."""

    chunk: ChunkReady
    operation: MemberOperation
    credentials: Credentials
    attempt: int
    most_calls: int
    place: Admitted
    calls: int = 0
    sessions: int = 0
    fbtrace_id: str | None = None
    parts: list[Reconciled] = field(default_factory=list)

    def new_session(self) -> int:
        """The id of the attempt's next session: derived, so that the same attempt, redelivered, names the same."""
        self.sessions += 1
        return session_id(self.chunk.chunk_id, self.chunk.audience_id, self.operation, self.attempt, self.sessions)


class Uploads:
    """Sends prepared chunks; what it hears about budgets goes to the governor at once.

    Args:
        graph: Where requests go.
        governor: Hears the usage of every answer.
        workers: Threads that encode bodies and search samples: arithmetic that must not stop heartbeats.
        version: The Graph version asked for.
        chance: Random numbers in [0, 1).
        clock: Monotonic seconds, the same as the governor's.
    """

    def __init__(
        self,
        *,
        graph: Graph,
        governor: Governor,
        telemetry: Telemetry,
        workers: Executor,
        version: str,
        chance: Callable[[], float],
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self._graph = graph
        self._governor = governor
        self._telemetry = telemetry
        self._workers = workers
        self._version = version
        self._chance = chance
        self._clock = clock

    async def send(
        self, chunk: ChunkReady, prepared: Prepared, credentials: Credentials, attempt: int, place: Admitted
    ) -> Attempt:
        """Sends all rows of *prepared*; a chunk without a usable record makes no call.

        *place* admits the first call; further ones are admitted one by one.
        """
        operation = member_operation(chunk.operation)
        if operation is None:
            return Lost("replace_not_supported", "replace", "replacing a whole audience is not supported")
        batches = prepared.batch.split(MAX_ROWS)
        cap = len(batches) - 1 + most_calls(prepared.batch.rows)
        sending = _Sending(chunk, operation, credentials, attempt, cap, place)
        failed = await self._send_all(sending, batches)
        if isinstance(failed, NeedsPerson | Lost):
            return replace(failed, calls=sending.calls, fbtrace_id=sending.fbtrace_id)
        if failed is not None:
            return replace(failed, calls=sending.calls)
        counts, reasons, rejects = account(prepared, sending.parts)
        return Arrived(counts, reasons, rejects, sending.calls, sending.fbtrace_id)

    async def _send_all(self, sending: _Sending, batches: list[Batch]) -> Failed | None:
        """The chunk's session: its batches one after another; the halves of a refused one have their own sessions."""
        number = sending.new_session()
        total = sum(batch.rows for batch in batches)
        so_far = SessionSoFar()
        for index, batch in enumerate(batches):
            session = Session(number, index + 1, last=index + 1 == len(batches), estimated_total=total)
            result = await self._send_batch(sending, batch, session, so_far)
            match result:
                case Reconciled():
                    sending.parts.append(result)
                    so_far = SessionSoFar(so_far.sent + batch.rows, so_far.invalid + result.invalid_rows)
                case _Refused():
                    failed = await self._isolate(sending, batch)
                    if failed is not None:
                        return failed
                case _:
                    return result
        return None

    async def _isolate(self, sending: _Sending, batch: Batch) -> Failed | None:
        """Sends the halves of a refused *batch* until all its rows but those at fault have arrived."""
        halving = Halving(batch)
        halving.next()
        self._note_fault(sending, halving.refused())
        while (part := halving.next()) is not None:
            session = Session(sending.new_session(), 1, last=True, estimated_total=part.rows)
            result = await self._send_batch(sending, part, session, SessionSoFar())
            match result:
                case Reconciled():
                    sending.parts.append(result)
                    halving.taken()
                case _Refused():
                    self._note_fault(sending, halving.refused())
                case _:
                    return result
        return None

    @staticmethod
    def _note_fault(sending: _Sending, row: Batch | None) -> None:
        if row is not None:
            sending.parts.append(refused_row(row))

    async def _send_batch(
        self, sending: _Sending, batch: Batch, session: Session, before: SessionSoFar
    ) -> Reconciled | _Refused | Failed:
        if sending.calls >= sending.most_calls:
            return Lost("split_exhausted", "split", f"refused however it is halved, in {sending.calls} calls")
        if sending.calls and (paused := await self._governed(sending)):
            return paused
        sending.calls += 1
        answer = await self._call(sending, batch, session)
        match answer:
            case Success():
                return await self._taken(sending, batch, answer, before)
            case Refusal() | Garbled() | NoAnswer():
                return self._refused(sending, answer)
            case _:
                assert_never(answer)

    async def _governed(self, sending: _Sending) -> Paused | None:
        """Waits until a further call of the chunk may be made, but not for long: its desk is taken."""
        account = sending.chunk.ad_account_id
        while isinstance(answer := self._governor.admit(account, self._clock()), Wait):
            if answer.seconds > LONGEST_PACE:
                return Paused(answer.seconds)
            await asyncio.sleep(answer.seconds)
        sending.place = answer
        return None

    async def _call(self, sending: _Sending, batch: Batch, session: Session) -> Answer:
        chunk, governor = sending.chunk, self._governor
        try:
            payload = await self._in_worker(batch.payload)
            request = users(chunk.audience_id, sending.operation, payload, session, batch.rows)
            started = self._clock()
            governor.begun(sending.place, started)
            answer = await self._graph.send(request, sending.credentials)
        finally:
            governor.ended(sending.place, self._clock())
        meta = None if isinstance(answer, NoAnswer) else answer.meta
        if meta is not None:
            sending.fbtrace_id = meta.request_id or sending.fbtrace_id
            governor.heard(sending.place, meta.usage, self._clock())
        if (other := other_version(answer, self._version)) is not None:
            self._telemetry.emit(VersionWarning(other.asked, other.served, other.warning))
        if isinstance(answer, Success):
            governor.succeeded(sending.place, self._clock())
        self._telemetry.emit(
            CallMade(
                chunk=chunk.chunk_id,
                operation=request.operation,
                result=type(answer).__name__.lower(),
                rows=batch.rows,
                seconds=round(self._clock() - started, 4),
                usage=meta.usage.percent if meta else 0.0,
                request_id=meta.request_id if meta else None,
            )
        )
        return answer

    async def _taken(
        self, sending: _Sending, batch: Batch, answer: Success, before: SessionSoFar
    ) -> Reconciled | Failed:
        """A 200: a success only when it is a users reply, of our audience, and its counts agree."""
        reply = users_reply(answer.document)
        if reply is None:
            return Again("unreadable_reply", "reply", "Meta answered 200 with something else than a users reply")
        audience = sending.chunk.audience_id
        result = await self._in_worker(lambda: reconcile(batch, reply, audience_id=audience, before=before))
        match result:
            case Reconciled():
                return result
            case Mismatch(message, foreign=True):
                return Lost("wrong_audience", "reply", message, kind="isolation")
            case Mismatch(message):
                return Again("count_mismatch", "reply", message)
            case _:
                assert_never(result)

    def _refused(self, sending: _Sending, answer: Refusal | Garbled | NoAnswer) -> _Refused | Failed:
        """What the verdict on *answer* means for the chunk: the effects of the verdicts, one each."""
        chunk, code, message = sending.chunk, *described(answer)
        verdict = classify(answer, chunk.ad_account_id)
        match verdict:
            case RetryLater(reason, _):
                asked = 0.0 if isinstance(answer, NoAnswer) else answer.meta.usage.stated_wait(chunk.ad_account_id)
                return Again(reason, code, message, not_before=asked)
            case Throttled():
                seconds = self._governor.throttled(sending.place, verdict, self._clock(), self._chance())
                self._telemetry.emit(ThrottleHeard(verdict.scope.value, chunk.ad_account_id, round(seconds, 1)))
                return Paused(seconds)
            case WaitForPerson(cause, scope, advice):
                return NeedsPerson(cause, scope_name(scope, chunk), advice)
            case Split():
                return _Refused()
            case Impossible(reason, advice, _):
                return Lost(reason, code, f"{message}. {advice}")
            case Unknown(label):
                self._telemetry.emit(UnknownAnswer(chunk.chunk_id, label))
                return Again("unknown_answer", label, message, unknown=True)
            case _:
                assert_never(verdict)

    async def _in_worker(self, work: Callable[[], Result]) -> Result:
        return await asyncio.get_running_loop().run_in_executor(self._workers, work)


def member_operation(operation: Operation) -> MemberOperation | None:
    """The `users` call of a chunk's operation; None for what no single call can do."""
    match operation:
        case Operation.ADD:
            return MemberOperation.ADD
        case Operation.REMOVE:
            return MemberOperation.REMOVE
        case Operation.REPLACE:
            return None
        case _:
            assert_never(operation)


def scope_name(scope: WaitScope, chunk: ChunkReady) -> str:
    """What waits, by name: everything else that needs the same token, account or audience waits with it."""
    match scope:
        case WaitScope.TOKEN:
            return f"token:{chunk.profile_id}"
        case WaitScope.ACCOUNT:
            return f"account:{chunk.ad_account_id}"
        case WaitScope.AUDIENCE:
            return f"audience:{chunk.audience_id}"
        case WaitScope.APP:
            return "app:meta"
        case _:
            assert_never(scope)


def described(answer: Refusal | Garbled | NoAnswer) -> tuple[str, str]:
    """Code and words of what was answered; Meta's own text is redacted already."""
    match answer:
        case Refusal(error, _):
            return error.label, error.title or error.message
        case Garbled(why, meta):
            return f"http_{meta.status}", f"not an answer of the Graph API: {why}"
        case NoAnswer(why, _):
            return "no_answer", why
        case _:
            assert_never(answer)
