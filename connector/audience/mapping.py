"""Mapping files: which column of a customer's file holds which match key, as JSON written by a person.

    {"columns": {"mail": {"key": "EMAIL", "mode": "raw"}}, "default_country": "DE"}

On the wire a mapping is tolerant of what a newer writer added. What a person wrote is not: a misspelt member would
silently send less than they meant.
"""

from typing import Any

import orjson
from pydantic import ValidationError

from connector.audience.keys import DOB, Key
from schemas.match_keys import ColumnMapping, MappedColumn

MAX_BYTES = 1 << 20

_SCOPES: dict[str, str] = {Key.UID: "app_ids", Key.APPUID: "app_ids", Key.PAGEUID: "page_ids"}
"""Where the ids are listed within which a key is valid."""


class MappingError(ValueError):
    """What is wrong with a mapping file, where, and what to do. It quotes names, no value of a record."""


def read_mapping(text: bytes) -> ColumnMapping:
    """The mapping a file holds.

    Raises:
        MappingError: It is not one.
    """
    if len(text) > MAX_BYTES:
        raise MappingError(f"the mapping is longer than {MAX_BYTES} bytes: a mapping names at most a few dozen columns")
    try:
        document = orjson.loads(text.removeprefix(b"\xef\xbb\xbf"))
    except orjson.JSONDecodeError as error:
        raise MappingError(f"the mapping is no JSON: {error}") from None
    _check_members(document)
    try:
        mapping = ColumnMapping.model_validate(document)
    except ValidationError as error:
        raise MappingError("; ".join(dict.fromkeys(map(_told, error.errors())))) from None
    return mapping


def missing_scopes(mapping: ColumnMapping) -> tuple[str, ...]:
    """What to add so that Meta can make something of the ids in the columns, in words; empty when nothing is missing.

    A mapping without it is one: who sends to one app only may have Meta know it from elsewhere.
    """
    return tuple(
        f"columns.{name} holds {column.key}, which Meta reads within apps or pages: add {scope}"
        for name, column in mapping.columns.items()
        if (scope := _SCOPES.get(column.key)) and not getattr(mapping, scope)
    )


def _check_members(document: Any) -> None:
    """Refuses members nobody knows, which pydantic would pass over."""
    if not isinstance(document, dict):
        raise MappingError('the mapping is no JSON object: write {"columns": {...}}')
    _refuse_unknown("the mapping", document, ColumnMapping.model_fields)
    columns = document.get("columns")
    for name, column in columns.items() if isinstance(columns, dict) else ():
        if isinstance(column, dict):
            _refuse_unknown(f"columns.{name}", column, MappedColumn.model_fields)


def _refuse_unknown(where: str, found: dict[str, Any], known: Any) -> None:
    unknown = sorted(set(found) - set(known))
    if unknown:
        raise MappingError(f"{where} has unknown members ({', '.join(unknown)}): it takes {', '.join(known)}")


def _told(error: Any) -> str:
    """One of pydantic's errors in a sentence."""
    where = ".".join(str(step) for step in error["loc"] if not _is_branch(step))
    if where.endswith(".key"):
        return f"{where} is no match key: it is one of {', '.join([*Key, DOB])}"
    if where.endswith(".mode"):
        return f"{where} says whether the column holds plain values or hashes: raw or sha256"
    return f"{where or 'the mapping'}: {error['msg']}"


def _is_branch(step: object) -> bool:
    """Whether it names a branch of a union rather than a place in the file."""
    return isinstance(step, str) and step.startswith(("literal[", "str-enum["))
