"""What Meta's reply to a `users` call says about each row, and what that says about each record. Pure."""

import math
from collections.abc import Sequence
from dataclasses import dataclass

from connector.audience.payload import Batch
from connector.audience.prepare import Prepared
from connector.graph.protocol import UsersReply
from schemas.events import MAX_REJECT_SAMPLES, ChunkCounts, Reject

META_INVALID = "meta_invalid"


@dataclass(frozen=True)
class Reconciled:
    """A batch that Meta took: which records are invalid by number, and how many more without one.

    Meta names at most 100 samples and calls its count approximate, so some invalid rows have no number.
    """

    records: int
    invalid: tuple[tuple[int, int], ...] = ()
    unnumbered: int = 0


@dataclass(frozen=True)
class Mismatch:
    """The reply does not fit what was sent: never a success. With `foreign`, it names another audience."""

    message: str
    foreign: bool = False


def reconcile(batch: Batch, reply: UsersReply, *, audience_id: str, sent_in_session: int) -> Reconciled | Mismatch:
    """Holds *reply* against the rows sent.

    `num_received` is the running total of the session, so it is at least *sent_in_session* (this batch included). More
    means that Meta counted a repeated batch again (a retry after a lost answer), which changes nothing: membership is a
    set. Less means that rows were lost on the way.
    """
    if reply.audience_id != audience_id:
        return Mismatch("the reply names another audience than the one addressed", foreign=True)
    if reply.received < sent_in_session:
        return Mismatch(f"Meta received {reply.received} rows of {sent_in_session} sent")
    rows = batch.rows_matching(reply.samples)
    invalid = fully_invalid(batch, rows)
    unnumbered = min(max(reply.invalid - len(rows), 0), batch.records - len(invalid))
    return Reconciled(batch.records, invalid, unnumbered)


def fully_invalid(batch: Batch, rows: set[int]) -> tuple[tuple[int, int], ...]:
    """Record and line numbers of the records all of whose rows are in *rows*: one good row makes a record accepted."""
    if not rows:
        return ()
    touched = {batch.record_of(row): batch.line_of(row) for row in rows}
    for row in range(batch.rows):
        if row not in rows:
            touched.pop(batch.record_of(row), None)
    return tuple(sorted(touched.items()))


def account(prepared: Prepared, parts: Sequence[Reconciled]) -> tuple[ChunkCounts, dict[str, int], tuple[Reject, ...]]:
    """Counts, reasons and samples of a chunk whose batches are *parts*."""
    invalid = sum(len(part.invalid) + part.unnumbered for part in parts)
    sent = prepared.batch.records
    counts = ChunkCounts(
        records=prepared.records, accepted=sent - invalid, invalid=invalid, rejected=prepared.rejects.total
    )
    numbered = [
        Reject(record=record, line=line, reason=META_INVALID) for part in parts for record, line in part.invalid
    ]
    reasons = dict(prepared.rejects.counts) | ({META_INVALID: invalid} if invalid else {})
    return counts, reasons, (*prepared.rejects.samples, *numbered)[:MAX_REJECT_SAMPLES]


def split_budget(rows: int) -> int:
    """Calls that finding one bad row among *rows* by halving may take: 2 log2(n) + 1."""
    return 2 * math.ceil(math.log2(max(rows, 2))) + 1
