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
_ZIP_AND_FOUR = r"^[0-9]{5}-[0-9]{4}$"
_POST_CODE = r"^[a-z0-9]{0,7}[0-9][a-z]{0,3}$"
_META_ID = r"^[1-9][0-9]{0,18}$"
_AMOUNT = r"^(?:[1-9][0-9]{0,14}|(?:0|[1-9][0-9]{0,14})\.[0-9]{0,14}[1-9])$"
_JUNK = list(JUNK_WORDS)

Clear = Callable[[pl.Series], pl.Series]


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


def _repaired(written: pl.Series, own_form: str, repair: Clear) -> pl.Series:
    """Texts that look like *own_form* as they are, and the others as *repair* makes them: most are clean."""
    dirty = (~written.str.contains(own_form)).arg_true()
    if not len(dirty):
        return written
    if len(dirty) == len(written):
        return repair(written)
    return written.scatter(dirty, repair(written.gather(dirty)))


def _where(condition: pl.Series, values: pl.Series) -> pl.Series:
    """The values where the condition holds, null elsewhere."""
    return pl.DataFrame([condition.alias("is"), values.alias(VALUE)]).select(pl.when("is").then(VALUE)).to_series()


def _stripped_lower(written: pl.Series) -> pl.Series:
    return written.str.strip_chars(WHITESPACE).str.to_lowercase()


def _digests(written: pl.Series) -> pl.Series:
    def repair(dirty: pl.Series) -> pl.Series:
        lower = _stripped_lower(dirty)
        return _where(lower.str.contains(_DIGEST), lower)

    found = _repaired(written, _DIGEST, repair)
    return _where(~found.is_in(list(JUNK_DIGESTS)), found)


def _dates(written: pl.Series, this_year: int) -> pl.Series:
    text = written.str.strip_chars(WHITESPACE)
    day = text.str.slice(0, 10)
    first, last = date(dates.FIRST_YEAR, 1, 1), date(this_year, 12, 31)
    possible = day.str.to_date("%Y-%m-%d", strict=False).is_between(first, last)
    return _where(text.str.contains(dates.DATE_PATTERN) & possible, day)


def _emails(written: pl.Series) -> pl.Series:
    def repair(dirty: pl.Series) -> pl.Series:
        lower = _stripped_lower(dirty)
        return _where(lower.str.contains(_EMAIL), lower)

    return _repaired(written, _EMAIL, repair)


def _devices(written: pl.Series) -> pl.Series:
    def repair(dirty: pl.Series) -> pl.Series:
        text = _stripped_lower(dirty).str.replace(_LOOSE_UUID, "$1-$2-$3-$4-$5")
        return _where(text.str.contains(_UUID), text)

    found = _repaired(written, _UUID, repair)
    return _where(found != NOBODY, found)


def _extern_ids(written: pl.Series) -> pl.Series:
    text = written.str.strip_chars(WHITESPACE)
    return _where((text != "") & ~text.str.to_lowercase().is_in(_JUNK), text)


def _as_written(pattern: str) -> Clear:
    """Texts that are their own normalised form."""
    return lambda written: _where(written.str.contains(pattern), written)


def _post_codes(written: pl.Series) -> pl.Series:
    def repair(dirty: pl.Series) -> pl.Series:
        code = dirty.str.to_lowercase().str.replace_all(" ", "", literal=True)
        long = code.str.contains(_ZIP_AND_FOUR)
        code = code.scatter(long.arg_true(), code.filter(long).str.slice(0, 5))
        return _where(code.str.contains(_POST_CODE) & (code.str.len_bytes() > 1), code)

    return _repaired(written, _ZIP, repair)


def _cities(written: pl.Series) -> pl.Series:
    def repair(dirty: pl.Series) -> pl.Series:
        return _where(_is_ascii(dirty), dirty.str.replace_all("[^A-Za-z]+", ""))

    return _sound(_repaired(written, "^[A-Za-z]+$", repair).str.to_lowercase())


def _names(written: pl.Series) -> pl.Series:
    """Names in ASCII in columns, the others by the one implementation of the Unicode rule, in one sweep."""

    def repair(dirty: pl.Series) -> pl.Series:
        plain = dirty.str.replace_all("[^A-Za-z0-9]+", "")
        others = (~_is_ascii(dirty)).arg_true()
        if not len(others):
            return plain
        swept = names.normalise_names(dirty.gather(others).to_list())
        return plain.scatter(others, pl.Series(swept, dtype=pl.String))

    # What was swept is in lower case, and stays what it is.
    found = _repaired(written, "^[A-Za-z0-9]+$", repair)
    ascii_only = _is_ascii(found)
    lower = found.str.to_lowercase()
    return _sound(
        lower if ascii_only.all() else pl.select(pl.when(ascii_only).then(lower).otherwise(found)).to_series()
    )


def _initials(written: pl.Series) -> pl.Series:
    return _names(written).str.slice(0, 1)


def _is_ascii(texts: pl.Series) -> pl.Series:
    return texts.str.len_bytes() == texts.str.len_chars()


def _sound(letters: pl.Series) -> pl.Series:
    """Neither nothing nor junk nor a hash, each of which has its own answer."""
    # "n/a" without its slash.
    return _where(~letters.is_in([*_JUNK, "na", ""]) & (letters.str.len_chars() != 64), letters)


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
