"""The calls of one attempt: a chunk's rows to its audience, each answer reconciled, a refused batch halved.

A batch that Meta refuses as a whole is halved until the row it is refused for stands alone; that row is invalid, all
others arrive. The number of calls that may take is capped: a batch of which every half is refused has another problem.
"""

import asyncio
import time
from collections.abc import Awaitable, Callable, Sequence
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
    classify,
)
from connector.telemetry import Telemetry
from schemas.events import ChunkReady, Operation
from services.uploader.breakers import scope_name
from services.uploader.endings import Again, Arrived, Attempt, Failed, Lost, NeedsPerson, Paused, StartAgain
from services.uploader.facts import CallMade, ThrottleHeard, UnknownAnswer, VersionWarning
from services.uploader.governor import Admitted, Governor, Wait
from services.uploader.halving import Halving, most_calls
from services.uploader.reconciling import Mismatch, Reconciled, SessionSoFar, account, reconcile, refused_row
from services.uploader.searching import Allowance, Search
from services.uploader.sessions import ChunkSessions, ReplaceSession, SessionOver, Sessions

Result = TypeVar("Result")


PrepareAgain = Callable[[], Awaitable[Prepared | Again | Lost]]
"""The chunk read and prepared once more: the same batches, as its range is what was planned."""


SEARCH_SHARE = 0.02
"""Of all calls, those that may look for invalid rows that Meta did not name."""

LONGEST_PACE = 5.0
"""Seconds a chunk that has begun waits for its next call without giving its desk back."""


class Graph(Protocol):
    """What sends a request to Meta; `connector.graph.client.GraphClient` is the real one."""

    async def send(self, request: GraphRequest, credentials: Credentials) -> Answer:
        """The answer; never an exception."""
        ...


@dataclass(frozen=True)
class _Refused:
    """Meta refused the batch as a whole: halve it.

    With `unsure` the cause may be trouble that passes: then no row is condemned for it.
    """

    unsure: Again | None = None


@dataclass
class _Sending:
    """One attempt under way: what it may still do and what it has done."""

    chunk: ChunkReady
    operation: MemberOperation
    credentials: Credentials
    attempt: int
    done: dict[int, Reconciled]
    sessions: Sessions
    again: PrepareAgain
    sent: Callable[[], None]
    most_calls: int
    place: Admitted
    calls: int = 0
    fbtrace_id: str | None = None
    parts: list[Reconciled] = field(default_factory=list)


class Uploads:
    """Sends prepared chunks; what it hears about budgets goes to the governor at once.

    Args:
        graph: Where requests go.
        governor: Hears the usage of every answer.
        worker: A thread that marks rows and searches samples: arithmetic that must not stop heartbeats. Not one of
            those that prepare chunks: behind them a body that is ready would wait for its turn.
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
        worker: Executor,
        version: str,
        chance: Callable[[], float],
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self._graph = graph
        self._governor = governor
        self._telemetry = telemetry
        self._worker = worker
        self._version = version
        self._chance = chance
        self._clock = clock
        self._searches = Allowance(SEARCH_SHARE)

    async def send(
        self,
        chunk: ChunkReady,
        prepared: Prepared,
        credentials: Credentials,
        *,
        attempt: int,
        place: Admitted,
        done: dict[int, Reconciled],
        again: PrepareAgain,
        sent: Callable[[], None],
    ) -> Attempt:
        """Sends all rows of *prepared*; a chunk without a usable record makes no call.

        *place* admits the first call; further ones are admitted one by one, and ended here.
        The bodies are let go of as they are sent; *sent* is called when the last one is written. The rare batch that
        is refused as a whole, and has to be divided, is prepared *again*. *done* are the batches of earlier attempts
        that arrived, by their index; it is added to.
        """
        operation = member_operation(chunk.operation)
        sessions: Sessions = ChunkSessions(chunk, operation, attempt)
        if operation is MemberOperation.REPLACE:
            if chunk.replace is None:
                return Lost("replace_without_place", "replace", "the chunk event says no place in its replacement")
            if chunk.replace.number == 1 and not prepared.rows:
                return Lost("replace_begins_empty", "replace", "the replacement's first part has no usable record")
            sessions = ReplaceSession(chunk, chunk.replace, attempt)
        cap = len(prepared.batches) - 1 + most_calls(prepared.rows)
        sending = _Sending(chunk, operation, credentials, attempt, done, sessions, again, sent, cap, place)
        failed = await self._send_all(sending, prepared.batches)
        if isinstance(failed, NeedsPerson | Lost | StartAgain):
            return replace(failed, calls=sending.calls, fbtrace_id=sending.fbtrace_id)
        if failed is not None:
            return replace(failed, calls=sending.calls)
        counts, reasons, rejects = account(prepared, sending.parts)
        cells = {f"{key}:{reason}": count for (key, reason), count in prepared.cell_rejects.items()}
        return Arrived(counts, reasons, rejects, sending.calls, sending.fbtrace_id, cells)

    async def _send_all(self, sending: _Sending, batches: Sequence[Batch]) -> Failed | None:
        """The chunk's session: its batches one after another; the halves of a refused one have their own sessions."""
        session_of_chunk = sending.sessions.begin(sum(batch.rows for batch in batches))
        so_far = SessionSoFar()
        for index, batch in enumerate(batches):
            if index in sending.done:
                sending.parts.append(sending.done[index])
                continue
            final = index + 1 == len(batches)
            session = session_of_chunk.batch(ends_session=final, ends_chunk=final)
            body = batch.payload if sending.sessions.may_repeat else batch.give_body
            result = await self._send_batch(sending, batch, body, session, so_far, last_body=final)
            match result:
                case Reconciled():
                    sending.done[index] = result = await self._searched(sending, index, result)
                    sending.parts.append(result)
                    if not sending.sessions.shared:
                        so_far = SessionSoFar(so_far.sent + batch.rows, so_far.invalid + result.invalid_rows)
                case _Refused():
                    prepared = await sending.again()
                    if not isinstance(prepared, Prepared):
                        return prepared
                    failed = await self._isolate(sending, prepared.batches[index], result.unsure, final=final)
                    if failed is not None:
                        return failed
                case _:
                    return result
        return None

    async def _isolate(self, sending: _Sending, batch: Batch, unsure: Again | None, *, final: bool) -> Failed | None:
        """Sends the halves of a refused *batch* until all its rows but those at fault have arrived.

        It is the chunk's *final* batch, or others follow. When its refusal was *unsure*, and a row alone or every half
        meets it too, the batch's size was not the trouble.
        """
        halving = Halving(batch)
        halving.next()
        if (row := halving.refused()) is not None:
            if unsure is not None:
                return unsure
            sending.parts.append(refused_row(row))
        while (part := halving.next()) is not None:
            opened = sending.sessions.begin(part.rows)
            session = opened.batch(ends_session=True, ends_chunk=final and halving.nothing_left)
            result = await self._send_batch(sending, part, part.payload, session, SessionSoFar())
            match result:
                case Reconciled():
                    sending.parts.append(result)
                    halving.taken()
                case _Refused():
                    if (row := halving.refused()) is not None:
                        if result.unsure is not None:
                            return result.unsure
                        sending.parts.append(refused_row(row))
                case Lost(reason="split_exhausted") if unsure is not None:
                    return unsure
                case _:
                    return result
        return None

    async def _searched(self, sending: _Sending, index: int, taken: Reconciled) -> Reconciled:
        """*taken*, with the rows that Meta counted as invalid and named none of, as far as they are found.

        Not in a replacement, whose session counts the rows of others too. Whatever goes wrong ends the search: the
        batch has arrived.
        """
        if taken.invalid or not taken.unnumbered or sending.sessions.shared or not self._searches.allows():
            return taken
        prepared = await sending.again()
        if not isinstance(prepared, Prepared):
            return taken
        batch = prepared.batches[index]
        search, calls = Search(batch, taken.unnumbered), 0
        while calls < most_calls(batch.rows) and (part := search.next()) is not None:
            calls += 1
            sending.most_calls += 1
            session = sending.sessions.begin(part.rows).batch(ends_session=True, ends_chunk=False)
            result = await self._send_batch(sending, part, part.payload, session, SessionSoFar())
            if not isinstance(result, Reconciled):
                break
            search.heard(result.invalid_rows)
        self._searches.searched(calls)
        found = tuple((row.record_of(0), row.line_of(0)) for row in search.found)
        return Reconciled(invalid=found, unnumbered=max(taken.unnumbered - len(found), 0))

    async def _send_batch(
        self,
        sending: _Sending,
        batch: Batch,
        body: Callable[[], bytes],
        session: Session,
        before: SessionSoFar,
        *,
        last_body: bool = False,
    ) -> Reconciled | _Refused | Failed:
        while True:
            if sending.calls >= sending.most_calls:
                return Lost("split_exhausted", "split", f"refused however it is halved, in {sending.calls} calls")
            if sending.place.over and (paused := await self._governed(sending)):
                return paused
            sending.calls += 1
            answer = await self._call(sending, batch, body, session, last_body=last_body)
            said = sending.sessions.refused(answer.error, session) if isinstance(answer, Refusal) else None
            if isinstance(said, SessionOver):
                return StartAgain(said.message)
            if said is None:
                break
            session = said
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

    async def _call(
        self, sending: _Sending, batch: Batch, body: Callable[[], bytes], session: Session, *, last_body: bool
    ) -> Answer:
        chunk, governor = sending.chunk, self._governor
        try:
            # The payload is nobody's but the request's, which lets go of it when it is sent.
            request = users(chunk.audience_id, sending.operation, await self._in_worker(body), session, batch.rows)
            if last_body:
                request = replace(request, sent=sending.sent)
            self._searches.called()
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
                sending.sessions.taken()
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
            case RetryLater(reason, halve_after):
                asked = 0.0 if isinstance(answer, NoAnswer) else answer.meta.usage.stated_wait(chunk.ad_account_id)
                again = Again(reason, code, message, not_before=asked)
                halve = halve_after is not None and sending.attempt > halve_after
                return _Refused(unsure=again) if halve else again
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
        return await asyncio.get_running_loop().run_in_executor(self._worker, work)


def member_operation(operation: Operation) -> MemberOperation:
    """The call of a chunk's operation."""
    match operation:
        case Operation.ADD:
            return MemberOperation.ADD
        case Operation.REMOVE:
            return MemberOperation.REMOVE
        case Operation.REPLACE:
            return MemberOperation.REPLACE
        case _:
            assert_never(operation)


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
