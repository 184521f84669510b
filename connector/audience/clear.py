"""The clear cases of each key, decided in columns: what the rule would say, or null where only the rule can tell.

Every expression here takes fewer texts than its rule does and gives exactly what the rule gives for them; property
tests hold the two against each other. What is rare is left to the rule.
"""

from collections.abc import Callable
from datetime import date

import polars as pl

from connector.audience.clear_phones import WRITTEN, clear_phones
from connector.audience.keys import DOB, Key, Mode
from connector.audience.layouts import Source
from connector.audience.rules import dates, names
from connector.audience.rules.devices import NOBODY
from connector.audience.rules.digests import JUNK_DIGESTS
from connector.audience.rules.text import JUNK_WORDS, WHITESPACE

VALUE = "value"
"""The column of what comes out, before hashing."""

_DIGEST = r"^[0-9a-f]{64}$"
_EMAIL = "^[a-z0-9._+-]+@[a-z0-9.-]+$"

_UUID = r"^[0-9a-f]{8}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{12}$"
_LOOSE_UUID = r"^([0-9a-f]{8})-?([0-9a-f]{4})-?([0-9a-f]{4})-?([0-9a-f]{4})-?([0-9a-f]{12})$"
_ZIP = "^[0-9]{5}$"
_ZIP_AND_FOUR = "^[0-9]{5}-[0-9]{4}$"
_POST_CODE = r"^[a-z0-9]{0,7}[0-9][a-z]{0,3}$"
_META_ID = r"^[1-9][0-9]{0,18}$"
_AMOUNT = r"^(?:[1-9][0-9]{0,14}|(?:0|[1-9][0-9]{0,14})\.[0-9]{0,14}[1-9])$"
_JUNK = list(JUNK_WORDS)

Clear = Callable[[pl.Series], pl.Series]

_WRITTEN = pl.col(WRITTEN)
_FOUND = pl.col(VALUE)


def clear(table: pl.DataFrame, source: Source, lives: str | None, this_year: int) -> pl.Series:
    """The normalised values of the clear cases among the rows of *table*, null elsewhere.

    *lives* is the country of all rows where the table has no `LIVES`. Of a date the value begins with YYYY-MM-DD.
    """
    written = table[WRITTEN]
    if source.mode is Mode.SHA256:
        return _digests(written)
    if source.key == DOB:
        return _dates(written, this_year)
    if source.key is Key.PHONE:
        return clear_phones(table, lives)
    decide = _BY_KEY.get(Key(source.key))
    return decide(written) if decide is not None else pl.repeat(None, len(written), dtype=pl.String, eager=True)


def _chosen(written: pl.Series, value: pl.Expr, condition: pl.Expr) -> pl.Series:
    """*value*, made of `_WRITTEN`, where *condition* about `_FOUND` holds, null elsewhere. One pass of the engine."""
    made = written.alias(WRITTEN).to_frame().lazy().select(value.alias(VALUE))
    return made.select(pl.when(condition).then(VALUE)).collect().to_series()


def _repaired(written: pl.Series, own_form: str, repair: Clear, clean: pl.Series | None = None) -> pl.Series:
    """Texts that look like *own_form* as they are (or as in *clean*), others as *repair* makes them."""
    clean = written if clean is None else clean
    dirty = written.alias(WRITTEN).to_frame().select((~_WRITTEN.str.contains(own_form)).arg_true()).to_series()
    if not len(dirty):
        return clean
    if len(dirty) == len(written):
        return repair(written)
    return clean.clone().scatter(dirty, repair(written[dirty]))  # a scatter changes what it is called on


_LOWER = _WRITTEN.str.strip_chars(WHITESPACE).str.to_lowercase()


def _digests(written: pl.Series) -> pl.Series:
    found = _repaired(written, _DIGEST, lambda dirty: _chosen(dirty, _LOWER, _FOUND.str.contains(_DIGEST)))
    return _chosen(found, _WRITTEN, ~_FOUND.is_in(list(JUNK_DIGESTS)))


def _dates(written: pl.Series, this_year: int) -> pl.Series:
    first, last = date(dates.FIRST_YEAR, 1, 1), date(this_year, 12, 31)
    possible = _FOUND.str.slice(0, 10).str.to_date("%Y-%m-%d", strict=False).is_between(first, last)
    text = _WRITTEN.str.strip_chars(WHITESPACE)
    return _chosen(written, text, _FOUND.str.contains(dates.DATE_PATTERN) & possible)


def _emails(written: pl.Series) -> pl.Series:
    return _repaired(written, _EMAIL, lambda dirty: _chosen(dirty, _LOWER, _FOUND.str.contains(_EMAIL)))


def _devices(written: pl.Series) -> pl.Series:
    text = _LOWER.str.replace(_LOOSE_UUID, "$1-$2-$3-$4-$5")
    found = _repaired(written, _UUID, lambda dirty: _chosen(dirty, text, _FOUND.str.contains(_UUID)))
    return _chosen(found, _WRITTEN, _FOUND != NOBODY)


def _extern_ids(written: pl.Series) -> pl.Series:
    text = _WRITTEN.str.strip_chars(WHITESPACE)
    return _chosen(written, text, (_FOUND != "") & ~_FOUND.str.to_lowercase().is_in(_JUNK))


def _as_written(pattern: str) -> Clear:
    """Texts that are their own normalised form."""
    return lambda written: _chosen(written, _WRITTEN, _FOUND.str.contains(pattern))


def _post_codes(written: pl.Series) -> pl.Series:
    text = _WRITTEN.str.to_lowercase().str.replace_all(" ", "", literal=True)
    code = pl.when(text.str.contains(_ZIP_AND_FOUR)).then(text.str.slice(0, 5)).otherwise(text)
    is_one = _FOUND.str.contains(_POST_CODE) & (_FOUND.str.len_bytes() > 1)
    return _repaired(written, _ZIP, lambda dirty: _chosen(dirty, code, is_one))


def _cities(written: pl.Series) -> pl.Series:
    # A digit is left to the rule: without its digits a hash would pass for a city.
    letters = pl.when(~_WRITTEN.str.contains("[0-9]")).then(_WRITTEN.str.replace_all("[^A-Za-z]+", ""))
    found = _repaired(written, "^[A-Za-z]+$", lambda dirty: _if_ascii(dirty, letters))
    return _chosen(found, _WRITTEN.str.to_lowercase(), _IS_SOUND)


def _names(written: pl.Series) -> pl.Series:
    """Names in ASCII in columns, the others by the one implementation of the Unicode rule, in one sweep."""
    letters = _WRITTEN.str.replace_all("[^A-Za-z0-9]+", "").str.to_lowercase()

    def repair(dirty: pl.Series) -> pl.Series:
        plain = _if_ascii(dirty, letters)
        others = (plain.is_null() & dirty.is_not_null()).arg_true()
        if not len(others):
            return plain
        swept = names.normalise_names(dirty[others].to_list())
        return plain.scatter(others, pl.Series(swept, dtype=pl.String))

    # Only names in ASCII are lower-cased in columns: the rule composes other letters before.
    found = _repaired(written, "^[A-Za-z0-9]+$", repair, written.str.to_lowercase())
    return _chosen(found, _WRITTEN, _IS_SOUND)


def _initials(written: pl.Series) -> pl.Series:
    return _names(written).str.slice(0, 1)


def _if_ascii(written: pl.Series, value: pl.Expr) -> pl.Series:
    is_ascii = _WRITTEN.str.len_bytes() == _WRITTEN.str.len_chars()
    return written.alias(WRITTEN).to_frame().select(pl.when(is_ascii).then(value)).to_series()


_IS_SOUND = ~_FOUND.is_in([*_JUNK, "na", ""]) & (_FOUND.str.len_chars() != 64)
"""Neither nothing nor junk ("n/a" without its slash) nor a hash: each of these has its own answer."""


_BY_KEY: dict[Key, Clear] = {
    Key.EMAIL: _emails,
    Key.FN: _names,
    Key.LN: _names,
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
