"""What Meta's reply to a `users` call says about each row, and what that says about each record. Pure."""

from collections import Counter
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
        invalid: Record and line numbers of the rows that Meta named as invalid, one for each row.
        unnumbered: Further invalid rows that Meta counted but did not name: it names at most 100.
    """

    invalid: tuple[tuple[int, int], ...] = ()
    unnumbered: int = 0

    @property
    def invalid_rows(self) -> int:
        """All invalid rows of the batch."""
        return len(self.invalid) + self.unnumbered


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
        invalid=tuple((batch.record_of(row), batch.line_of(row)) for row in sorted(rows)),
        unnumbered=invalid_rows - len(rows),
    )


def refused_row(batch: Batch) -> Reconciled:
    """A row that was refused alone, after its batch was halved down to it."""
    return Reconciled(invalid=((batch.record_of(0), batch.line_of(0)),))


def account(prepared: Prepared, parts: Sequence[Reconciled]) -> tuple[ChunkCounts, dict[str, int], tuple[Reject, ...]]:
    """Counts, reasons and samples of a chunk that was sent as *parts*. Each record is in exactly one place."""
    named = _invalid_records(prepared, parts)
    unnamed = min(sum(part.unnumbered for part in parts), prepared.sent - len(named))
    invalid = len(named) + unnamed
    counts = ChunkCounts(
        records=prepared.records, accepted=prepared.sent - invalid, invalid=invalid, rejected=prepared.rejects.total
    )
    reasons = dict(prepared.rejects.counts) | ({META_INVALID: invalid} if invalid else {})
    numbered = [Reject(record=record, line=line, reason=META_INVALID) for record, line in sorted(named.items())]
    return counts, reasons, (*prepared.rejects.samples, *numbered)[:MAX_REJECT_SAMPLES]


def _invalid_records(prepared: Prepared, parts: Sequence[Reconciled]) -> dict[int, int]:
    """The records all of whose rows are invalid, with their lines: one good row makes a record accepted.

    Wherever the rows were sent: those of one record may lie in several batches, and in halves of them.
    """
    lines = {record: line for part in parts for record, line in part.invalid}
    invalid_rows = Counter(record for part in parts for record, _ in part.invalid)
    rows = prepared.rows_of(set(lines))
    return {record: line for record, line in lines.items() if invalid_rows[record] >= rows[record]}
