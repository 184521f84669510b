"""The calls of one attempt: a chunk's rows to its audience, each answer reconciled, a refused batch halved.

A batch that Meta refuses as a whole is halved until the row it is refused for stands alone; that row is invalid, all
others arrive. The number of calls that may take is capped: a batch of which every half is refused has another problem.
"""

import time
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Protocol, assert_never

from connector.audience.payload import Batch
from connector.audience.prepare import Prepared
from connector.graph.protocol import (
    Answer,
    Credentials,
    Garbled,
    GraphRequest,
    MemberOperation,
    Meta,
    NoAnswer,
    Refusal,
    Session,
    Success,
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
from connector.runtime.settings import GraphSettings
from connector.telemetry import Telemetry
from schemas.events import MAX_CHUNK_RECORDS, ChunkReady, Operation
from services.uploader.endings import Again, Arrived, Attempt, Lost, NeedsPerson, Paused
from services.uploader.facts import CallMade, ThrottleHeard, UnknownAnswer, VersionWarning
from services.uploader.governor import Governor
from services.uploader.reconciling import Mismatch, Reconciled, account, reconcile, split_budget


class Graph(Protocol):
    """What sends a request to Meta; `connector.graph.client.GraphClient` is the real one."""

    async def send(self, request: GraphRequest, credentials: Credentials) -> Answer:
        """The answer; never an exception."""
        ...


@dataclass
class _Sending:
    """One attempt under way: what it may still do and what it has done."""

    chunk: ChunkReady
    operation: MemberOperation
    credentials: Credentials
    attempt: int
    budget: int
    calls: int = 0
    sessions: int = 0
    fbtrace_id: str | None = None
    parts: list[Reconciled] = field(default_factory=list)


Failed = NeedsPerson | Lost | Again | Paused


class Uploads:
    """Sends prepared chunks; what it hears about budgets goes to the governor at once."""

    def __init__(
        self,
        graph: Graph,
        governor: Governor,
        telemetry: Telemetry,
        settings: GraphSettings,
        *,
        chance: Callable[[], float],
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self._graph = graph
        self._governor = governor
        self._telemetry = telemetry
        self._settings = settings
        self._chance = chance
        self._clock = clock

    async def send(self, chunk: ChunkReady, prepared: Prepared, credentials: Credentials, attempt: int) -> Attempt:
        """Sends all rows of *prepared*; a chunk without a usable record makes no call."""
        operation = member_operation(chunk.operation)
        if operation is None:
            return Lost("replace_not_supported", "replace", "replacing a whole audience is not supported")
        batches = prepared.batch.split(MAX_CHUNK_RECORDS)
        budget = len(batches) + split_budget(prepared.batch.rows)
        sending = _Sending(chunk, operation, credentials, attempt, budget)
        failed = await self._send_session(sending, batches)
        if failed is not None:
            return failed
        counts, reasons, rejects = account(prepared, sending.parts)
        return Arrived(counts, reasons, rejects, sending.calls, sending.fbtrace_id)

    async def _send_session(self, sending: _Sending, batches: list[Batch]) -> Failed | None:
        """One upload session of *batches*. Its id is derived, so that the same attempt again names the same session."""
        chunk = sending.chunk
        number = session_id(chunk.chunk_id, chunk.audience_id, sending.operation, sending.attempt, sending.sessions)
        sending.sessions += 1
        total = sum(batch.rows for batch in batches)
        sent = 0
        for index, batch in enumerate(batches):
            sent += batch.rows
            session = Session(number, index + 1, last=index + 1 == len(batches), estimated_total=total)
            failed = await self._send_batch(sending, batch, session, sent)
            if failed is not None:
                return failed
        return None

    async def _send_batch(self, sending: _Sending, batch: Batch, session: Session, sent: int) -> Failed | None:
        if sending.budget <= 0:
            return Lost("split_exhausted", "split", "the batch is refused however it is halved")
        sending.budget -= 1
        sending.calls += 1
        answer = await self._call(sending, batch, session)
        match answer:
            case Success():
                return self._taken(sending, batch, answer, sent)
            case Refusal() | Garbled() | NoAnswer():
                return await self._refused(sending, batch, answer)
            case _:
                assert_never(answer)

    async def _call(self, sending: _Sending, batch: Batch, session: Session) -> Answer:
        chunk = sending.chunk
        request = users(chunk.audience_id, sending.operation, batch.payload(), session, batch.rows)
        started = self._clock()
        answer = await self._graph.send(request, sending.credentials)
        meta = None if isinstance(answer, NoAnswer) else answer.meta
        if meta is not None:
            self._governor.heard(chunk.ad_account_id, meta.usage, self._clock())
            self._check_version(meta)
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

    def _taken(self, sending: _Sending, batch: Batch, answer: Success, sent: int) -> Failed | None:
        """A 200: a success only when its counts agree with what was sent."""
        sending.fbtrace_id = answer.meta.request_id
        reply = users_reply(answer.document)
        if reply is None:
            return Again("unreadable_reply", "reply", "Meta answered 200 with something else than a users reply")
        result = reconcile(batch, reply, audience_id=sending.chunk.audience_id, sent_in_session=sent)
        match result:
            case Reconciled():
                sending.parts.append(result)
                return None
            case Mismatch(message, foreign):
                if foreign:
                    return Lost("wrong_audience", "reply", message, kind="isolation")
                return Again("count_mismatch", "reply", message)
            case _:
                assert_never(result)

    async def _refused(self, sending: _Sending, batch: Batch, answer: Refusal | Garbled | NoAnswer) -> Failed | None:
        chunk, code, message = sending.chunk, *described(answer)
        if isinstance(answer, Refusal):
            sending.fbtrace_id = answer.error.fbtrace_id
        verdict = classify(answer)
        match verdict:
            case RetryLater(reason):
                return Again(reason, code, message)
            case Throttled():
                seconds = self._governor.throttled(chunk.ad_account_id, verdict, self._clock(), self._chance())
                self._telemetry.emit(ThrottleHeard(verdict.scope.value, chunk.ad_account_id, round(seconds, 1)))
                return Paused(seconds)
            case WaitForPerson(cause, scope, advice):
                return NeedsPerson(cause, scope_name(scope, chunk), advice)
            case Split():
                return await self._halved(sending, batch)
            case Impossible(reason, advice):
                return Lost(reason, code, f"{message}. {advice}")
            case Unknown(label):
                self._telemetry.emit(UnknownAnswer(chunk.chunk_id, label))
                return Again("unknown_answer", label, message, slow=True, last=sending.attempt > 1)
            case _:
                assert_never(verdict)

    async def _halved(self, sending: _Sending, batch: Batch) -> Failed | None:
        if batch.rows == 1:
            sending.parts.append(Reconciled(1, ((batch.record_of(0), batch.line_of(0)),)))
            return None
        for half in batch.halves():
            failed = await self._send_session(sending, [half])
            if failed is not None:
                return failed
        return None

    def _check_version(self, meta: Meta) -> None:
        served = meta.served_version
        if meta.version_warning or (served is not None and served != self._settings.version):
            self._telemetry.emit(VersionWarning(self._settings.version, served or "", meta.version_warning))


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
