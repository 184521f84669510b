"""What describes a person without identifying one: names, gender, country, birth. Thousands of records at once.

The columns given back are called after their key; beside them stand `reason:<key>`, why a cell is empty, and
`odd:<key>`, whether the row has to be decided by the plain rules because its value may have been no text.
"""

from collections.abc import Iterable
from datetime import date
from functools import partial

import polars as pl

from connector.audience import layouts
from connector.audience.distinct import (
    NOT_TEXT,
    ODD,
    REASON,
    VALUE,
    WRITTEN,
    by_rule,
    distinct,
    hashed,
    joined,
    looked_up,
)
from connector.audience.keys import Key
from connector.audience.normalise import digest, normalise
from connector.audience.reasons import CellReason
from connector.audience.rules import dates, names
from connector.audience.rules.text import JUNK_WORDS, WHITESPACE

REASON_OF, ODD_OF = f"{REASON}:", f"{ODD}:"

_JUNK_NAMES = [*JUNK_WORDS, "na"]
_DATE_PARTS = ((Key.DOBY, 0, 4), (Key.DOBM, 5, 2), (Key.DOBD, 8, 2))
_TEXT, _DAY = "text", "day"


def attributes(frame: pl.DataFrame, this_year: int) -> Iterable[pl.DataFrame]:
    """The attributes of a `Records.frame`, hashed, as frames of its height."""
    yield looked_up(frame[f"{layouts.NAME}.{layouts.GIVEN_NAME}"], _first_names)
    yield looked_up(frame[f"{layouts.NAME}.{layouts.FAMILY_NAME}"], _last_names)
    yield looked_up(frame[f"{layouts.GENDER_OBJECT}.{layouts.GENDER}"], partial(_words, Key.GEN))
    yield looked_up(frame[layouts.COUNTRY], partial(_words, Key.COUNTRY))
    yield from _birth(frame[layouts.BIRTH_DATE], frame[layouts.BIRTH_YEAR], this_year)


def _first_names(written: pl.Series) -> pl.DataFrame:
    table = _plain_names(written).with_columns(pl.col(VALUE).str.slice(0, 1).alias("initial"))
    return table.select(WRITTEN, hashed(VALUE).alias(Key.FN), hashed("initial").alias(Key.FI), _is_odd_name(Key.FN))


def _last_names(written: pl.Series) -> pl.DataFrame:
    return _plain_names(written).select(WRITTEN, hashed(VALUE).alias(Key.LN), _is_odd_name(Key.LN))


def _is_odd_name(key: Key) -> pl.Expr:
    """Numbers, junk and hashes in the place of a name: rare, and each has its own reason."""
    plain = pl.col(VALUE)
    odd = pl.col(WRITTEN).str.contains(NOT_TEXT) | plain.is_in(_JUNK_NAMES) | (plain.str.len_chars() == 64)
    return odd.alias(ODD_OF + key)


def _plain_names(written: pl.Series) -> pl.DataFrame:
    """Distinct names normalised: ASCII ones in columns, the others by the one implementation of the Unicode rule."""
    ascii_only = pl.col(WRITTEN).str.len_bytes() == pl.col(WRITTEN).str.len_chars()
    stripped = pl.col(WRITTEN).str.to_lowercase().str.replace_all("[^a-z0-9]+", "")
    table = written.to_frame().with_columns(pl.when(ascii_only).then(stripped).alias(VALUE))
    others = table.filter(pl.col(VALUE).is_null())
    if others.is_empty():
        return table
    plain = pl.Series(VALUE, names.normalise_names(others[WRITTEN].to_list()), dtype=pl.String)
    return pl.concat([table.filter(pl.col(VALUE).is_not_null()), others.with_columns(plain)])


def _words(key: Key, written: pl.Series) -> pl.DataFrame:
    """Words of a small vocabulary, each by its rule."""
    table = by_rule(written, lambda text: normalise(key, text))
    return table.select(
        WRITTEN,
        pl.Series(key, [digest(plain) if plain else None for plain in table[VALUE]], dtype=pl.String),
        pl.col(REASON).alias(REASON_OF + key),
        pl.col(ODD).alias(ODD_OF + key),
    )


def _birth(written: pl.Series, written_year: pl.Series, this_year: int) -> Iterable[pl.DataFrame]:
    """The date's parts, or the year alone where there is no usable date."""
    dated = _days(written, this_year)
    years = looked_up(written_year, partial(_lone_years, this_year))
    parts = dated.select(pl.col(_DAY).str.slice(start, length).alias(key) for key, start, length in _DATE_PARTS)
    undated = parts[Key.DOBY].is_null()
    parts = parts.with_columns(pl.coalesce(Key.DOBY, years[VALUE]))
    for key in parts.columns:
        yield looked_up(parts[key], partial(_hashed_part, key))
    yield dated.select(
        pl.col(REASON).alias(f"{REASON_OF}{Key.DOBY}:date"),
        pl.col(ODD).alias(f"{ODD_OF}{Key.DOBY}:date"),
    )
    # The year alone is only asked for where there is no date, so only there it can be wrong.
    yield years.select(
        pl.when(undated).then(REASON).alias(f"{REASON_OF}{Key.DOBY}:year"),
        (pl.col(ODD) & pl.col(REASON).is_not_null()).alias(f"{ODD_OF}{Key.DOBY}:year"),
    )


def _days(written: pl.Series, this_year: int) -> pl.DataFrame:
    """`_DAY` begins with YYYY-MM-DD where that is a possible birthday; else there may be a `REASON`."""
    texts = written.alias(_TEXT).to_frame().select(pl.col(_TEXT).str.strip_chars(WHITESPACE))
    clear = texts.select(pl.when(_is_clear_date(this_year)).then(_TEXT)).to_series()
    left = texts[_TEXT].filter(clear.is_null() & (texts[_TEXT] != ""))
    if left.is_empty():
        nothing = pl.lit(None, dtype=pl.String).alias(REASON)
        return clear.alias(_DAY).to_frame().with_columns(nothing, pl.lit(value=False).alias(ODD))
    found = joined(texts[_TEXT], by_rule(distinct(left), partial(_day, this_year)))
    return found.select(pl.coalesce(clear, VALUE).alias(_DAY), REASON, ODD)


def _is_clear_date(this_year: int) -> pl.Expr:
    day = pl.col(_TEXT).str.slice(0, 10).str.to_date("%Y-%m-%d", strict=False)
    first, last = date(dates.FIRST_YEAR, 1, 1), date(this_year, 12, 31)
    return pl.col(_TEXT).str.contains(dates.DATE_PATTERN) & day.is_between(first, last)


def _day(this_year: int, text: str) -> str | CellReason:
    parts = dates.normalise_date(text, this_year=this_year)
    return parts if isinstance(parts, CellReason) else "-".join(parts or ())


def _lone_years(this_year: int, written: pl.Series) -> pl.DataFrame:
    return by_rule(written, lambda text: dates.normalise_year(text, this_year=this_year))


def _hashed_part(key: str, written: pl.Series) -> pl.DataFrame:
    return written.to_frame().select(WRITTEN, hashed(WRITTEN).alias(key))
