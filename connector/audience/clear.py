"""The clear cases of each key, decided in columns: what the rule would say, or null where only the rule can tell.

Every expression here takes fewer texts than its rule does and gives exactly what the rule gives for them; property
tests hold the two against each other. What is rare is left to the rule.
"""

from collections.abc import Callable
from datetime import date

import polars as pl

from connector.audience.clear_phones import LIVES, WRITTEN, clear_phones
from connector.audience.keys import DOB, Key, Mode
from connector.audience.layouts import Source
from connector.audience.rules import dates, names
from connector.audience.rules.devices import NOBODY
from connector.audience.rules.digests import JUNK_DIGESTS
from connector.audience.rules.text import JUNK_WORDS, WHITESPACE

VALUE = "value"
"""The column of what comes out, before hashing."""

_TEXT = pl.col(WRITTEN).str.strip_chars(WHITESPACE)
_LOWER = _TEXT.str.to_lowercase()

_DIGEST = r"^[0-9a-f]{64}$"
_EMAIL = r"^[a-z0-9_+-]+(?:\.[a-z0-9_+-]+)*@[a-z0-9-]+(?:\.[a-z0-9-]+)+$"

_UUID = r"^[0-9a-f]{8}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{12}$"
_LOOSE_UUID = r"^([0-9a-f]{8})-?([0-9a-f]{4})-?([0-9a-f]{4})-?([0-9a-f]{4})-?([0-9a-f]{12})$"
_ZIP_AND_FOUR = r"^[0-9]{5}-[0-9]{4}$"
_POST_CODE = r"^[a-z0-9]{0,7}[0-9][a-z]{0,3}$"
_META_ID = r"^[1-9][0-9]{0,18}$"
_AMOUNT = r"^(?:[1-9][0-9]{0,14}|(?:0|[1-9][0-9]{0,14})\.[0-9]{0,14}[1-9])$"
_JUNK = list(JUNK_WORDS)

Clear = Callable[[pl.DataFrame], pl.Series]


def clear(table: pl.DataFrame, source: Source, lives: str | None, this_year: int) -> pl.Series:
    """The normalised values of the clear cases among the rows of *table*, null elsewhere.

    *lives* is the country of all rows where the table has no `LIVES`. Of a date the value begins with YYYY-MM-DD.
    """
    if source.mode is Mode.SHA256:
        return table.select(_digests()).to_series()
    if source.key == DOB:
        return table.select(_dates(this_year)).to_series()
    if source.key is Key.PHONE:
        return clear_phones(table, lives)
    decide = _BY_KEY.get(Key(source.key))
    return decide(table) if decide is not None else pl.repeat(None, table.height, dtype=pl.String, eager=True)


def _digests() -> pl.Expr:
    return pl.when(_LOWER.str.contains(_DIGEST) & ~_LOWER.is_in(list(JUNK_DIGESTS))).then(_LOWER)


def _dates(this_year: int) -> pl.Expr:
    day = _TEXT.str.slice(0, 10)
    found = day.str.to_date("%Y-%m-%d", strict=False)
    possible = found.is_between(date(dates.FIRST_YEAR, 1, 1), date(this_year, 12, 31))
    return pl.when(_TEXT.str.contains(dates.DATE_PATTERN) & possible).then(day)


def _emails(table: pl.DataFrame) -> pl.Series:
    return table.select(pl.when(_LOWER.str.contains(_EMAIL)).then(_LOWER)).to_series()


def _devices(table: pl.DataFrame) -> pl.Series:
    text = _LOWER.str.replace(_LOOSE_UUID, "$1-$2-$3-$4-$5")
    return table.select(pl.when(text.str.contains(_UUID) & (text != NOBODY)).then(text)).to_series()


def _extern_ids(table: pl.DataFrame) -> pl.Series:
    return table.select(pl.when((_TEXT != "") & ~_LOWER.is_in(_JUNK)).then(_TEXT)).to_series()


def _as_written(pattern: str) -> Clear:
    """Texts that are their own normalised form."""
    expression = pl.when(pl.col(WRITTEN).str.contains(pattern)).then(WRITTEN)
    return lambda table: table.select(expression).to_series()


def _post_codes(table: pl.DataFrame) -> pl.Series:
    code = pl.col(WRITTEN).str.to_lowercase().str.replace_all(" ", "", literal=True)
    long = pl.col(VALUE).str.contains(_ZIP_AND_FOUR)
    short = pl.col(VALUE).str.contains(_POST_CODE) & (pl.col(VALUE).str.len_bytes() > 1)
    codes = table.select(code.alias(VALUE))
    return codes.select(pl.when(long).then(pl.col(VALUE).str.slice(0, 5)).when(short).then(VALUE)).to_series()


def _cities(table: pl.DataFrame) -> pl.Series:
    letters = pl.col(WRITTEN).str.to_lowercase().str.replace_all("[^a-z]+", "")
    return table.select(_if_sound(letters)).to_series()


def _last_names(table: pl.DataFrame) -> pl.Series:
    """Names in ASCII in columns, the others by the one implementation of the Unicode rule, in one sweep."""
    letters = pl.col(WRITTEN).str.to_lowercase().str.replace_all("[^a-z0-9]+", "")
    plain = table.select(_if_sound(letters)).to_series()
    others = table.select((~_is_ascii()).fill_null(value=False)).to_series().arg_true()
    if not len(others):
        return plain
    swept = pl.Series(names.normalise_names(table[WRITTEN].gather(others).to_list()), dtype=pl.String)
    sound = swept.to_frame(VALUE).select(pl.when(_is_sound(pl.col(VALUE))).then(VALUE)).to_series()
    return plain.scatter(others, sound)


def _initials(table: pl.DataFrame) -> pl.Series:
    return _last_names(table).str.slice(0, 1)


def _if_sound(letters: pl.Expr) -> pl.Expr:
    return pl.when(_is_ascii() & _is_sound(letters)).then(letters)


def _is_ascii() -> pl.Expr:
    return pl.col(WRITTEN).str.len_bytes() == pl.col(WRITTEN).str.len_chars()


def _is_sound(letters: pl.Expr) -> pl.Expr:
    """Neither nothing nor junk nor a hash, each of which has its own answer."""
    # "n/a" without its slash.
    return ~letters.is_in([*_JUNK, "na", ""]) & (letters.str.len_chars() != 64)


_BY_KEY: dict[Key, Clear] = {
    Key.EMAIL: _emails,
    Key.FN: _last_names,
    Key.LN: _last_names,
    Key.FI: _initials,
    Key.CT: _cities,
    Key.ZIP: _post_codes,
    Key.MADID: _devices,
    Key.EXTERN_ID: _extern_ids,
    Key.UID: _as_written(_META_ID),
    Key.APPUID: _as_written(_META_ID),
    Key.PAGEUID: _as_written(_META_ID),
    Key.LOOKALIKE_VALUE: _as_written(_AMOUNT),
}
