"""The record pipeline: a block of records in, bodies for Meta and an account of every record out. CPU only, no I/O.

Run it in a worker thread: nearly all of it runs in Rust without Python's global lock.
"""

from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass, field

import polars as pl

from connector.audience.columns import Cells, to_cells
from connector.audience.keys import Mode
from connector.audience.layouts import Reading
from connector.audience.payload import MAX_BYTES, MAX_ROWS, Batch, Scope, batches_of
from connector.audience.reasons import CellReason
from connector.audience.records import LINE, RECORD, Line, Records, RowReject
from connector.audience.reference import person
from connector.audience.rules.dates import LATEST_YEAR
from schemas.events import MAX_REJECT_SAMPLES, Reject


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
class ColumnAccount:
    """What a column of the file (a source of the layout) held.

    Attributes:
        name: What its owner calls it.
        key: What it is said to hold, a key or DOB.
        mode: In which form.
        filled: Cells that were looked at and not empty: a second column of a key is only looked at where the first
            one gave nothing.
        refused: How many of them were left out, by reason. `already_hashed` are hashes in a raw column, `not_a_hash`
            plain values in a hashed one.
    """

    name: str
    key: str
    mode: Mode
    filled: int
    refused: Mapping[CellReason, int]


@dataclass(frozen=True)
class CellReject:
    """A value that is left out: the number of its record and the name of its column."""

    record: int
    column: str
    reason: CellReason


@dataclass(frozen=True)
class Prepared:
    """A chunk ready to be sent: `records = rejects.total + sent`.

    Attributes:
        records: Records of the chunk.
        rejects: Those that do not leave.
        sent: Records with at least one row in the batches.
        cell_rejects: Values that were left out, by key and reason; their records may leave all the same.
        batches: What is sent, in this order. A record may have rows in several.
        columns: The same told by the columns of the file.
        refused_cells: Each value that was left out, only when asked for.
        rejected: Each record that does not leave, only when asked for.
    """

    records: int
    rejects: Rejects
    sent: int
    cell_rejects: Mapping[tuple[str, str], int]
    batches: tuple[Batch, ...] = field(repr=False)
    columns: tuple[ColumnAccount, ...] = field(default=(), repr=False)
    refused_cells: tuple[CellReject, ...] = field(default=(), repr=False)
    rejected: tuple[RowReject, ...] = field(default=(), repr=False)

    @property
    def rows(self) -> int:
        """Rows of all batches."""
        return sum(batch.rows for batch in self.batches)

    def rows_of(self, records: set[int]) -> Counter[int]:
        """How many rows each of *records* has in all batches."""
        counts: Counter[int] = Counter()
        for batch in self.batches:
            counts.update(batch.rows_of(records))
        return counts


def prepare(
    records: Records,
    reading: Reading,
    *,
    this_year: int = LATEST_YEAR,
    value_based: bool = False,
    max_rows: int = MAX_ROWS,
    max_bytes: int = MAX_BYTES,
    schema: tuple[str, ...] | None = None,
    detailed: bool = False,
) -> Prepared:
    """Normalises, hashes and encodes the records of a chunk. Never raises on what they hold.

    Args:
        records: The chunk, read as *reading* says.
        reading: Where in a record the keys lie.
        this_year: Nobody is born later than this.
        value_based: The audience is made of how much people are worth: who has no value is rejected.
        max_rows: Rows in one batch.
        max_bytes: Bytes in one batch, as far as halving it helps.
        schema: The keys that every batch names, whatever its rows hold; otherwise each names what it has.
        detailed: Also name every rejected record and every value that is left out.
    """
    cells = to_cells(records, reading, this_year=this_year, value_based=value_based, detailed=detailed)
    rows = _by_the_plain_rules(records.odd, reading, cells, this_year=this_year, value_based=value_based)
    frame = _merged(cells.frame, rows)
    rejects = sorted([*records.rejects, *cells.rejects], key=lambda reject: reject.record)
    count = records.count
    del records  # with its columns, which nobody needs beside the body that is made of what they gave
    return Prepared(
        records=count,
        rejects=_account(rejects),
        sent=frame[RECORD].n_unique(),
        cell_rejects=_by_key(cells, reading),
        batches=batches_of(
            frame,
            Scope(reading.app_ids, reading.page_ids),
            max_rows=max_rows,
            max_bytes=max_bytes,
            schema=schema,
        ),
        columns=_by_column(cells, reading),
        refused_cells=_one_by_one(cells, reading) if detailed else (),
        rejected=tuple(rejects) if detailed else (),
    )


def _by_the_plain_rules(
    odd: tuple[Line, ...], reading: Reading, cells: Cells, *, this_year: int, value_based: bool
) -> list[dict[str, object]]:
    """The rows of the odd records; what is not sent of them is counted in *cells*."""
    rows: list[dict[str, object]] = []
    for line in odd:
        found = person(line.value, reading, this_year=this_year, value_based=value_based)
        cells.reasons.update(found.cell_rejects)
        cells.filled.update(found.filled)
        cells.refused += [(line.record, source, reason) for source, reason in found.cell_rejects]
        if found.reason is not None:
            cells.rejects.append(RowReject(line.record, line.line, found.reason))
        for row in found.rows:
            named: dict[str, object] = {key.value: cell for key, cell in row.items()}
            rows.append(named | {RECORD: line.record, LINE: line.line})
    return rows


def _merged(frame: pl.DataFrame, rows: list[dict[str, object]]) -> pl.DataFrame:
    """Both kinds of rows in the order of their records."""
    if not rows:
        return frame
    names = {name for row in rows for name in row} - {RECORD, LINE}
    schema = {RECORD: pl.Int64(), LINE: pl.Int64(), **dict.fromkeys(sorted(names), pl.String())}
    return pl.concat([frame, pl.DataFrame(rows, schema=schema)], how="diagonal").sort(RECORD, maintain_order=True)


def _account(rejects: list[RowReject]) -> Rejects:
    return Rejects(
        counts=dict(Counter(reject.reason.value for reject in rejects)),
        samples=tuple(
            Reject(record=reject.record, line=reject.line, reason=reject.reason.value)
            for reject in rejects[:MAX_REJECT_SAMPLES]
        ),
    )


def _by_key(cells: Cells, reading: Reading) -> dict[tuple[str, str], int]:
    counts: Counter[tuple[str, str]] = Counter()
    for (number, reason), count in cells.reasons.items():
        counts[str(reading.sources[number].key), reason.value] += count
    return dict(counts)


def _by_column(cells: Cells, reading: Reading) -> tuple[ColumnAccount, ...]:
    return tuple(
        ColumnAccount(
            name=source.name,
            key=str(source.key),
            mode=source.mode,
            filled=cells.filled[number],
            refused={reason: count for (place, reason), count in cells.reasons.items() if place == number},
        )
        for number, source in enumerate(reading.sources)
    )


def _one_by_one(cells: Cells, reading: Reading) -> tuple[CellReject, ...]:
    refused = sorted(cells.refused, key=lambda cell: cell[:2])
    return tuple(CellReject(record, reading.sources[number].name, reason) for record, number, reason in refused)
