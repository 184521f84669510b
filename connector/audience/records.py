"""Bytes to records: one columnar parse for a sound block, line by line for one that is not.

The columnar parser is fast and unforgiving: it fails on the first bad line without a useful number, reads half a
surrogate pair as NUL, and descends without a limit. So it is only given what cheap checks found safe. Whatever it
cannot take goes through the slow path, which rejects the bad lines by number and hands the good ones back to it.
"""

import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from functools import cached_property
from typing import Any

import orjson
import polars as pl

from connector.audience import layouts
from connector.audience.reasons import RowReason
from schemas.events import Layout

MAX_DEPTH = 16
"""Objects and lists within each other, the record itself counted."""

RECORD, LINE = "record", "line"
"""Columns of every frame here: number of the record and of its line within the file, both from 1."""

_BOM = b"\xef\xbb\xbf"
_BLANK = b" \t\r"
_ALL_BUT_OPENERS = bytes(set(range(256)) - set(b"{[\n"))
_SURROGATE = re.compile(rb"\\u[dD][89a-fA-F]")
# Strings are skipped whole, ended or not: each byte is looked at once, whatever a line of a million quotes contains.
_BRACKET_OR_STRING = re.compile(rb'[{\[]|[}\]]|"(?:[^"\\]++|\\.)*+"?', re.DOTALL)


@dataclass(frozen=True)
class Line:
    """A record by number, as it was read."""

    record: int
    line: int
    value: Mapping[str, Any] = field(repr=False)


@dataclass(frozen=True)
class RowReject:
    """A record that does not leave."""

    record: int
    line: int
    reason: RowReason


@dataclass(frozen=True)
class Records:
    """What a block holds: `count` records, in the frame, among the `odd` or among the rejects.

    The frame has `RECORD`, `LINE` and one text column per field and member of the layout, `field.member`. `odd` are
    objects whose shape the columns cannot take. `block` holds the lines of the frame in its order, nothing else.
    """

    count: int
    frame: pl.DataFrame = field(repr=False)
    block: bytes = field(repr=False)
    odd: tuple[Line, ...] = field(default=(), repr=False)
    rejects: tuple[RowReject, ...] = ()

    @cached_property
    def _lines(self) -> list[bytes]:
        return self.block.split(b"\n")

    def line(self, row: int) -> Line:
        """The record of the frame's row *row*, parsed on its own with its types."""
        record, line = self.frame.select(RECORD, LINE).row(row)
        return Line(record, line, orjson.loads(self._lines[row]))


def read_records(block: bytes, layout: Layout, *, first_record: int, first_line: int) -> Records:
    """Reads the lines of *block*; blank ones count as lines only. Never raises on what the bytes are."""
    if first_line == 1:
        block = block.removeprefix(_BOM)
    lines = block.count(b"\n") + (not block.endswith(b"\n") and bool(block))
    if _is_shallow(block) and _SURROGATE.search(block) is None:
        frame = _parsed(block, layout, lines)
        if frame is not None:
            numbers = (
                pl.int_range(first_record, first_record + lines, dtype=pl.Int64, eager=True).alias(RECORD),
                pl.int_range(first_line, first_line + lines, dtype=pl.Int64, eager=True).alias(LINE),
            )
            return Records(count=lines, frame=frame.with_columns(numbers), block=block)
    return _read_line_by_line(block, layout, first_record, first_line)


def _is_shallow(block: bytes) -> bool:
    """Whether no line can be too deep, by the number of its opening brackets: an upper bound that costs little."""
    return max(map(len, block.translate(None, _ALL_BUT_OPENERS).split(b"\n"))) <= MAX_DEPTH


def _parsed(block: bytes, layout: Layout, expected: int) -> pl.DataFrame | None:
    """The block as flat text columns; None when the parser fails or sees other lines than we count (blank ones)."""
    try:
        frame = pl.read_ndjson(block, schema=_schema(layout)) if block else pl.DataFrame(schema=_schema(layout))
    except pl.exceptions.PolarsError:
        # The parser's message quotes the record: it goes nowhere, the slow path finds the line and says less.
        return None
    return frame.select(_flat(layout)) if frame.height == expected else None


def _read_line_by_line(block: bytes, layout: Layout, first_record: int, first_line: int) -> Records:
    kept: list[tuple[Line, bytes]] = []
    odd: list[Line] = []
    rejects: list[RowReject] = []
    record = first_record - 1
    for line, raw in _numbered(block, first_line):
        record += 1
        value = _read(raw)
        if isinstance(value, RowReason):
            rejects.append(RowReject(record, line, value))
        elif _fits(value, layout):
            kept.append((Line(record, line, value), raw))
        else:
            odd.append(Line(record, line, value))
    sound = b"\n".join(raw for _, raw in kept)
    frame = _parsed(sound, layout, len(kept))
    if frame is None:
        # Two JSON parsers disagree about a line. Nobody is lost by that: the plain rules take them all.
        odd, kept, sound = sorted([*odd, *(entry for entry, _ in kept)], key=lambda entry: entry.record), [], b""
        frame = pl.DataFrame(schema=_schema(layout)).select(_flat(layout))
    return Records(
        count=record - first_record + 1,
        frame=frame.with_columns(
            pl.Series(RECORD, [entry.record for entry, _ in kept], dtype=pl.Int64),
            pl.Series(LINE, [entry.line for entry, _ in kept], dtype=pl.Int64),
        ),
        block=sound,
        odd=tuple(odd),
        rejects=tuple(rejects),
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


def _fits(value: Mapping[str, Any], layout: Layout) -> bool:
    """Whether the columnar parser finds an object wherever its schema has one."""
    wrapper = layouts.wrapper(layout)
    fields = value if wrapper is None else value.get(wrapper)
    if fields is None:
        return True
    return isinstance(fields, dict) and all(
        fields.get(name) is None or isinstance(fields[name], dict) for name in layouts.OBJECTS
    )


def _schema(layout: Layout) -> dict[str, pl.DataType]:
    """All text: what is not is written out as text by the parser, and `columns.py` knows what that looks like."""
    text = pl.String()
    fields: dict[str, pl.DataType] = {
        name: pl.Struct(dict.fromkeys(members, text)) for name, members in layouts.OBJECTS.items()
    }
    fields |= dict.fromkeys(layouts.SCALARS, text)
    wrapper = layouts.wrapper(layout)
    return fields if wrapper is None else {wrapper: pl.Struct(fields)}


def _flat(layout: Layout) -> list[pl.Expr]:
    wrapper = layouts.wrapper(layout)

    def column(name: str) -> pl.Expr:
        return pl.col(name) if wrapper is None else pl.col(wrapper).struct.field(name)

    members = [
        column(name).struct.field(member).alias(f"{name}.{member}")
        for name, members in layouts.OBJECTS.items()
        for member in members
    ]
    return [*members, *(column(name).alias(name) for name in layouts.SCALARS)]
