"""One record to rows, said plainly. This is the definition; `columns.py` is the same for thousands at once.

It is used for the records the columns cannot decide, and property tests prove the columns equal to it.
"""

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from connector.audience import layouts
from connector.audience.keys import IDENTIFIERS, UNHASHED, Key, Mode, identifies
from connector.audience.layouts import SOURCES, Source
from connector.audience.normalise import digest, normalise
from connector.audience.reasons import CellReason
from connector.audience.rules.dates import normalise_date, normalise_year
from connector.audience.rules.text import WHITESPACE
from schemas.events import Layout

Record = Mapping[str, Any]
Row = dict[Key, str]


@dataclass
class Person:
    """What one record comes to. `rows` is empty when nothing in it identifies anybody."""

    rows: list[Row] = field(default_factory=list)
    cell_rejects: list[tuple[Key, CellReason]] = field(default_factory=list)


def person(record: Record, layout: Layout, *, this_year: int) -> Person:
    """The rows of a record: its k-th identifiers in row k, and all its attributes in each."""
    wrapper = layouts.wrapper(layout)
    fields = record if wrapper is None else record.get(wrapper)
    result = Person()
    if not isinstance(fields, Mapping):
        return result
    identifiers = _identifiers(fields, result)
    attributes = {**_names(fields, result), **_birth(fields, result, this_year), **_labels(fields, result)}
    hashed = {key: digest(plain) for key, plain in attributes.items() if plain}
    for turn in range(max(1, *(len(values) for values in identifiers.values()))):
        own = {key: values[turn] for key, values in identifiers.items() if turn < len(values)}
        row = own | hashed
        if identifies(row):
            result.rows.append(row)
    return result


def _identifiers(fields: Record, result: Person) -> dict[Key, list[str]]:
    """The distinct usable identifiers of each kind, in order of precedence."""
    found: dict[Key, list[str]] = {key: [] for key in IDENTIFIERS}
    for source in SOURCES:
        key = _key_of(source, fields.get(source.field))
        if key is None:
            continue
        mode = Mode.RAW if key in UNHASHED else Mode.SHA256
        value = _usable(key, _member(fields.get(source.field), "value"), result, mode=mode)
        if value and value not in found[key]:
            found[key].append(value)
    return found


def _key_of(source: Source, value: Any) -> Key | None:
    """The key a source holds, by its type; None when it is nothing of ours."""
    if value is None:
        return None
    if source.keys is None or not isinstance(value, Mapping):
        return source.default
    kind = value.get("type")
    if kind is None:
        kind = layouts.NO_TYPE
    return source.keys.get(kind.strip(WHITESPACE).lower()) if isinstance(kind, str) else None


def _names(fields: Record, result: Person) -> Row:
    names = fields.get(layouts.NAME)
    first = _usable(Key.FN, _member(names, layouts.GIVEN_NAME), result)
    last = _usable(Key.LN, _member(names, layouts.FAMILY_NAME), result)
    return {Key.LN: last, Key.FN: first, Key.FI: first[:1]}


def _birth(fields: Record, result: Person, this_year: int) -> Row:
    """Year, month and day; from a record without a readable date the year alone."""
    written = fields.get(layouts.BIRTH_DATE)
    parts = normalise_date(written, this_year=this_year) if isinstance(written, str) else _wrong_unless_none(written)
    if isinstance(parts, tuple):
        return dict(zip((Key.DOBY, Key.DOBM, Key.DOBD), parts, strict=True))
    if parts is not None:
        result.cell_rejects.append((Key.DOBY, parts))
    text = _year_text(fields.get(layouts.BIRTH_YEAR))
    year = text if isinstance(text, CellReason) else normalise_year(text, this_year=this_year)
    if isinstance(year, CellReason):
        result.cell_rejects.append((Key.DOBY, year))
        return {}
    return {Key.DOBY: year}


def _year_text(value: Any) -> str | CellReason:
    """A year of birth is a number, or text; tables make floating-point numbers of it."""
    if value is None:
        return ""
    if isinstance(value, bool) or not isinstance(value, int | float | str):
        return CellReason.WRONG_TYPE
    return str(int(value)) if isinstance(value, float) and value.is_integer() else str(value)


def _labels(fields: Record, result: Person) -> Row:
    gender = _member(fields.get(layouts.GENDER_OBJECT), layouts.GENDER)
    return {
        Key.GEN: _usable(Key.GEN, gender, result),
        Key.COUNTRY: _usable(Key.COUNTRY, fields.get(layouts.COUNTRY), result),
    }


def _usable(key: Key, value: Any, result: Person, *, mode: Mode = Mode.RAW) -> str:
    """The normalised value, or "" and a note why not."""
    if value is None:
        return ""
    normalised = normalise(key, value, mode=mode) if isinstance(value, str) else CellReason.WRONG_TYPE
    if isinstance(normalised, CellReason):
        result.cell_rejects.append((key, normalised))
        return ""
    return normalised


def _member(value: Any, name: str) -> Any:
    """A member of an object; what is no object is handed on as it is, to be told as of the wrong type."""
    if isinstance(value, Mapping):
        return value.get(name)
    return None if value is None else _NotAnObject


class _NotAnObject:
    """Stands where an object was due: no text, so every rule refuses it."""


def _wrong_unless_none(value: Any) -> CellReason | None:
    return None if value is None else CellReason.WRONG_TYPE
