"""Whether a file is fit to be sent, told from its first records: what would leave, what would not, and what to fix.

It says what is wrong in the words of the file's owner: columns and counts, never a value.
"""

from collections import Counter
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass, field
from typing import Any

import orjson

from connector.audience.advice import (
    EMPTY_COLUMN,
    MIXED_DATES,
    MIXED_MODES,
    PHONE_WITHOUT_COUNTRY,
    TOO_MANY_CELLS,
    TOO_MANY_ROWS,
    advice,
    refusal_of_column,
    refusal_of_rows,
)
from connector.audience.evidence import Evidence
from connector.audience.keys import Key, Mode
from connector.audience.layouts import Reading
from connector.audience.prepare import ColumnAccount, Prepared
from connector.audience.reasons import CellReason
from connector.audience.records import Records

RECORDS = 1_000
"""Records looked at."""

_WRONG_MODE = {Mode.RAW: CellReason.ALREADY_HASHED, Mode.SHA256: CellReason.NOT_A_HASH}


@dataclass(frozen=True)
class Thresholds:
    """Above which share the file is refused: of a column's cells that are not empty, and of the records."""

    cells: float = 0.10
    rows: float = 0.50


@dataclass(frozen=True)
class Rejected:
    """A record (without `column`) or a cell that does not leave. `row` counts records from 1."""

    row: int
    column: str | None
    reason: str


@dataclass(frozen=True)
class Coverage:
    """In how many rows a key has a value, and how many different ones."""

    filled: int
    distinct: int


@dataclass(frozen=True)
class Warned:
    """Something its owner should know about a column, or (without one) about the whole file."""

    column: str | None
    kind: str
    count: int
    advice: str


@dataclass(frozen=True)
class Preflight:
    """What became of the first records of a file.

    Attributes:
        records: How many were looked at.
        schema: The keys that have a value in any row, in Meta's order.
        rows: The rows as they would leave, hashed, in the order of their records.
        rejected: What would not leave, by record.
        coverage: How well each key of the schema is filled.
        warnings: What to fix, the worst first.
        would_refuse: Whether a threshold is passed.
    """

    records: int
    schema: tuple[str, ...]
    rows: tuple[tuple[Any, ...], ...] = field(repr=False)
    rejected: tuple[Rejected, ...] = field(repr=False)
    coverage: Mapping[str, Coverage]
    warnings: tuple[Warned, ...]
    would_refuse: bool

    def as_json(self) -> dict[str, Any]:
        """As `fbc preview -o json` shows it to the owner of the file."""
        return {"schema": list(self.schema), "rows": [list(row) for row in self.rows], **self.report()}

    def report(self, max_rejected: int | None = None) -> dict[str, Any]:
        """The same without the people: what may be stored and told on."""
        return {
            "rejected": [_without_none(rejected) for rejected in self.rejected[:max_rejected]],
            "coverage": {key: asdict(coverage) for key, coverage in self.coverage.items()},
            "warnings": [asdict(warned) for warned in self.warnings],
            "would_refuse": self.would_refuse,
        }


@dataclass(frozen=True)
class Part:
    """Some of the records, as they were read and as they were prepared (`prepare(..., detailed=True)`)."""

    records: Records
    prepared: Prepared


def preflight(
    parts: Iterable[Part], reading: Reading, *, mapped: bool, thresholds: Thresholds, this_year: int
) -> Preflight:
    """Judges the first records of a file.

    Args:
        parts: The records, in as many pieces as they were read in.
        reading: What is read.
        mapped: The owner has named the columns, so a column that holds nothing is news to them.
        thresholds: Above which shares the file is refused.
        this_year: Nobody is born later than this.
    """
    evidence = Evidence(reading, this_year=this_year)
    prepared: list[Prepared] = []
    readable = 0
    for part in parts:
        prepared.append(part.prepared)
        evidence.add(part.records)
        readable += part.records.frame.height + len(part.records.odd)
    records = sum(part.records for part in prepared)
    schema, rows = _rows(prepared)
    columns = _columns(prepared)
    rows_rejected = sum(part.rejects.total for part in prepared)
    refusals = [*_refused_columns(columns, thresholds.cells), *_refused_rows(rows_rejected, records, thresholds.rows)]
    about_columns = [
        warned
        for number, column in enumerate(columns)
        for warned in _about_column(column, evidence, number, readable if mapped else 0)
    ]
    return Preflight(
        records=records,
        schema=schema,
        rows=rows,
        rejected=tuple(_rejected(prepared)),
        coverage=_coverage(schema, rows),
        warnings=(*refusals, *about_columns, *_about_rows(prepared)),
        would_refuse=bool(refusals),
    )


def _rows(prepared: Iterable[Prepared]) -> tuple[tuple[str, ...], tuple[tuple[Any, ...], ...]]:
    """The rows of all batches under one schema, in the order of their records."""
    numbered: list[tuple[int, dict[str, Any]]] = []
    for part in prepared:
        for batch in part.batches:
            data = orjson.loads(batch.payload())["data"]
            numbered += [
                (batch.record_of(row), dict(zip(batch.schema, data[row], strict=True))) for row in range(batch.rows)
            ]
    numbered.sort(key=lambda entry: entry[0])
    used = {key for _, cells in numbered for key in cells}
    schema = tuple(key.value for key in Key if key in used)
    return schema, tuple(tuple(cells.get(key, "") for key in schema) for _, cells in numbered)


def _coverage(schema: Sequence[str], rows: Sequence[tuple[Any, ...]]) -> dict[str, Coverage]:
    columns = {key: [row[place] for row in rows if row[place] != ""] for place, key in enumerate(schema)}
    return {key: Coverage(len(cells), len(set(map(orjson.dumps, cells)))) for key, cells in columns.items()}


def _rejected(prepared: Iterable[Prepared]) -> Iterator[Rejected]:
    for part in prepared:
        cells = [Rejected(cell.record, cell.column, cell.reason.value) for cell in part.refused_cells]
        rows = [Rejected(reject.record, None, reject.reason.value) for reject in part.rejected]
        yield from sorted([*cells, *rows], key=lambda rejected: rejected.row)


def _columns(prepared: Sequence[Prepared]) -> list[ColumnAccount]:
    """The accounts of all parts, summed column by column."""
    summed: list[ColumnAccount] = []
    for accounts in zip(*(part.columns for part in prepared), strict=True):
        refused: Counter[CellReason] = Counter()
        for account in accounts:
            refused.update(account.refused)
        one = accounts[0]
        filled = sum(account.filled for account in accounts)
        summed.append(ColumnAccount(one.name, one.key, one.mode, filled, refused))
    return summed


def _refused_columns(columns: Iterable[ColumnAccount], share: float) -> Iterator[Warned]:
    for column in columns:
        refused = sum(column.refused.values())
        if refused > share * column.filled:
            text = refusal_of_column(column.name, refused, column.filled, share)
            yield Warned(column.name, TOO_MANY_CELLS, refused, text)


def _refused_rows(rejected: int, records: int, share: float) -> Iterator[Warned]:
    if rejected > share * records:
        yield Warned(None, TOO_MANY_ROWS, rejected, refusal_of_rows(rejected, records, share))


def _about_column(column: ColumnAccount, evidence: Evidence, number: int, expected: int) -> Iterator[Warned]:
    """What is to be said of a column that should hold something in *expected* records, the most frequent first."""
    counts = {_kind(column, reason, count): count for reason, count in column.refused.items()}
    counts[PHONE_WITHOUT_COUNTRY] = evidence.phones_without_country[number]
    counts[MIXED_DATES] = evidence.dates_out_of_line(number)
    counts[EMPTY_COLUMN] = 0 if column.filled else expected
    for kind, count in sorted(counts.items(), key=lambda entry: -entry[1]):
        if count:
            yield Warned(column.name, kind, count, advice(kind, column, count, evidence.date_formats[number]))


def _kind(column: ColumnAccount, reason: CellReason, count: int) -> str:
    """A column all in the other mode is wrongly declared; one that has both is mixed."""
    return MIXED_MODES if reason is _WRONG_MODE[column.mode] and count < column.filled else reason.value


def _about_rows(prepared: Iterable[Prepared]) -> Iterator[Warned]:
    counts: Counter[str] = Counter()
    for part in prepared:
        counts.update(part.rejects.counts)
    for reason, count in counts.most_common():
        yield Warned(None, reason, count, advice(reason, None, count))


def _without_none(rejected: Rejected) -> dict[str, Any]:
    return {name: value for name, value in asdict(rejected).items() if value is not None}
