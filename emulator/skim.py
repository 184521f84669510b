"""Pure: count the rows of a JSON upload without parsing them, when it is certain what parsing would find.

With `--keep counts` the emulator needs to know how many rows a body has and that none is invalid. If every key of the
schema is hashed and the body is written compactly, that can be proved on the bytes: with each hexadecimal digit
replaced by one mark and each quoted run of 64 marks by a short token, the data must equal the same row repeated.
Anything else (a malformed hash, a plain key, an empty row, blanks between cells) fails the comparison and is parsed.
"""

import re
from dataclasses import dataclass

import orjson

from emulator.match_keys import HASHED

_OPENING = re.compile(rb'"data"\s*:\s*(\[\[")')
_PLACEHOLDER = "\x00skimmed"
_MARK = b"\x01"
_MARKS = bytes(1 if chr(code) in "0123456789abcdefABCDEF" else 2 if code == 1 else code for code in range(256))
"""Hexadecimal digits to the mark; a mark that was there before to something that will not compare equal."""
_HASH = b'"' + _MARK * 64 + b'"'
_TOKEN = b'"x"'
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
    data = body[opening.start(1) : end]
    try:
        params = orjson.loads(body[: opening.start(1)] + orjson.dumps(_PLACEHOLDER) + body[end:])
    except orjson.JSONDecodeError:
        return None
    payload = params.get("payload") if isinstance(params, dict) else None
    # The placeholder must have come to stand where the rows of the request belong, not in some other "data".
    if not isinstance(payload, dict) or payload.get("data") != _PLACEHOLDER:
        return None
    count = _count(data, payload.get("schema"))
    if count is None:
        return None
    payload["data"] = HashedRows(count)
    return dict(params)


def _count(data: bytes, schema: object) -> int | None:
    """Rows in *data*, or `None` when it is not certain that all of them are well-formed."""
    if not isinstance(schema, list) or not schema or not all(isinstance(key, str) for key in schema):
        return None
    if not HASHED.issuperset(schema):
        return None
    tokens = data[1:-1].translate(_MARKS).replace(_HASH, _TOKEN)
    empty_row = b"[" + b",".join([_EMPTY] * len(schema)) + b"]"
    if empty_row in tokens:
        return None
    rows = tokens.replace(_TOKEN, _EMPTY) + b","
    count = len(rows) // (len(empty_row) + 1)
    return count if rows == (empty_row + b",") * count else None
