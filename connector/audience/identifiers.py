"""People with several identifiers of one kind: which of them stands in which row.

Row k of a person carries the k-th distinct identifier of each kind, in the order of the layout's precedence.
"""

from collections.abc import Mapping, Sequence

import polars as pl

from connector.audience.keys import Key

ROW, TURN = "row", "turn"
"""Columns: the row of the frame an identifier was found in, and the how-manieth of its kind in that row, from 0."""

_FOUND = "found"


def first_of(found: Sequence[pl.Series]) -> pl.Series:
    """The first identifier of each row, from columns in order of precedence."""
    if len(found) == 1:
        return found[0]
    return (
        pl.DataFrame([column.alias(str(place)) for place, column in enumerate(found)])
        .select(pl.coalesce(pl.all()))
        .to_series()
    )


def further(identifiers: Mapping[Key, Sequence[pl.Series]]) -> pl.DataFrame | None:
    """`ROW` and a column per kind: the second identifiers, then the third..., of the rows that have as many."""
    tables = [_beyond_first(key, found) for key, found in identifiers.items() if len(found) > 1]
    tables = [table for table in tables if table.height]
    if not tables:
        return None
    merged = tables[0]
    for table in tables[1:]:
        merged = merged.join(table, on=[ROW, TURN], how="full", coalesce=True)
    return merged.sort(ROW, TURN).drop(TURN)


def _beyond_first(key: Key, found: Sequence[pl.Series]) -> pl.DataFrame:
    """`ROW`, `TURN` and *key*: all but the first identifiers. The same identifier twice in a row is one."""
    there = [column.is_not_null().cast(pl.UInt8) for column in found]
    count = there[0]
    for more in there[1:]:
        count = count + more
    rows = (count > 1).arg_true().cast(pl.UInt32)
    long = pl.concat([pl.DataFrame({ROW: rows, _FOUND: column.gather(rows)}) for column in found]).drop_nulls()
    long = long.unique([ROW, _FOUND], keep="first", maintain_order=True)
    turns = pl.int_range(pl.len(), dtype=pl.UInt32).over(ROW)
    return long.with_columns(turns.alias(TURN)).filter(pl.col(TURN) > 0).select(ROW, TURN, pl.col(_FOUND).alias(key))
