"""One place of thousands of records at once: what `reference.judged` says of each, in columns.

The clear cases are decided in columns (`clear.py`), the others by the rule itself, once per distinct value. Where a
column repeats itself, everything is done once per distinct value and looked up.
"""

from functools import lru_cache

import polars as pl
import polars_hash as plh

from connector.audience.clear import VALUE, clear
from connector.audience.clear_phones import LIVES, WRITTEN
from connector.audience.keys import DOB, UNHASHED, Key, Mode
from connector.audience.layouts import Source
from connector.audience.reasons import CellReason
from connector.audience.reference import as_sent, judged
from connector.audience.vocabulary import Judged, Vocabulary, looked_up, repeats_itself

BY_COUNTRY = frozenset({Key.PHONE, Key.ST, Key.ZIP})
"""Keys whose rule depends on where the person lives."""

_FEW, _SHORT = 300, 200
"""So many distinct texts of so many bytes are faster judged one by one than in columns. Longer ones are not
remembered: a file of them must not fill the memory."""

REASON = "reason"
_PLACE = "place"
_SAMPLE = 1_000
_PARTS = ((Key.DOBY, 0, 4), (Key.DOBM, 5, 2), (Key.DOBD, 8, 2))
"""Where the parts of a date stand in YYYY-MM-DD."""

Residence = pl.Series | str | None
"""Where the people of the rows live, each or all of them."""


def distinct(texts: pl.Series) -> pl.Series | None:
    """The distinct texts, where working once for each of them is cheaper than once for every row: by a sample."""
    sample = texts.head(_SAMPLE).drop_nulls()
    return texts.unique().drop_nulls() if sample.n_unique() * 2 < len(sample) else None


@lru_cache(maxsize=256)
def _vocabulary(source: Source, lives: str | None, this_year: int) -> Vocabulary:
    """The one of a place: most blocks of a file hold the same texts there."""
    del source, lives, this_year
    return Vocabulary()


def judge(written: pl.Series, source: Source, *, residence: Residence, this_year: int) -> Judged:
    """What the texts of a place give."""
    lives = residence if source.key in BY_COUNTRY else None
    if isinstance(lives, pl.Series):
        return _judge_by_country(written, lives, source, this_year)
    vocabulary = _vocabulary(source, lives, this_year)

    def decide(texts: pl.Series) -> Judged:
        return _decide(texts.alias(WRITTEN).to_frame(), source, lives, this_year)

    known = vocabulary.look_up(written, decide)
    if known is not None:
        return known
    of = distinct(written)
    if of is None:
        if not repeats_itself(written.head(_SAMPLE)):
            return decide(written)
        of = written.unique().drop_nulls()
    is_few = len(of) <= _FEW and not (of.str.len_bytes() > _SHORT).any()
    once = _judge_few(of, source, lives, this_year) if is_few else decide(of)
    vocabulary.learn(of, once)
    return looked_up(once, written.cast(pl.Enum(of)).to_physical())


def _judge_few(of: pl.Series, source: Source, lives: str | None, this_year: int) -> Judged:
    found = [_remembered(source, text, lives, this_year) for text in of]
    sent, plains, reasons = zip(*found, strict=True) if found else ((), (), ())
    return Judged(
        values={
            key: pl.Series([values[place] if values else None for values in sent], dtype=pl.String)
            for place, key in enumerate(source.fills)
        },
        plain=pl.Series(plains, dtype=pl.String) if source.key is Key.COUNTRY else None,
        reason=pl.Series(reasons, dtype=pl.String) if any(reasons) else None,
    )


@lru_cache(maxsize=8_192)
def _remembered(
    source: Source, text: str, country: str | None, this_year: int
) -> tuple[tuple[str | None, ...], str | None, str | None]:
    """What a text gives: the values as sent, the first of them before hashing, why there are none."""
    found = judged(source, text, country=country, this_year=this_year)
    if isinstance(found, CellReason):
        return (), None, found.value
    return tuple(as_sent(source, plain) or None for plain in found), found[0] or None, None


def _judge_by_country(written: pl.Series, lives: pl.Series, source: Source, this_year: int) -> Judged:
    inputs = pl.DataFrame([written.alias(WRITTEN), lives.alias(LIVES)])
    table = inputs.unique().filter(pl.col(WRITTEN).is_not_null())
    if table.height * 2 > inputs.height:
        return _decide(inputs, source, None, this_year)
    numbered = table.with_row_index(_PLACE)
    places = inputs.join(numbered, on=[WRITTEN, LIVES], how="left", maintain_order="left", nulls_equal=True)[_PLACE]
    return looked_up(_decide(table, source, None, this_year), places)


def hashed(texts: pl.Series) -> pl.Series:
    """SHA-256 in lower case hexadecimal; null where there is nothing to hash."""
    of = distinct(texts)
    if of is None:
        return _digests(texts)
    return _digests(of)[texts.cast(pl.Enum(of)).to_physical()]


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


def _as_sent(plain: pl.Series, source: Source) -> dict[Key, pl.Series]:
    if source.key == DOB:
        return {key: hashed(plain.str.slice(start, length)) for key, start, length in _PARTS}
    key = Key(source.key)
    if source.mode is Mode.SHA256 or key in UNHASHED:
        return {key: plain}
    if source.with_initial:
        return {key: hashed(plain), Key.FI: hashed(plain.str.slice(0, 1))}
    return {key: hashed(plain)}
