"""One record to rows, said plainly. This is the definition; `columns.py` is the same for thousands at once.

It is used for the records the columns cannot decide, and property tests prove the columns equal to it.
"""

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from connector.audience.keys import DOB, IDENTIFIERS, UNHASHED, Key, Mode, identifies
from connector.audience.layouts import NO_TYPE, Reading, Source, TypedAs
from connector.audience.normalise import digest, normalise
from connector.audience.reasons import CellReason, RowReason
from connector.audience.residence import country_of_digest
from connector.audience.rules.dates import normalise_date
from connector.audience.rules.digests import is_digest
from connector.audience.rules.processing import agreed
from connector.audience.rules.text import WHITESPACE, is_junk
from connector.audience.values import NotAnObject, text_of, value_at

Record = Mapping[str, Any]
Row = dict[Key, str]


@dataclass
class Person:
    """What one record comes to.

    `cell_rejects` names the source by its number in the reading; `filled` are the sources that were asked and held
    something. `reason` tells why there are no rows.
    """

    rows: list[Row] = field(default_factory=list)
    cell_rejects: list[tuple[int, CellReason]] = field(default_factory=list)
    filled: list[int] = field(default_factory=list)
    reason: RowReason | None = None


def person(record: Record, reading: Reading, *, this_year: int, value_based: bool = False) -> Person:
    """The rows of a record: its k-th identifiers in row k, and all its attributes in each."""
    result = Person()
    places = _Places(record, result, _country(record, reading, this_year), this_year)
    identifiers = _identifiers(places, reading)
    attributes = _attributes(places, reading)
    for turn in range(max(1, *(len(values) for values in identifiers.values()))):
        own = {key: values[turn] for key, values in identifiers.items() if turn < len(values)}
        row = own | attributes
        if identifies(row):
            result.rows.append(row)
    if not result.rows:
        result.reason = RowReason.NO_IDENTIFIER
    elif value_based and Key.LOOKALIKE_VALUE not in attributes:
        result.rows.clear()
        result.reason = RowReason.NO_VALUE
    return result


def judged(source: Source, text: str, *, country: str | None, this_year: int) -> tuple[str, ...] | CellReason:
    """The normalised values a text gives, one for each key the source fills, all empty where it holds nothing."""
    if source.key == DOB:
        return _judged_date(text, source.customs, this_year)
    plain = normalise(Key(source.key), text, mode=source.mode, country=country, this_year=this_year)
    if isinstance(plain, CellReason):
        return plain
    return (plain, plain[:1]) if source.with_initial else (plain,)


def as_sent(source: Source, plain: str) -> str:
    """A normalised value as it leaves."""
    return plain if source.mode is Mode.SHA256 or source.key in UNHASHED else digest(plain)


def _judged_date(text: str, customs: str | None, this_year: int) -> tuple[str, ...] | CellReason:
    if is_junk(text):
        return CellReason.JUNK
    if is_digest(text):
        return CellReason.ALREADY_HASHED
    return normalise_date(text, this_year=this_year, country=customs) or ("", "", "")


@dataclass
class _Places:
    """The places of one record. What is found wrong with them is noted in `result`."""

    record: Record
    result: Person
    country: str | None
    this_year: int

    def usable(self, number: int, source: Source) -> tuple[str, ...]:
        """The normalised values of a source, or nothing and a note why not."""
        if source.when is not None and not _is_meant(self.record, source.when):
            return ()
        value = value_at(self.record, source.path)
        if value is None:
            return ()
        values = self._judged(source, value)
        if isinstance(values, CellReason):
            self.result.filled.append(number)
            self.result.cell_rejects.append((number, values))
            return ()
        if not any(values):
            return ()
        self.result.filled.append(number)
        return values

    def _judged(self, source: Source, value: object) -> tuple[str, ...] | CellReason:
        text = value if isinstance(value, str) else text_of(value, {source.key})
        if text is None:
            return CellReason.WRONG_TYPE
        return judged(source, text, country=self.country, this_year=self.this_year)


def _country(record: Record, reading: Reading, this_year: int) -> str | None:
    """Where the person lives, for the rules that depend on it: in the record, or else the default of the mapping."""
    places = _Places(record, Person(), None, this_year)
    for number, source in enumerate(reading.sources):
        values = places.usable(number, source) if source.key is Key.COUNTRY else ()
        if values:
            found = values[0] if source.mode is Mode.RAW else country_of_digest(values[0])
            return found or reading.default_country
    return reading.default_country


def _identifiers(places: _Places, reading: Reading) -> dict[Key, list[str]]:
    """The distinct usable identifiers of each kind, in order of precedence."""
    found: dict[Key, list[str]] = {key: [] for key in IDENTIFIERS}
    for number, source in enumerate(reading.sources):
        values = places.usable(number, source) if source.key in IDENTIFIERS else ()
        if values:
            value = as_sent(source, values[0])
            if value not in found[Key(source.key)]:
                found[Key(source.key)].append(value)
    return found


def _attributes(places: _Places, reading: Reading) -> Row:
    """The first usable value of each key. A source is only asked while something it could fill is empty."""
    found: Row = {}
    for number, source in enumerate(reading.sources):
        if source.key in IDENTIFIERS or all(key in found for key in source.fills):
            continue
        for key, plain in zip(source.fills, places.usable(number, source), strict=False):
            if plain:
                found.setdefault(key, as_sent(source, plain))
    return found | _agreed(found)


def _agreed(found: Row) -> Row:
    """Country and state of the processing options, which Meta takes together only."""
    keys = (Key.DATA_PROCESSING_OPTIONS_COUNTRY, Key.DATA_PROCESSING_OPTIONS_STATE)
    values = agreed(*(found.get(key, "") for key in keys))
    return dict(zip(keys, values, strict=True)) if any(values) else {}


def _is_meant(record: Record, when: TypedAs) -> bool:
    kind = value_at(record, when.path)
    if kind is NotAnObject:
        return when.untyped
    if kind is None:
        return NO_TYPE in when.words
    return isinstance(kind, str) and kind.strip(WHITESPACE).lower() in when.words
