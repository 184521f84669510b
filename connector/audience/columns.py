"""Thousands of records to cells at once: `reference.py` in columns.

The clear cases are decided in columns: a hash that is one, a UUID that is one, a date that is one. What is left over,
and whatever has few distinct values (names, countries...), is normalised once per distinct value by the rule itself. A
row that cannot be decided from its text alone is called odd and left to the plain rules: the parser writes numbers,
lists and booleans out as text, so `"5"` and `5` look alike here.
"""

from collections import Counter
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field

import polars as pl

from connector.audience.attributes import ODD_OF, REASON_OF, attributes
from connector.audience.distinct import REASON
from connector.audience.identifiers import ROW, Identifiers, find_identifiers, first_of_each, further
from connector.audience.keys import IDENTIFIERS, PLACES_AND_AGE, Key
from connector.audience.reasons import CellReason
from connector.audience.records import LINE, RECORD

CellRejects = Counter[tuple[Key, CellReason]]


@dataclass(frozen=True)
class Cells:
    """Rows of cells as they leave: `RECORD`, `LINE` and a column per key, null where empty, in the order of records.

    `odd` are the rows of the given frame that are not decided here. `no_identifier` has `RECORD` and `LINE` of the
    records nobody can be matched by.
    """

    frame: pl.DataFrame = field(repr=False)
    no_identifier: pl.DataFrame = field(repr=False)
    cell_rejects: CellRejects
    odd: list[int]


def to_cells(frame: pl.DataFrame, *, this_year: int) -> Cells:
    """Normalises and hashes the records of a `Records.frame`."""
    identifiers = find_identifiers(frame)
    firsts = [first_of_each(found, frame.height).alias(key) for key, found in identifiers.items()]
    numbers = pl.int_range(frame.height, dtype=pl.UInt32, eager=True).alias(ROW)
    people = pl.concat([frame.select(numbers, RECORD, LINE, *firsts), *attributes(frame, this_year)], how="horizontal")
    people = people.with_columns(pl.lit(None, dtype=pl.String).alias(key) for key in Key if key not in people.columns)
    odd = _odd_rows(people, identifiers.values())
    decided = people.filter(~pl.col(ROW).is_in(odd.implode())) if odd.len() else people
    is_identified = decided.select(_is_identified()).to_series()
    return Cells(
        frame=_one_row_per_identifier(decided.filter(is_identified), further(identifiers), list(identifiers)),
        no_identifier=decided.filter(~is_identified).select(RECORD, LINE),
        cell_rejects=_count_rejects(decided, identifiers),
        odd=odd.to_list(),
    )


def _odd_rows(people: pl.DataFrame, identifiers: Iterable[Identifiers]) -> pl.Series:
    flags = [pl.col(name) for name in people.columns if name.startswith(ODD_OF)]
    rows = people.filter(pl.any_horizontal(flags))[ROW]
    return pl.concat([rows, *(found.odd for found in identifiers)]).unique().sort()


def _is_identified() -> pl.Expr:
    """`keys.identifies` in columns."""
    filled = {key: pl.col(key).is_not_null() for key in Key}
    full_name = (
        filled[Key.LN] & (filled[Key.FN] | filled[Key.FI]) & pl.any_horizontal(filled[key] for key in PLACES_AND_AGE)
    )
    return pl.any_horizontal(full_name, *(filled[key] for key in IDENTIFIERS))


def _one_row_per_identifier(people: pl.DataFrame, more: pl.DataFrame, kinds: list[Key]) -> pl.DataFrame:
    """Row k of a record carries its k-th identifier of each kind; every row carries all attributes."""
    first = people.select(RECORD, LINE, *Key)
    if more.is_empty():
        return first
    # An inner join: the odd and the unidentified are not among the people.
    rest = more.join(people.drop(kinds), on=ROW, how="inner", maintain_order="left").select(RECORD, LINE, *Key)
    return pl.concat([first, rest]).sort(RECORD, maintain_order=True)


def _count_rejects(decided: pl.DataFrame, identifiers: Mapping[Key, Identifiers]) -> CellRejects:
    """How often each reason stands in each key's columns, the odd rows not counted."""
    counts: CellRejects = Counter()
    for name in decided.columns:
        if name.startswith(REASON_OF) and decided[name].null_count() < decided.height:
            _add(counts, Key(name.removeprefix(REASON_OF).partition(":")[0]), decided[name].drop_nulls())
    for key, found in identifiers.items():
        if not found.refused.is_empty():
            _add(counts, key, found.refused.join(decided, on=ROW, how="semi")[REASON])
    return counts


def _add(counts: CellRejects, key: Key, reasons: pl.Series) -> None:
    for reason, count in reasons.value_counts().iter_rows():
        counts[key, CellReason(reason)] += count
