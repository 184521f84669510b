"""What Meta's reply to a `users` call says about each row, and what that says about each record. Pure."""

from collections.abc import Sequence
from dataclasses import dataclass

from connector.audience.payload import Batch
from connector.audience.prepare import Prepared
from connector.graph.protocol import UsersReply
from schemas.events import MAX_REJECT_SAMPLES, ChunkCounts, Reject

META_INVALID = "meta_invalid"


@dataclass(frozen=True)
class SessionSoFar:
    """What was sent in a session before the batch in question, and how many of those rows were invalid."""

    sent: int = 0
    invalid: int = 0


@dataclass(frozen=True)
class Reconciled:
    """What became of a batch.

    Attributes:
        first: Number of its first record; a record's rows may continue from the batch before.
        last: Number of its last record; its rows may continue in the next batch.
        invalid: Record and line numbers of the records all of whose rows in this batch are invalid.
        unnumbered: Further invalid rows that Meta counted but did not name: it names at most 100.
        invalid_rows: All invalid rows of this batch.
    """

    first: int
    last: int
    invalid: tuple[tuple[int, int], ...] = ()
    unnumbered: int = 0
    invalid_rows: int = 0


@dataclass(frozen=True)
class Mismatch:
    """The reply does not fit what was sent: never a success. With `foreign`, it names another audience."""

    message: str
    foreign: bool = False


def reconcile(batch: Batch, reply: UsersReply, *, audience_id: str, before: SessionSoFar) -> Reconciled | Mismatch:
    """Holds *reply* against the rows sent.

    Both counts of the reply run over the session (Meta's custom audience guide). `num_received` is therefore at least
    what this session sent; less means that rows were lost on the way. More means that Meta counted a repeated batch
    again, after a lost answer or a redelivery, which changes nothing, as membership is a set; the invalid rows are then
    repeated in the same proportion.
    """
    if reply.audience_id != audience_id:
        return Mismatch("the reply names another audience than the one addressed", foreign=True)
    sent = before.sent + batch.rows
    if reply.received < sent:
        return Mismatch(f"Meta received {reply.received} rows of {sent} sent")
    rows = batch.rows_matching(reply.samples)
    counted = round(reply.invalid * sent / reply.received) - before.invalid
    invalid_rows = min(max(counted, len(rows)), batch.rows)
    return Reconciled(
        first=batch.record_of(0),
        last=batch.record_of(batch.rows - 1),
        invalid=_invalid_records(batch, rows),
        unnumbered=invalid_rows - len(rows),
        invalid_rows=invalid_rows,
    )


def refused_row(batch: Batch) -> Reconciled:
    """A row that was refused alone, after its batch was halved down to it."""
    record = batch.record_of(0)
    return Reconciled(record, record, ((record, batch.line_of(0)),), invalid_rows=1)


def _invalid_records(batch: Batch, rows: set[int]) -> tuple[tuple[int, int], ...]:
    """Record and line of the records all of whose rows are in *rows*: one good row makes a record accepted."""
    lines: dict[int, int] = {}
    for row in rows:
        if all(other in rows for other in _rows_of_same_record(batch, row)):
            lines[batch.record_of(row)] = batch.line_of(row)
    return tuple(sorted(lines.items()))


def _rows_of_same_record(batch: Batch, row: int) -> range:
    """The rows around *row* that came from its record; they are neighbours."""
    record = batch.record_of(row)
    start, end = row, row + 1
    while start > 0 and batch.record_of(start - 1) == record:
        start -= 1
    while end < batch.rows and batch.record_of(end) == record:
        end += 1
    return range(start, end)


def account(prepared: Prepared, parts: Sequence[Reconciled]) -> tuple[ChunkCounts, dict[str, int], tuple[Reject, ...]]:
    """Counts, reasons and samples of a chunk that was sent as *parts*. Each record is in exactly one place."""
    named = _invalid_of_all(parts)
    sent = prepared.batch.records
    unnamed = min(sum(part.unnumbered for part in parts), sent - len(named))
    invalid = len(named) + unnamed
    counts = ChunkCounts(
        records=prepared.records, accepted=sent - invalid, invalid=invalid, rejected=prepared.rejects.total
    )
    reasons = dict(prepared.rejects.counts) | ({META_INVALID: invalid} if invalid else {})
    numbered = [Reject(record=record, line=line, reason=META_INVALID) for record, line in sorted(named.items())]
    return counts, reasons, (*prepared.rejects.samples, *numbered)[:MAX_REJECT_SAMPLES]


def _invalid_of_all(parts: Sequence[Reconciled]) -> dict[int, int]:
    """Invalid records with their lines. One cut in two by a halving is invalid only when it is in both parts."""
    invalid = {record: line for part in parts for record, line in part.invalid}
    for part in parts:
        mine = {record for record, _ in part.invalid}
        for edge in (part.first, part.last):
            if edge not in mine:
                invalid.pop(edge, None)
    return invalid
