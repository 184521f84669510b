"""Columns with few distinct values: each value is worked on once, and looked up for every row."""

from collections.abc import Callable

import polars as pl
import polars_hash as plh

from connector.audience.reasons import CellReason

Rule = Callable[[str], str | CellReason]

WRITTEN, VALUE, REASON, ODD = "written", "value", "reason", "odd"
"""Columns of a table of distinct values: as written; as usable; why not; whether it may have been no text."""

NOT_TEXT = r"^(?:-?[0-9]+(?:\.[0-9]+)?(?:[eE][+-]?[0-9]+)?$|true$|false$|[\[{])"
"""What a value that was no text looks like once the parser has written it out. Text may look like it too."""


def distinct(values: pl.Series) -> pl.Series:
    """The distinct values, called `WRITTEN`."""
    return values.unique().drop_nulls().alias(WRITTEN)


def joined(written: pl.Series, table: pl.DataFrame) -> pl.DataFrame:
    """For every row what *table* says of its value, nulls where it says nothing."""
    return written.alias(WRITTEN).to_frame().join(table, on=WRITTEN, how="left", maintain_order="left")


def looked_up(written: pl.Series, table: Callable[[pl.Series], pl.DataFrame]) -> pl.DataFrame:
    """`joined` with what *table* makes of the distinct values."""
    return joined(written, table(distinct(written))).drop(WRITTEN)


def by_rule(written: pl.Series, rule: Rule) -> pl.DataFrame:
    """A table of distinct values, each by *rule*."""
    results = [rule(text) for text in written]
    values = [None if isinstance(result, CellReason) else result or None for result in results]
    reasons = [result.value if isinstance(result, CellReason) else None for result in results]
    return written.to_frame().with_columns(
        pl.Series(VALUE, values, dtype=pl.String),
        pl.Series(REASON, reasons, dtype=pl.String),
        pl.col(WRITTEN).str.contains(NOT_TEXT).alias(ODD),
    )


def hashed(column: str) -> pl.Expr:
    """SHA-256 in lower case hexadecimal; null where there is nothing to hash."""
    return pl.when(pl.col(column) != "").then(plh.col(column).chash.sha2_256())
