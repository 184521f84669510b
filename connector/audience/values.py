"""What stands at a place of a record, and which of it may be read as text."""

from collections.abc import Mapping
from collections.abc import Set as AbstractSet
from typing import Any, Final

import orjson

from connector.audience.keys import Key
from connector.audience.layouts import TAKES_FRACTIONS, TAKES_NUMBERS, Path


class _NotAnObject:
    """Nothing can lie within what is no object."""


NotAnObject: Final = _NotAnObject()
"""Stands for the value of a place within something that is no object."""


MAX_EXACT = 2**53
"""From here on a floating-point number does not know its last digits: an id that became one is another person's."""


def value_at(record: Mapping[str, Any], path: Path) -> Any:
    """The value at *path*; None when there is none, `NotAnObject` when something on the way is no object."""
    value: Any = record
    for step in path:
        if value is None:
            return None
        if not isinstance(value, Mapping):
            return NotAnObject
        value = value.get(step)
    return value


def text_of(value: object, targets: AbstractSet[str]) -> str | None:
    """The text of a value that is a number where all *targets* take numbers; None when it is of the wrong type.

    Data processing options are a list, which is written as one. Whole numbers are written without exponent; tables make
    `1999.0` of a year, which is 1999.
    """
    if isinstance(value, list) and targets == {Key.DATA_PROCESSING_OPTIONS}:
        return orjson.dumps(value).decode()
    if isinstance(value, bool) or not isinstance(value, int | float) or not targets or targets - TAKES_NUMBERS:
        return None
    if isinstance(value, int):
        return str(value)
    if not targets - TAKES_FRACTIONS:
        return repr(value)
    return str(int(value)) if value.is_integer() and abs(value) < MAX_EXACT else None
