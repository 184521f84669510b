"""One call of a chunk: admitted by its account's governor, made, and what the answer means for the chunk."""

import asyncio
import time
from collections.abc import Awaitable, Callable
from dataclasses import dataclass, field, replace
from typing import Protocol, assert_never

from connector.audience.encoding import Body
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
from schemas.events import ChunkReady
from services.uploader.breakers import scope_name
from services.uploader.endings import Again, Failed, Lost, NeedsPerson, Paused, StartAgain
from services.uploader.facts import CallMade, ThrottleHeard, UnknownAnswer, VersionWarning
from services.uploader.governor import Admitted, Governor, Wait
from services.uploader.reconciling import Mismatch, Reconciled, SessionSoFar, reconcile
from services.uploader.sessions import SessionOver, Sessions

PrepareAgain = Callable[[], Awaitable[Prepared | Again | Lost]]
"""The chunk read and prepared once more: the same batches, as its range is what was planned."""


LONGEST_PACE = 5.0
"""Seconds a chunk that has begun waits for its next call without giving its desk back."""


class Graph(Protocol):
    """What sends a request to Meta; `connector.graph.client.GraphClient` is the real one."""

    async def send(self, request: GraphRequest, credentials: Credentials) -> Answer:
        """The answer; never an exception."""
        ...


@dataclass(frozen=True)
class Refused:
    """Meta refused the batch as a whole: halve it.

    With `unsure` the cause may be trouble that passes: then no row is condemned for it.
    """

    unsure: Again | None = None


@dataclass
class Sending:
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


class Calls:
    """Makes calls; what it hears about budgets goes to the governor at once.

    Args:
        graph: Where requests go.
        governor: Hears the usage of every answer.
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
        version: str,
        chance: Callable[[], float],
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self._graph = graph
        self._governor = governor
        self._telemetry = telemetry
        self._version = version
        self._chance = chance
        self._clock = clock
        self.made = 0

    async def send(
        self,
        sending: Sending,
        batch: Batch,
        body: Callable[[], Body],
        session: Session,
        before: SessionSoFar,
        *,
        last_body: bool = False,
    ) -> Reconciled | Refused | Failed:
        """Sends a *batch* under *session* until it is answered for good; *body* gives its payload.

        *before* is what the session sent before it; with *last_body* no other body of the chunk is held after this one.
        """
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
                return self._taken(sending, batch, answer, before)
            case Refusal() | Garbled() | NoAnswer():
                return self._refused(sending, answer)
            case _:
                assert_never(answer)

    async def _governed(self, sending: Sending) -> Paused | None:
        """Waits until a further call of the chunk may be made, but not for long: its desk is taken."""
        account = sending.chunk.ad_account_id
        while isinstance(answer := self._governor.admit(account, self._clock()), Wait):
            if answer.seconds > LONGEST_PACE:
                return Paused(answer.seconds)
            await asyncio.sleep(answer.seconds)
        sending.place = answer
        return None

    async def _call(
        self, sending: Sending, batch: Batch, body: Callable[[], Body], session: Session, *, last_body: bool
    ) -> Answer:
        chunk, governor = sending.chunk, self._governor
        try:
            # The payload is nobody's but the request's, which lets go of it when it is sent.
            request = users(chunk.audience_id, sending.operation, body(), session, batch.rows)
            if last_body:
                request = replace(request, sent=sending.sent)
            self.made += 1
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

    def _taken(self, sending: Sending, batch: Batch, answer: Success, before: SessionSoFar) -> Reconciled | Failed:
        """A 200: a success only when it is a users reply, of our audience, and its counts agree."""
        reply = users_reply(answer.document)
        if reply is None:
            return Again("unreadable_reply", "reply", "Meta answered 200 with something else than a users reply")
        result = reconcile(batch, reply, audience_id=sending.chunk.audience_id, before=before)
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

    def _refused(self, sending: Sending, answer: Refusal | Garbled | NoAnswer) -> Refused | Failed:
        """What the verdict on *answer* means for the chunk: the effects of the verdicts, one each."""
        chunk, code, message = sending.chunk, *described(answer)
        verdict = classify(answer, chunk.ad_account_id)
        match verdict:
            case RetryLater(reason, halve_after):
                asked = 0.0 if isinstance(answer, NoAnswer) else answer.meta.usage.stated_wait(chunk.ad_account_id)
                again = Again(reason, code, message, not_before=asked)
                halve = halve_after is not None and sending.attempt > halve_after
                return Refused(unsure=again) if halve else again
            case Throttled():
                seconds = self._governor.throttled(sending.place, verdict, self._clock(), self._chance())
                self._telemetry.emit(ThrottleHeard(verdict.scope.value, chunk.ad_account_id, round(seconds, 1)))
                return Paused(seconds)
            case WaitForPerson(cause, scope, advice):
                return NeedsPerson(cause, scope_name(scope, chunk), advice)
            case Split():
                return Refused()
            case Impossible(reason, advice, _):
                return Lost(reason, code, f"{message}. {advice}")
            case Unknown(label):
                self._telemetry.emit(UnknownAnswer(chunk.chunk_id, label))
                return Again("unknown_answer", label, message, unknown=True)
            case _:
                assert_never(verdict)


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
