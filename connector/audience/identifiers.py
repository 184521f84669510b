"""The identifiers of thousands of records at once: who has which, in the order of the layout's precedence.

They are kept long, one line per identifier found, because most sources are empty in most records: every step then
works on what is there.
"""

from dataclasses import dataclass, field

import polars as pl

from connector.audience.distinct import ODD, REASON, VALUE, WRITTEN, by_rule, distinct, joined
from connector.audience.keys import Key, Mode
from connector.audience.layouts import NO_TYPE, SOURCES, Source
from connector.audience.normalise import normalise
from connector.audience.rules.devices import NOBODY
from connector.audience.rules.digests import JUNK_DIGESTS
from connector.audience.rules.text import WHITESPACE

ROW, TURN = "row", "turn"
"""Columns: the row of the frame an identifier was found in, and the how-manieth of its kind in that row, from 0."""

_DIGEST = r"^[0-9a-f]{64}$"
_LETTER = "[a-f]"
_UUID = r"^[0-9a-f]{8}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{12}$"
_LOOSE_UUID = r"^([0-9a-f]{8})-?([0-9a-f]{4})-?([0-9a-f]{4})-?([0-9a-f]{4})-?([0-9a-f]{12})$"


@dataclass(frozen=True)
class Identifiers:
    """The identifiers of one kind.

    `usable` has `ROW`, `VALUE` and `TURN`, distinct within a row. `refused` has `ROW` and `REASON`; `odd` are the rows
    with a value that may have been no text.
    """

    usable: pl.DataFrame = field(repr=False)
    refused: pl.DataFrame = field(repr=False)
    odd: pl.Series = field(repr=False)


def find_identifiers(frame: pl.DataFrame) -> dict[Key, Identifiers]:
    """The identifiers of a `Records.frame`, by kind."""
    return {key: _judged(key, _written(frame, key)) for key in (Key.EMAIL, Key.MADID)}


def first_of_each(identifiers: Identifiers, height: int) -> pl.Series:
    """A column of *height* rows with the first identifier of each, null where there is none."""
    first = identifiers.usable.filter(pl.col(TURN) == 0)
    # Numbers are scattered and then looked up: scattering text copies it.
    places = pl.repeat(None, height, dtype=pl.UInt32, eager=True).scatter(
        first[ROW], pl.int_range(first.height, dtype=pl.UInt32, eager=True)
    )
    return first[VALUE].gather(places)


def further(identifiers: dict[Key, Identifiers]) -> pl.DataFrame:
    """`ROW` and a column per kind: the second identifiers, then the third..., of the rows that have as many."""
    tables = [
        found.usable.filter(pl.col(TURN) > 0).select(ROW, TURN, pl.col(VALUE).alias(key))
        for key, found in identifiers.items()
    ]
    merged = tables[0]
    for table in tables[1:]:
        merged = merged.join(table, on=[ROW, TURN], how="full", coalesce=True)
    return merged.sort(ROW, TURN).drop(TURN)


def _written(frame: pl.DataFrame, key: Key) -> pl.DataFrame:
    """`ROW` and `WRITTEN` of everything that should be a *key*, trimmed and lower-cased, in order of precedence."""
    parts = [_written_in(frame, source, types) for source in SOURCES if (types := source.types_of(key)) != ()]
    text = pl.col(WRITTEN).str.strip_chars(WHITESPACE).str.to_lowercase()
    if key is Key.MADID:
        # Hyphens put back, as the rule does. Not to digits alone: those may be a number, which the rule is to see.
        hyphenated = text.str.replace(_LOOSE_UUID, "$1-$2-$3-$4-$5")
        text = pl.when(text.str.contains(_LETTER)).then(hyphenated).otherwise(text)
    return pl.concat(parts).with_columns(text.alias(WRITTEN)).filter(pl.col(WRITTEN) != "")


def _written_in(frame: pl.DataFrame, source: Source, types: tuple[str, ...] | None) -> pl.DataFrame:
    """`ROW` and `WRITTEN` of the source's values, of the given types where it has types."""
    values = frame[f"{source.field}.value"]
    there = values.is_not_null()
    if types is not None and there.any():
        there &= _is_of(types, frame[f"{source.field}.type"])
    rows = there.arg_true()
    return pl.DataFrame({ROW: rows, WRITTEN: values.gather(rows)})


def _is_of(types: tuple[str, ...], written: pl.Series) -> pl.Series:
    """Which rows have one of *types*, however it is written. No type at all is `NO_TYPE`."""
    meant = [kind for kind in distinct(written) if kind.strip(WHITESPACE).lower() in types]
    matches = written.is_in(meant).fill_null(value=False)
    return matches | written.is_null() if NO_TYPE in types else matches


def _judged(key: Key, written: pl.DataFrame) -> Identifiers:
    """The clear values as they are; what is left over, by the rule."""
    judged = written.with_columns(pl.when(_is_clear(key)).then(WRITTEN).alias(VALUE))
    if judged[VALUE].null_count() == 0:
        return Identifiers(_in_turn(judged), _NONE_REFUSED, judged[ROW].clear())
    left = judged.filter(pl.col(VALUE).is_null())
    mode = Mode.SHA256 if key is Key.EMAIL else Mode.RAW
    found = joined(left[WRITTEN], by_rule(distinct(left[WRITTEN]), lambda text: normalise(key, text, mode=mode)))
    found = found.with_columns(left[ROW])
    values = judged[VALUE].scatter(judged[VALUE].is_null().arg_true(), found[VALUE])
    return Identifiers(
        usable=_in_turn(judged.with_columns(values)),
        refused=found.filter(pl.col(REASON).is_not_null()).select(ROW, REASON),
        odd=found.filter(pl.col(ODD))[ROW],
    )


def _is_clear(key: Key) -> pl.Expr:
    """Whether a value is usable as it stands, and cannot have been a number: the parser writes none with 64 digits."""
    text = pl.col(WRITTEN)
    if key is Key.EMAIL:
        return text.str.contains(_DIGEST) & ~text.is_in(list(JUNK_DIGESTS))
    return text.str.contains(_UUID) & (text != NOBODY)


def _in_turn(judged: pl.DataFrame) -> pl.DataFrame:
    """The usable ones, numbered within their row; the same identifier twice in a row is one."""
    usable = judged.filter(pl.col(VALUE).is_not_null()).select(ROW, VALUE)
    if usable[ROW].n_unique() == usable.height:
        return usable.with_columns(pl.lit(0, dtype=pl.UInt32).alias(TURN))
    usable = usable.unique([ROW, VALUE], keep="first", maintain_order=True)
    return usable.with_columns(pl.int_range(pl.len(), dtype=pl.UInt32).over(ROW).alias(TURN))


_NONE_REFUSED = pl.DataFrame(schema={ROW: pl.UInt32, REASON: pl.String})
