"""Thousands of records to cells at once: `reference.py` in columns.

The clear cases are decided in columns: a hash that is one, a UUID that is one, a date that is one. What is left over,
and whatever has few distinct values (names, countries...), is normalised once per distinct value by the rule itself. A
row that cannot be decided from its text alone is called odd and left to the plain rules: the parser writes numbers,
lists and booleans out as text, so `"5"` and `5` look alike here.
"""

from collections import Counter
from collections.abc import Callable, Iterable
from dataclasses import dataclass, field
from datetime import date
from functools import partial

import polars as pl
import polars_hash as plh

from connector.audience import layouts
from connector.audience.keys import IDENTIFIERS, Key
from connector.audience.layouts import NO_TYPE, SOURCES, Source
from connector.audience.normalise import Mode, digest, normalise
from connector.audience.reasons import CellReason
from connector.audience.records import LINE, RECORD
from connector.audience.rules import dates, names
from connector.audience.rules.devices import NOBODY
from connector.audience.rules.digests import JUNK_DIGESTS
from connector.audience.rules.text import JUNK_WORDS, WHITESPACE

CellRejects = Counter[tuple[Key, CellReason]]
Rule = Callable[[str], str | CellReason]

NOT_TEXT = r"^(?:-?[0-9]+(?:\.[0-9]+)?(?:[eE][+-]?[0-9]+)?$|true$|false$|[\[{])"
"""What a value that was no text looks like once the parser has written it out. Text may look like it too."""

_DIGEST = r"^[0-9a-f]{64}$"
_LETTER = "[a-f]"
_UUID = r"^[0-9a-f]{8}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{12}$"
_LOOSE_UUID = r"^([0-9a-f]{8})-?([0-9a-f]{4})-?([0-9a-f]{4})-?([0-9a-f]{4})-?([0-9a-f]{12})$"
_JUNK_NAMES = [*JUNK_WORDS, "na"]
_DATE_PARTS = ((Key.DOBY, 0, 4), (Key.DOBM, 5, 2), (Key.DOBD, 8, 2))

# Columns of a decided frame: a key (or `key:source` for identifiers), why a cell is empty, whether the row is odd.
_REASON, _ODD = "reason:", "odd:"


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
    decided = pl.concat([frame.select(RECORD, LINE), *_all_columns(frame, this_year)], how="horizontal")
    odd = decided.select(_any(pl.col(name) for name in decided.columns if name.startswith(_ODD))).to_series()
    if odd.any():
        decided = decided.filter(~odd)
    identified = decided.select(_is_identified(decided.columns)).to_series()
    return Cells(
        frame=_one_row_per_identifier(decided.filter(identified)),
        no_identifier=decided.filter(~identified).select(RECORD, LINE),
        cell_rejects=_count_rejects(decided),
        odd=odd.arg_true().to_list(),
    )


def _all_columns(frame: pl.DataFrame, this_year: int) -> Iterable[pl.DataFrame]:
    first_name, last_name = (frame[f"{layouts.NAME}.{name}"] for name in (layouts.GIVEN_NAME, layouts.FAMILY_NAME))
    yield from _identifiers(frame)
    yield _looked_up(first_name, _first_names)
    yield _looked_up(last_name, _last_names)
    for key, column in ((Key.GEN, f"{layouts.GENDER_OBJECT}.{layouts.GENDER}"), (Key.COUNTRY, layouts.COUNTRY)):
        yield _looked_up(frame[column], partial(_hashed_words, key))
    yield from _birth(frame, this_year)


# Identifiers: a column per source and key, `EMAIL:hashed_email`; those of one key stand in order of precedence.


def _identifiers(frame: pl.DataFrame) -> Iterable[pl.DataFrame]:
    present = [source for source in SOURCES if frame[f"{source.field}.value"].null_count() < frame.height]
    pairs = [(source, key) for source in present for key in IDENTIFIERS if source.types_of(key) != ()]
    texts = frame.select(_identifier_text(source, key) for source, key in pairs)
    clear = texts.select(pl.when(_is_clear(key, pl.col(name))).then(name) for name, key in _named(pairs))
    for name, key in _named(pairs):
        yield _completed(name, texts[name], clear[name], _identifier_leftovers[key])


def _named(pairs: list[tuple[Source, Key]]) -> list[tuple[str, Key]]:
    return [(f"{key}:{source.field}", key) for source, key in pairs]


def _identifier_text(source: Source, key: Key) -> pl.Expr:
    """Trimmed and lower-cased, where the source holds *key*; null where it holds nothing or another key."""
    text = pl.col(f"{source.field}.value").str.strip_chars(WHITESPACE).str.to_lowercase()
    types = source.types_of(key)
    if types is not None:
        kind = pl.col(f"{source.field}.type").str.strip_chars(WHITESPACE).str.to_lowercase().fill_null(NO_TYPE)
        text = pl.when(kind.is_in(types)).then(text)
    return text.alias(f"{key}:{source.field}")


def _is_clear(key: Key, text: pl.Expr) -> pl.Expr:
    """Whether a value is usable as it stands, and cannot have been a number (64 digits without a letter)."""
    if key is Key.EMAIL:
        return text.str.contains(_DIGEST) & text.str.contains(_LETTER) & ~text.is_in(list(JUNK_DIGESTS))
    return text.str.contains(_UUID) & (text != NOBODY)


def _email_leftovers(texts: pl.Series) -> pl.DataFrame:
    return _by_rule(texts, lambda text: normalise(Key.EMAIL, text, mode=Mode.SHA256))


def _device_leftovers(texts: pl.Series) -> pl.DataFrame:
    """Ids without hyphens may be a whole file: they are repaired in a column. The others are refused one by one."""
    hyphenated = pl.col("written").str.replace(_LOOSE_UUID, "$1-$2-$3-$4-$5")
    repairable = pl.col("written").str.contains(_LOOSE_UUID) & pl.col("written").str.contains(_LETTER)
    table = texts.to_frame().with_columns(pl.when(repairable).then(hyphenated).alias("value"))
    repaired = table.filter(pl.col("value").is_not_null())
    refused = table.filter(pl.col("value").is_null())["written"]
    return pl.concat([repaired, _by_rule(refused, lambda text: normalise(Key.MADID, text))], how="diagonal")


_identifier_leftovers = {Key.EMAIL: _email_leftovers, Key.MADID: _device_leftovers}


def _completed(
    name: str, texts: pl.Series, clear: pl.Series, leftovers: Callable[[pl.Series], pl.DataFrame]
) -> pl.DataFrame:
    """The clear values and, where a text is left over, what *leftovers* makes of it."""
    left = texts.filter(clear.is_null() & (texts != ""))
    if left.is_empty():
        return clear.alias(name).to_frame()
    found = _joined(texts, leftovers(_distinct(left)))
    return found.select(
        pl.coalesce(clear, "value").alias(name),
        pl.col("reason").alias(_REASON + name),
        pl.col("odd").alias(_ODD + name),
    )


def _one_row_per_identifier(decided: pl.DataFrame) -> pl.DataFrame:
    """Row k of a record carries its k-th identifier of each kind; every row carries all attributes."""
    attributes = [key for key in Key if key not in IDENTIFIERS]
    candidates = {key: [name for name in decided.columns if name.startswith(f"{key}:")] for key in IDENTIFIERS}
    firsts = [pl.coalesce(*columns, pl.lit(None, dtype=pl.String)).alias(key) for key, columns in candidates.items()]
    first = decided.select(RECORD, LINE, *attributes, *firsts).select(RECORD, LINE, *Key)
    several = decided.filter(_any(map(_has_several, candidates.values())))
    if several.is_empty():
        return first
    distinct = [_distinct_identifiers(columns).alias(key) for key, columns in candidates.items()]
    lists = several.select(RECORD, LINE, *attributes, *distinct)
    return pl.concat([first, *_further_rows(lists)]).sort(RECORD, maintain_order=True)


def _further_rows(lists: pl.DataFrame) -> Iterable[pl.DataFrame]:
    """The second identifiers, the third..., for the records that have as many."""
    most = lists.select(pl.max_horizontal(pl.col(key).list.len().max() for key in IDENTIFIERS)).item()
    for turn in range(1, most):
        own = [pl.col(key).list.get(turn, null_on_oob=True) for key in IDENTIFIERS]
        rows = lists.with_columns(own).select(RECORD, LINE, *Key)
        yield rows.filter(_any(pl.col(key).is_not_null() for key in IDENTIFIERS))


def _distinct_identifiers(columns: list[str]) -> pl.Expr:
    if not columns:
        return pl.lit([], dtype=pl.List(pl.String))
    return pl.concat_list(columns).list.drop_nulls().list.unique(maintain_order=True)


def _has_several(columns: list[str]) -> pl.Expr:
    """Cheap and a little too wide: two sources may hold the same identifier, which is found out later."""
    return pl.sum_horizontal(pl.lit(0), *(pl.col(name).is_not_null().cast(pl.Int32) for name in columns)) > 1


# Names and words: a table of the distinct values, looked up for every row.


def _first_names(written: pl.Series) -> pl.DataFrame:
    initial = pl.col("plain").str.slice(0, 1)
    return (
        _names(written)
        .with_columns(initial.alias("initial"))
        .select("written", _hashed("plain").alias(Key.FN), _hashed("initial").alias(Key.FI), _is_odd_name(Key.FN))
    )


def _last_names(written: pl.Series) -> pl.DataFrame:
    return _names(written).select("written", _hashed("plain").alias(Key.LN), _is_odd_name(Key.LN))


def _is_odd_name(key: Key) -> pl.Expr:
    """Numbers, junk and hashes in the place of a name: rare, and each has its own reason."""
    plain = pl.col("plain")
    odd = pl.col("written").str.contains(NOT_TEXT) | plain.is_in(_JUNK_NAMES) | (plain.str.len_chars() == 64)
    return odd.alias(_ODD + key)


def _names(written: pl.Series) -> pl.DataFrame:
    """`written` and `plain`: ASCII names in columns, the others by the one implementation of the Unicode rule."""
    ascii_only = pl.col("written").str.len_bytes() == pl.col("written").str.len_chars()
    stripped = pl.col("written").str.to_lowercase().str.replace_all("[^a-z0-9]+", "")
    table = written.to_frame().with_columns(pl.when(ascii_only).then(stripped).alias("plain"))
    others = table.filter(pl.col("plain").is_null())
    if others.is_empty():
        return table
    plain = pl.Series("plain", names.normalise_names(others["written"].to_list()), dtype=pl.String)
    return pl.concat([table.filter(pl.col("plain").is_not_null()), others.with_columns(plain)])


def _hashed_words(key: Key, written: pl.Series) -> pl.DataFrame:
    """Words of a small vocabulary, each by its rule."""
    table = _by_rule(written, lambda text: normalise(key, text))
    return table.select(
        "written",
        pl.Series(key, [digest(plain) if plain else None for plain in table["value"]], dtype=pl.String),
        pl.col("reason").alias(_REASON + key),
        pl.col("odd").alias(_ODD + key),
    )


# Birth: the date's parts, or the year alone.


def _birth(frame: pl.DataFrame, this_year: int) -> Iterable[pl.DataFrame]:
    written, year, name = frame[layouts.BIRTH_DATE], frame[layouts.BIRTH_YEAR], f"{Key.DOBY}:date"
    texts = written.alias("text").to_frame().select(pl.col("text").str.strip_chars(WHITESPACE))
    clear = texts.select(pl.when(_is_clear_date(this_year)).then("text")).to_series()
    dated = _completed(name, texts["text"], clear, partial(_date_leftovers, this_year))
    years = _looked_up(year, partial(_lone_years, this_year))
    parts = dated.select(pl.col(name).str.slice(start, length).alias(key) for key, start, length in _DATE_PARTS)
    undated = parts[Key.DOBY].is_null()
    parts = parts.with_columns(pl.coalesce(Key.DOBY, years["value"]))
    for key, _, _ in _DATE_PARTS:
        yield _looked_up(parts[key], partial(_hashed_parts, key))
    yield dated.drop(name)
    # The year alone is only asked for where there is no date, so only there it can be wrong.
    yield years.select(
        pl.when(undated).then("reason").alias(f"{_REASON}{Key.DOBY}:year"),
        (pl.col("odd") & pl.col("reason").is_not_null()).alias(f"{_ODD}{Key.DOBY}:year"),
    )


def _is_clear_date(this_year: int) -> pl.Expr:
    day = pl.col("text").str.slice(0, 10).str.to_date("%Y-%m-%d", strict=False)
    first, last = date(dates.FIRST_YEAR, 1, 1), date(this_year, 12, 31)
    return pl.col("text").str.contains(dates.DATE_PATTERN) & day.is_between(first, last)


def _date_leftovers(this_year: int, written: pl.Series) -> pl.DataFrame:
    def rule(text: str) -> str | CellReason:
        parts = dates.normalise_date(text, this_year=this_year)
        return parts if isinstance(parts, CellReason) else "-".join(parts or ())

    return _by_rule(written, rule)


def _lone_years(this_year: int, written: pl.Series) -> pl.DataFrame:
    return _by_rule(written, lambda text: dates.normalise_year(text, this_year=this_year))


def _hashed_parts(key: Key, written: pl.Series) -> pl.DataFrame:
    return written.to_frame().select("written", _hashed("written").alias(key))


# What all columns share.


def _looked_up(written: pl.Series, table: Callable[[pl.Series], pl.DataFrame]) -> pl.DataFrame:
    """For every row what *table* says of its value; *table* is given the distinct ones."""
    return _joined(written, table(_distinct(written))).drop("written")


def _joined(written: pl.Series, table: pl.DataFrame) -> pl.DataFrame:
    return written.alias("written").to_frame().join(table, on="written", how="left", maintain_order="left")


def _distinct(values: pl.Series) -> pl.Series:
    return values.unique().drop_nulls().alias("written")


def _by_rule(written: pl.Series, rule: Rule) -> pl.DataFrame:
    """`value`, or `reason` and whether it may be another one (`odd`), of each of few distinct values."""
    results = [rule(text) for text in written]
    values = [None if isinstance(result, CellReason) else result or None for result in results]
    reasons = [result.value if isinstance(result, CellReason) else None for result in results]
    return written.to_frame().with_columns(
        pl.Series("value", values, dtype=pl.String),
        pl.Series("reason", reasons, dtype=pl.String),
        # Digits that were accepted, and anything refused, may have been no text at all.
        pl.col("written").str.contains(NOT_TEXT).alias("odd"),
    )


def _hashed(column: str) -> pl.Expr:
    """SHA-256 in lower case hexadecimal; null where there is nothing to hash."""
    return pl.when(pl.col(column) != "").then(plh.col(column).chash.sha2_256())


def _any(conditions: Iterable[pl.Expr]) -> pl.Expr:
    return pl.any_horizontal(pl.lit(value=False), *conditions).fill_null(value=False)


def _is_identified(columns: list[str]) -> pl.Expr:
    """`keys.identifies` in columns."""
    identifiers = [name for name in columns if name.partition(":")[0] in IDENTIFIERS]
    filled = {key: pl.col(key).is_not_null() for key in (Key.LN, Key.FN, Key.FI, Key.DOBY)}
    full_name = filled[Key.LN] & (filled[Key.FN] | filled[Key.FI]) & filled[Key.DOBY]
    return _any([full_name, *(pl.col(name).is_not_null() for name in identifiers)])


def _count_rejects(decided: pl.DataFrame) -> CellRejects:
    """How often each reason stands in each key's columns."""
    counts: CellRejects = Counter()
    for name in decided.columns:
        if not name.startswith(_REASON) or decided[name].null_count() == decided.height:
            continue
        key = Key(name.removeprefix(_REASON).partition(":")[0])
        for reason, count in decided[name].drop_nulls().value_counts().iter_rows():
            counts[key, CellReason(reason)] += count
    return counts
