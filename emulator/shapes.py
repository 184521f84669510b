"""Checking what an operator sends to the control side: a misspelt switch must be refused, not ignored."""

from collections.abc import Mapping

NUMBER = (int, float)


class Malformed(ValueError):
    """Raised when a control request has an unknown name or a value of the wrong type; the text says which."""


def checked(value: object, allowed: Mapping[str, tuple[type, ...]], where: str) -> dict[str, object]:
    """Return *value* as a dictionary whose names and types are known.

    Args:
        value: Parsed JSON.
        allowed: Name to the JSON types it may have. A JSON null always means: as if the name were absent.
        where: What is being read, for the error text.

    Raises:
        Malformed: *value* is no object, has an unknown name, or a value of another type.
    """
    if not isinstance(value, dict):
        raise Malformed(f"{where}: expected a JSON object")
    unknown = sorted(set(value) - set(allowed))
    if unknown:
        raise Malformed(f"{where}: unknown name {unknown[0]!r}; known are {', '.join(sorted(allowed))}")
    given = {name: item for name, item in value.items() if item is not None}
    for name, item in given.items():
        types = allowed[name]
        if not isinstance(item, types) or (isinstance(item, bool) and bool not in types):
            raise Malformed(f"{where}.{name}: expected {' or '.join(kind.__name__ for kind in types)}")
    return given


def not_negative(given: Mapping[str, object], where: str) -> None:
    """Refuse negative numbers.

    Raises:
        Malformed: A number in *given* is below zero.
    """
    for name, item in given.items():
        if isinstance(item, NUMBER) and item < 0:
            raise Malformed(f"{where}.{name}: must not be negative")
