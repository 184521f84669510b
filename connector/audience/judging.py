"""One place of thousands of records at once: what `reference.judged` says of each, in columns.

The clear cases are decided in columns (`clear.py`), the others by the rule itself, once per distinct value. Where a
column repeats itself, everything is done once per distinct value and looked up.
"""

from dataclasses import dataclass, field
from functools import lru_cache

import polars as pl
import polars_hash as plh

from connector.audience.clear import VALUE, clear
from connector.audience.clear_phones import LIVES, WRITTEN
from connector.audience.keys import DOB, UNHASHED, Key, Mode
from connector.audience.layouts import Source
from connector.audience.reasons import CellReason
from connector.audience.reference import judged

BY_COUNTRY = frozenset({Key.PHONE, Key.ST, Key.ZIP})
"""Keys whose rule depends on where the person lives."""

VOCABULARIES = frozenset({Key.GEN, Key.DOBY, Key.DOBM, Key.DOBD, Key.ST, Key.COUNTRY})
"""Keys with few values, the same in every block: what the rule says of them is remembered."""

REASON = "reason"
_PLACE = "place"
_SAMPLE = 1_000
_PARTS = ((Key.DOBY, 0, 4), (Key.DOBM, 5, 2), (Key.DOBD, 8, 2))
"""Where the parts of a date stand in YYYY-MM-DD."""

Residence = pl.Series | str | None
"""Where the people of the rows live, each or all of them."""


@dataclass(frozen=True)
class Judged:
    """What a place gives in each row: the keys its source fills, as sent, and why there is none.

    All are null where there is nothing to tell; `reason` is None when nothing was refused. `plain` is the country
    before hashing, which other keys need, and None for every other key.
    """

    values: dict[Key, pl.Series] = field(repr=False)
    plain: pl.Series | None = field(repr=False)
    reason: pl.Series | None = field(repr=False)

    @property
    def filled(self) -> int:
        """In how many rows there is a value."""
        first = next(iter(self.values.values()))
        return len(first) - first.null_count()


def distinct(texts: pl.Series) -> pl.Series | None:
    """The distinct texts, where working once for each of them is cheaper than once for every row: by a sample."""
    sample = texts.head(_SAMPLE)
    return texts.unique().drop_nulls() if sample.n_unique() * 2 < len(sample) else None


def judge(written: pl.Series, of: pl.Series | None, source: Source, *, residence: Residence, this_year: int) -> Judged:
    """What the texts of a place give; *of* are the `distinct` ones, if there are few."""
    lives = residence if source.key in BY_COUNTRY else None
    if isinstance(lives, pl.Series):
        return _judge_by_country(written, lives, source, this_year)
    if of is None:
        return _decide(written.alias(WRITTEN).to_frame(), source, lives, this_year)
    once = _decide(of.alias(WRITTEN).to_frame(), source, lives, this_year)
    return _looked_up(once, written.cast(pl.Enum(of)).to_physical())


def _judge_by_country(written: pl.Series, lives: pl.Series, source: Source, this_year: int) -> Judged:
    inputs = pl.DataFrame([written.alias(WRITTEN), lives.alias(LIVES)])
    table = inputs.unique().filter(pl.col(WRITTEN).is_not_null())
    if table.height * 2 > inputs.height:
        return _decide(inputs, source, None, this_year)
    numbered = table.with_row_index(_PLACE)
    places = inputs.join(numbered, on=[WRITTEN, LIVES], how="left", maintain_order="left", nulls_equal=True)[_PLACE]
    return _looked_up(_decide(table, source, None, this_year), places)


def _looked_up(once: Judged, places: pl.Series) -> Judged:
    """What was found once, for every row by its place."""
    return Judged(
        values={key: found.gather(places) for key, found in once.values.items()},
        plain=None if once.plain is None else once.plain.gather(places),
        reason=None if once.reason is None else once.reason.gather(places),
    )


def hashed(texts: pl.Series) -> pl.Series:
    """SHA-256 in lower case hexadecimal; null where there is nothing to hash."""
    of = distinct(texts)
    if of is None:
        return _digests(texts)
    return _digests(of).gather(texts.cast(pl.Enum(of)).to_physical())


def _digests(texts: pl.Series) -> pl.Series:
    return texts.alias(WRITTEN).to_frame().select(plh.col(WRITTEN).chash.sha2_256()).to_series()


def _decide(table: pl.DataFrame, source: Source, lives: str | None, this_year: int) -> Judged:
    """What every row of *table* gives, without a look at which are alike."""
    plain = clear(table, source, lives, this_year)
    reason = None
    if plain.null_count():
        unclear = (plain.is_null() & table[WRITTEN].is_not_null()).arg_true()
        if len(unclear):
            found = _by_the_rule(table[unclear], source, lives, this_year)
            plain = plain.scatter(unclear, found[VALUE])
            if found[REASON].null_count() < found.height:
                reason = pl.repeat(None, table.height, dtype=pl.String, eager=True).scatter(unclear, found[REASON])
    return Judged(_as_sent(plain, source), plain if source.key is Key.COUNTRY else None, reason)


def _by_the_rule(table: pl.DataFrame, source: Source, lives: str | None, this_year: int) -> pl.DataFrame:
    """`VALUE` and `REASON` of each row: the rule itself, once per distinct input."""
    inputs = table.unique(maintain_order=True)
    values: list[str | None] = []
    reasons: list[str | None] = []
    judge_one = _remembered if source.key in VOCABULARIES else judged
    countries = inputs[LIVES] if LIVES in inputs.columns else [lives] * inputs.height
    for text, country in zip(inputs[WRITTEN], countries, strict=True):
        found = judge_one(source, text, country=country, this_year=this_year)
        values.append(None if isinstance(found, CellReason) else _joined(found, source) or None)
        reasons.append(found.value if isinstance(found, CellReason) else None)
    decided = inputs.with_columns(
        pl.Series(VALUE, values, dtype=pl.String), pl.Series(REASON, reasons, dtype=pl.String)
    )
    if inputs.height == table.height:
        return decided
    return table.join(decided, on=table.columns, how="left", maintain_order="left", nulls_equal=True)


@lru_cache(maxsize=4_096)
def _remembered(source: Source, text: str, *, country: str | None, this_year: int) -> tuple[str, ...] | CellReason:
    return judged(source, text, country=country, this_year=this_year)


def _joined(found: tuple[str, ...], source: Source) -> str:
    """The parts of a date as one text, of which the columns are cut again; of others the value."""
    return "-".join(found) if source.key == DOB and all(found) else found[0]


def _as_sent(plain: pl.Series, source: Source) -> dict[Key, pl.Series]:
    if source.key == DOB:
        return {key: hashed(plain.str.slice(start, length)) for key, start, length in _PARTS}
    key = Key(source.key)
    if source.mode is Mode.SHA256 or key in UNHASHED:
        return {key: plain}
    if source.with_initial:
        return {key: hashed(plain), Key.FI: hashed(plain.str.slice(0, 1))}
    return {key: hashed(plain)}
