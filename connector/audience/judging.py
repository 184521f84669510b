"""One place of thousands of records at once: what `reference.judged` says of each, in columns.

The clear cases are decided in columns (`clear.py`), the others by the rule itself, once per distinct value. Where a
column repeats itself, everything is done once per distinct value and looked up.
"""

from dataclasses import dataclass, field

import polars as pl
import polars_hash as plh

from connector.audience.clear import LIVES, VALUE, WRITTEN, clear
from connector.audience.keys import DOB, UNHASHED, Key, Mode
from connector.audience.layouts import Source
from connector.audience.reasons import CellReason
from connector.audience.reference import judged

BY_COUNTRY = frozenset({Key.PHONE, Key.ST, Key.ZIP})
"""Keys whose rule depends on where the person lives."""

REASON = "reason"
_SAMPLE = 1_000
_PARTS = ((Key.DOBY, 0, 4), (Key.DOBM, 5, 2), (Key.DOBD, 8, 2))
"""Where the parts of a date stand in YYYY-MM-DD."""

Residence = pl.Series | str | None
"""Where the people of the rows live, each or all of them."""


@dataclass(frozen=True)
class Judged:
    """`values` has a column for each key the source fills, as sent, and `VALUE` as it was before hashing."""

    values: pl.DataFrame = field(repr=False)
    reason: pl.Series = field(repr=False)


def judge(written: pl.Series, source: Source, *, residence: Residence, this_year: int) -> Judged:
    """What the texts of a place give; null where there is none."""
    inputs = written.alias(WRITTEN).to_frame()
    lives = residence if source.key in BY_COUNTRY else None
    if isinstance(lives, pl.Series):
        inputs = inputs.with_columns(lives.alias(LIVES))
        lives = None
    if repeats(written):
        # A row without a text finds nothing in the table, so only the others need a line of it.
        table = inputs.unique().filter(pl.col(WRITTEN).is_not_null())
        decided = table.hstack(_decide(table, source, lives, this_year))
        found = inputs.join(decided, on=inputs.columns, how="left", maintain_order="left", nulls_equal=True)
    else:
        found = _decide(inputs, source, lives, this_year)
    return Judged(found.select(*source.fills, VALUE), found[REASON])


def repeats(texts: pl.Series) -> bool:
    """Whether working once per distinct value is cheaper than working on every value: by a sample."""
    return texts.head(_SAMPLE).n_unique() * 2 < min(len(texts), _SAMPLE)


def hashed(texts: pl.Series) -> pl.Series:
    """SHA-256 in lower case hexadecimal; null where there is nothing to hash."""
    if repeats(texts):
        table = texts.unique().drop_nulls().alias(WRITTEN).to_frame()
        table = table.with_columns(plh.col(WRITTEN).chash.sha2_256().alias(VALUE))
        return texts.alias(WRITTEN).to_frame().join(table, on=WRITTEN, how="left", maintain_order="left")[VALUE]
    return texts.alias(WRITTEN).to_frame().select(plh.col(WRITTEN).chash.sha2_256()).to_series()


def _decide(table: pl.DataFrame, source: Source, lives: str | None, this_year: int) -> pl.DataFrame:
    """The keys the source fills, `VALUE` and `REASON`, for every row of *table*."""
    plain = clear(table, source, lives, this_year)
    unclear = (plain.is_null() & table[WRITTEN].is_not_null()).arg_true()
    reason = pl.repeat(None, table.height, dtype=pl.String, eager=True)
    if len(unclear):
        left = table[unclear]
        found = _by_the_rule(left, source, lives, this_year)
        plain = plain.scatter(unclear, found[VALUE])
        reason = reason.scatter(unclear, found[REASON])
    return pl.DataFrame([*_as_sent(plain, source), plain.alias(VALUE), reason.alias(REASON)])


def _by_the_rule(table: pl.DataFrame, source: Source, lives: str | None, this_year: int) -> pl.DataFrame:
    """`VALUE` and `REASON` of each row: the rule itself, once per distinct input."""
    inputs = table.unique(maintain_order=True)
    values: list[str | None] = []
    reasons: list[str | None] = []
    countries = inputs[LIVES] if LIVES in inputs.columns else [lives] * inputs.height
    for text, country in zip(inputs[WRITTEN], countries, strict=True):
        found = judged(source, text, country=country, this_year=this_year)
        values.append(None if isinstance(found, CellReason) else _joined(found, source) or None)
        reasons.append(found.value if isinstance(found, CellReason) else None)
    decided = inputs.with_columns(
        pl.Series(VALUE, values, dtype=pl.String), pl.Series(REASON, reasons, dtype=pl.String)
    )
    if inputs.height == table.height:
        return decided
    return table.join(decided, on=table.columns, how="left", maintain_order="left", nulls_equal=True)


def _joined(found: tuple[str, ...], source: Source) -> str:
    """The parts of a date as one text, of which the columns are cut again; of others the value."""
    return "-".join(found) if source.key == DOB and all(found) else found[0]


def _as_sent(plain: pl.Series, source: Source) -> list[pl.Series]:
    if source.key == DOB:
        return [hashed(plain.str.slice(start, length)).alias(key) for key, start, length in _PARTS]
    key = Key(source.key)
    if source.mode is Mode.SHA256 or key in UNHASHED:
        return [plain.alias(key)]
    sent = [hashed(plain).alias(key)]
    if source.with_initial:
        sent.append(hashed(plain.str.slice(0, 1)).alias(Key.FI))
    return sent
