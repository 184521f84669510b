"""The calls of one attempt: a chunk's rows to its audience, each answer reconciled, a refused batch halved.

A batch that Meta refuses as a whole is halved until the row it is refused for stands alone; that row is invalid, all
others arrive. The number of calls that may take is capped: a batch of which every half is refused has another problem.
"""

from collections.abc import Callable, Sequence
from dataclasses import replace
from typing import assert_never

from connector.audience.payload import Batch
from connector.audience.prepare import Prepared
from connector.graph.protocol import Credentials, MemberOperation
from schemas.events import ChunkReady, Operation
from services.uploader.calls import Calls, PrepareAgain, Refused, Sending
from services.uploader.endings import Again, Arrived, Attempt, Failed, Lost, NeedsPerson, StartAgain
from services.uploader.governor import Admitted
from services.uploader.halving import Halving, most_calls
from services.uploader.reconciling import Reconciled, SessionSoFar, account, refused_row
from services.uploader.searching import Allowance, Search
from services.uploader.sessions import ChunkSessions, ReplaceSession, Sessions

SEARCH_SHARE = 0.02
"""Of all calls, those that may look for invalid rows that Meta did not name."""


class Uploads:
    """Sends prepared chunks by *calls*."""

    def __init__(self, calls: Calls) -> None:
        self._calls = calls
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
        sending = Sending(chunk, operation, credentials, attempt, done, sessions, again, sent, cap, place)
        failed = await self._send_all(sending, prepared.batches)
        if isinstance(failed, NeedsPerson | Lost | StartAgain):
            return replace(failed, calls=sending.calls, fbtrace_id=sending.fbtrace_id)
        if failed is not None:
            return replace(failed, calls=sending.calls)
        counts, reasons, rejects = account(prepared, sending.parts)
        cells = {f"{key}:{reason}": count for (key, reason), count in prepared.cell_rejects.items()}
        return Arrived(counts, reasons, rejects, sending.calls, sending.fbtrace_id, cells)

    async def _send_all(self, sending: Sending, batches: Sequence[Batch]) -> Failed | None:
        """The chunk's session: its batches one after another; the halves of a refused one have their own sessions."""
        session_of_chunk = sending.sessions.begin(sum(batch.rows for batch in batches))
        so_far = SessionSoFar()
        for index, batch in enumerate(batches):
            if index in sending.done:
                sending.parts.append(sending.done[index])
                continue
            final = index + 1 == len(batches)
            session = session_of_chunk.batch(ends_session=final, ends_chunk=final)
            body = batch.body if sending.sessions.may_repeat else batch.give_body
            result = await self._calls.send(sending, batch, body, session, so_far, last_body=final)
            match result:
                case Reconciled():
                    sending.done[index] = result = await self._searched(sending, index, result)
                    sending.parts.append(result)
                    if not sending.sessions.shared:
                        so_far = SessionSoFar(so_far.sent + batch.rows, so_far.invalid + result.invalid_rows)
                case Refused():
                    prepared = await sending.again()
                    if not isinstance(prepared, Prepared):
                        return prepared
                    failed = await self._isolate(sending, prepared.batches[index], result.unsure, final=final)
                    if failed is not None:
                        return failed
                case _:
                    return result
        return None

    async def _isolate(self, sending: Sending, batch: Batch, unsure: Again | None, *, final: bool) -> Failed | None:
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
            result = await self._calls.send(sending, part, part.body, session, SessionSoFar())
            match result:
                case Reconciled():
                    sending.parts.append(result)
                    halving.taken()
                case Refused():
                    if (row := halving.refused()) is not None:
                        if result.unsure is not None:
                            return result.unsure
                        sending.parts.append(refused_row(row))
                case Lost(reason="split_exhausted") if unsure is not None:
                    return unsure
                case _:
                    return result
        return None

    async def _searched(self, sending: Sending, index: int, taken: Reconciled) -> Reconciled:
        """*taken*, with the rows that Meta counted as invalid and named none of, as far as they are found.

        Not in a replacement, whose session counts the rows of others too. Whatever goes wrong ends the search: the
        batch has arrived.
        """
        if (
            taken.invalid
            or not taken.unnumbered
            or sending.sessions.shared
            or not self._searches.allows(self._calls.made)
        ):
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
            result = await self._calls.send(sending, part, part.body, session, SessionSoFar())
            if not isinstance(result, Reconciled):
                break
            search.heard(result.invalid_rows)
        self._searches.searched(calls)
        found = tuple((row.record_of(0), row.line_of(0)) for row in search.found)
        return Reconciled(invalid=found, unnumbered=max(taken.unnumbered - len(found), 0))


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
