"""The record pipeline: the bytes of a chunk in, rows for Meta and an account of every record out. CPU only, no I/O.

Run it in a worker thread: nearly all of it runs in Rust without Python's global lock.
"""

from collections import Counter
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field

import polars as pl

from connector.audience.columns import Cells, to_cells
from connector.audience.keys import Key
from connector.audience.payload import Batch
from connector.audience.reasons import CellReason, RowReason
from connector.audience.records import LINE, RECORD, Line, Records, RowReject, read_records
from connector.audience.reference import person
from connector.audience.rules.dates import LATEST_YEAR
from schemas.events import MAX_REJECT_SAMPLES, Layout, Reject


@dataclass(frozen=True)
class Rejects:
    """Records that do not leave: complete counts per reason, and the first ones by number."""

    counts: Mapping[str, int]
    samples: tuple[Reject, ...]

    @property
    def total(self) -> int:
        """How many records are rejected."""
        return sum(self.counts.values())


@dataclass(frozen=True)
class Prepared:
    """A chunk ready to be sent: `records = rejects.total + batch.records`.

    `cell_rejects` counts values that were left out, by key and reason; their records may leave all the same.
    """

    records: int
    rejects: Rejects
    cell_rejects: Mapping[tuple[str, str], int]
    batch: Batch = field(repr=False)


def prepare(
    block: bytes, *, layout: Layout, first_record: int, first_line: int, this_year: int = LATEST_YEAR
) -> Prepared:
    """Reads, normalises and hashes the records of a chunk. Never raises on what the bytes are.

    Args:
        block: The lines of the chunk; blank ones count as lines but not as records.
        layout: Where in a record the keys lie.
        first_record: Number of the block's first record within the file, from 1.
        first_line: Number of the block's first line within the file, from 1.
        this_year: Nobody is born later than this.
    """
    records = read_records(block, layout, first_record=first_record, first_line=first_line)
    cells = to_cells(records.frame, this_year=this_year)
    plain = _by_the_plain_rules(_odd_lines(records, cells), layout, this_year)
    rejects = [*records.rejects, *_unidentified(cells.no_identifier), *plain.rejects]
    return Prepared(
        records=records.count,
        rejects=_account(rejects),
        cell_rejects=_named(cells.cell_rejects + plain.cell_rejects),
        batch=Batch(_merged(cells.frame, plain.rows)),
    )


@dataclass
class _Plain:
    """What the plain rules made of the odd records."""

    rows: list[dict[str, object]] = field(default_factory=list)
    rejects: list[RowReject] = field(default_factory=list)
    cell_rejects: Counter[tuple[Key, CellReason]] = field(default_factory=Counter)


def _odd_lines(records: Records, cells: Cells) -> Iterable[Line]:
    yield from records.odd
    for row in cells.odd:
        yield records.line(row)


def _by_the_plain_rules(lines: Iterable[Line], layout: Layout, this_year: int) -> _Plain:
    plain = _Plain()
    for line in lines:
        found = person(line.value, layout, this_year=this_year)
        plain.cell_rejects.update(found.cell_rejects)
        if not found.rows:
            plain.rejects.append(RowReject(line.record, line.line, RowReason.NO_IDENTIFIER))
        for row in found.rows:
            cells: dict[str, object] = {key.value: cell for key, cell in row.items()}
            plain.rows.append(cells | {RECORD: line.record, LINE: line.line})
    return plain


def _merged(frame: pl.DataFrame, rows: list[dict[str, object]]) -> pl.DataFrame:
    """Both kinds of rows in the order of their records."""
    if not rows:
        return frame
    return pl.concat([frame, pl.DataFrame(rows, schema=frame.schema)]).sort(RECORD, maintain_order=True)


def _unidentified(numbers: pl.DataFrame) -> Iterable[RowReject]:
    for record, line in numbers.iter_rows():
        yield RowReject(record, line, RowReason.NO_IDENTIFIER)


def _account(rejects: list[RowReject]) -> Rejects:
    first = sorted(rejects, key=lambda reject: reject.record)[:MAX_REJECT_SAMPLES]
    return Rejects(
        counts=dict(Counter(reject.reason.value for reject in rejects)),
        samples=tuple(Reject(record=reject.record, line=reject.line, reason=reject.reason.value) for reject in first),
    )


def _named(counts: Counter[tuple[Key, CellReason]]) -> dict[tuple[str, str], int]:
    return {(key.value, reason.value): count for (key, reason), count in counts.items()}
