"""Pure: count the rows of a JSON upload without parsing them, when it is certain what parsing would find.

With `--keep counts` the emulator needs to know how many rows a body has and that none is invalid. If every key of the
schema is hashed and the body is written compactly, four cheap passes over the bytes prove it: without its hexadecimal
digits the data is the same row repeated; there are 64 digits for each cell that is not empty, on average; no run of
digits is longer than 64, so each has exactly 64; and no row is empty. Anything else (a malformed hash, a plain key, an
empty row, blanks between cells) fails one of them and is parsed.
"""

import re
from dataclasses import dataclass

import orjson

from emulator.match_keys import HASHED

_OPENING = re.compile(rb'"data"\s*:\s*(\[\[")')
_PLACEHOLDER = "\x00skimmed"
_DIGITS = b"0123456789abcdefABCDEF"
_ONE_DIGIT = bytes(0 if code in _DIGITS else code or 1 for code in range(256))
"""Every hexadecimal digit to NUL, which nothing else maps to: runs of digits become runs of one byte."""
_TOO_LONG = bytes(65)
_EMPTY = b'""'


@dataclass(frozen=True)
class HashedRows:
    """Stands in `payload.data` for rows that were counted: all well-formed, none empty."""

    count: int


def skim(body: bytes) -> dict[str, object] | None:
    """The parameters of a JSON body with `payload.data` counted instead of parsed.

    Returns:
        The parameters, `payload.data` being `HashedRows`; `None` when the body has to be parsed.
    """
    opening = _OPENING.search(body)
    end = body.rfind(b"]]") + 2
    if opening is None or end <= opening.start(1):
        return None
    try:
        params = orjson.loads(body[: opening.start(1)] + orjson.dumps(_PLACEHOLDER) + body[end:])
    except orjson.JSONDecodeError:
        return None
    payload = params.get("payload") if isinstance(params, dict) else None
    # The placeholder must have come to stand where the rows of the request belong, not in some other "data".
    if not isinstance(payload, dict) or payload.get("data") != _PLACEHOLDER:
        return None
    rows = body[opening.start(1) + 1 : end - 1]
    count = _count(rows, payload.get("schema"))
    if count is None:
        return None
    payload["data"] = HashedRows(count)
    return dict(params)


def _count(rows: bytes, schema: object) -> int | None:
    """Number of *rows*, or `None` when it is not certain that all of them are well-formed."""
    if not isinstance(schema, list) or not schema or not all(isinstance(key, str) for key in schema):
        return None
    if not HASHED.issuperset(schema):
        return None
    empty_row = b"[" + b",".join([_EMPTY] * len(schema)) + b"]"
    skeleton = rows.translate(None, _DIGITS) + b","
    count = len(skeleton) // (len(empty_row) + 1)
    if skeleton != (empty_row + b",") * count or empty_row in rows:
        return None
    filled = count * len(schema) - rows.count(_EMPTY)
    digits = len(rows) + 1 - len(skeleton)
    exact = digits == 64 * filled and _TOO_LONG not in rows.translate(_ONE_DIGIT)
    return count if exact else None
