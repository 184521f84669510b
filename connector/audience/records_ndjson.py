"""NDJSON to records: one columnar parse for a sound block, line by line for one that is not.

The columnar parser is fast and unforgiving: it fails on the first bad line without a useful number, reads half a
surrogate pair as NUL, and descends without a limit. So it is only given what cheap checks found safe. Whatever it
cannot take goes through the slow path, which rejects the bad lines by number and hands the good ones back to it.
"""

import re
from collections.abc import Iterator, Mapping
from typing import Any

import orjson
import polars as pl

from connector.audience.layouts import Path, Reading, column_of
from connector.audience.reasons import RowReason
from connector.audience.records import LINE, MAX_DEPTH, RECORD, Line, Records, RowReject
from connector.audience.values import NotAnObject, value_at

_BOM = b"\xef\xbb\xbf"
_BLANK = b" \t\r"
_BEGINNINGS = (b"", b"{", b"\n", b" ", b"\t", b"\r")
"""With what the columnar parser may begin: it unpacks whatever begins like gzip, zlib or zstd, without any limit."""

_ALL_BUT_SKELETON = bytes(set(range(256)) - set(b'{["\\:\n'))
_FLESH = b'"\\:'
_ALL_TEXT = re.compile(rb'(?:\{(?:"":"")*)?\Z')
"""The skeleton of an object of which every member is a text without a quote, a colon or an escape."""

_SURROGATE = re.compile(rb"\\u[dD][89a-fA-F]")
# Strings are skipped whole, ended or not: each byte is looked at once, whatever a line of a million quotes contains.
_BRACKET_OR_STRING = re.compile(rb'[{\[]|[}\]]|"(?:[^"\\]++|\\.)*+"?', re.DOTALL)


def read_ndjson(block: bytes, reading: Reading, *, first_record: int, first_line: int) -> Records:
    """Reads the lines of *block*; blank ones count as lines only. Never raises on what the bytes are."""
    if first_line == 1:
        block = block.removeprefix(_BOM)
    skeleton = block.translate(None, _ALL_BUT_SKELETON)
    lines = skeleton.count(b"\n") + (not block.endswith(b"\n") and bool(block))
    has_escape = b"\\" in skeleton
    all_text = not has_escape and all(map(_ALL_TEXT.match, _shapes(skeleton)))
    openers = skeleton if all_text else skeleton.translate(None, _FLESH)
    is_safe = all_text or (_is_shallow(openers) and not (has_escape and _SURROGATE.search(block)))
    if reading.is_tree and is_safe and block[:1] in _BEGINNINGS:
        frame = _parsed(block, reading, lines)
        if frame is not None:
            numbers = (
                pl.int_range(first_record, first_record + lines, dtype=pl.Int64, eager=True).alias(RECORD),
                pl.int_range(first_line, first_line + lines, dtype=pl.Int64, eager=True).alias(LINE),
            )
            frame = frame.with_columns(numbers)
            if all_text:
                return Records(count=lines, frame=frame)
            is_flat = not has_escape and openers.replace(b"\n", b"") == b"{" * lines
            return Records(count=lines, frame=frame, block=block, is_flat=is_flat)
    return _read_line_by_line(block, reading, first_record, first_line)


def _shapes(skeleton: bytes) -> set[bytes]:
    """The different lines of a skeleton; most blocks have one."""
    first, _, _ = skeleton.partition(b"\n")
    if skeleton == (first + b"\n") * skeleton.count(b"\n"):
        return {first}
    return set(skeleton.split(b"\n"))


def _is_shallow(openers: bytes) -> bool:
    """Whether no line can be too deep, by the number of its opening brackets: an upper bound that costs little."""
    return max(map(len, openers.split(b"\n"))) <= MAX_DEPTH


def _parsed(block: bytes, reading: Reading, expected: int) -> pl.DataFrame | None:
    """The block as flat text columns; None when the parser fails or sees other lines than we count (blank ones)."""
    schema = _schema(reading.paths)
    try:
        frame = pl.read_ndjson(block, schema=schema) if block else pl.DataFrame(schema=schema)
    except pl.exceptions.PolarsError:
        # The parser's message quotes the record: it goes nowhere, the slow path finds the line and says less.
        return None
    if frame.height != expected:
        return None
    # The parser gives six pieces of a column, and each step after it would work on six.
    return pl.DataFrame([_column(frame, path) for path in reading.paths]).rechunk()


def _read_line_by_line(block: bytes, reading: Reading, first_record: int, first_line: int) -> Records:
    kept: list[tuple[Line, bytes]] = []
    odd: list[Line] = []
    rejects: list[RowReject] = []
    record = first_record - 1
    for line, raw in _numbered(block, first_line):
        record += 1
        value = _read(raw)
        if isinstance(value, RowReason):
            rejects.append(RowReject(record, line, value))
        elif _fits(value, reading):
            kept.append((Line(record, line, value), raw))
        else:
            odd.append(Line(record, line, value))
    sound = b"\n".join(raw for _, raw in kept)
    frame = _parsed(sound, reading, len(kept)) if reading.is_tree else None
    if frame is None:
        # Two JSON parsers disagree about a line. Nobody is lost by that: the plain rules take them all.
        odd, kept, sound = sorted([*odd, *(entry for entry, _ in kept)], key=lambda entry: entry.record), [], b""
        frame = pl.DataFrame(schema=dict.fromkeys(reading.columns, pl.String()))
    return Records(
        count=record - first_record + 1,
        frame=frame.with_columns(
            pl.Series(RECORD, [entry.record for entry, _ in kept], dtype=pl.Int64),
            pl.Series(LINE, [entry.line for entry, _ in kept], dtype=pl.Int64),
        ),
        rejects=tuple(rejects),
        odd=tuple(odd),
        block=sound,
    )


def _numbered(block: bytes, first_line: int) -> Iterator[tuple[int, bytes]]:
    for line, raw in enumerate(block.split(b"\n"), start=first_line):
        if raw.strip(_BLANK):
            yield line, raw


def _read(raw: bytes) -> Mapping[str, Any] | RowReason:
    if _is_too_deep(raw):
        return RowReason.TOO_DEEP
    try:
        value = orjson.loads(raw)
    except orjson.JSONDecodeError:
        return RowReason.MALFORMED_JSON
    return value if isinstance(value, dict) else RowReason.NOT_AN_OBJECT


def _is_too_deep(raw: bytes) -> bool:
    """Follows the brackets outside strings; says yes before a parser has to descend."""
    if raw.count(b"{") + raw.count(b"[") <= MAX_DEPTH:
        return False
    depth = 0
    for token in _BRACKET_OR_STRING.finditer(raw):
        first = raw[token.start()]
        if first in b"{[":
            depth += 1
            if depth > MAX_DEPTH:
                return True
        elif first in b"}]":
            depth -= 1
    return False


def _fits(value: Mapping[str, Any], reading: Reading) -> bool:
    """Whether the columnar parser finds an object wherever its schema has one."""
    return all(value_at(value, path) is not NotAnObject for path in reading.paths)


def _schema(paths: tuple[Path, ...]) -> dict[str, pl.DataType]:
    """All text: what is not is written out as text by the parser, and `columns.py` knows what that looks like."""
    inner: dict[str, list[Path]] = {}
    for path in paths:
        inner.setdefault(path[0], []).append(path[1:])
    return {name: pl.Struct(_schema(tuple(rest))) if rest != [()] else pl.String() for name, rest in inner.items()}


def _column(frame: pl.DataFrame, path: Path) -> pl.Series:
    series = frame[path[0]]
    for step in path[1:]:
        series = series.struct.field(step)
    return series.alias(column_of(path))
