"""The lines of a table by a columnar parser, where passes over all bytes at once prove that it reads them as we do.

It takes the place of the record by record reading of `delimited` for whole blocks: each line a record, none blank, none
too long, all of one width, each quote where one is due.
"""

import re
from collections.abc import Mapping
from functools import lru_cache

import polars as pl

from connector.files.cutting import BOM
from schemas.events import Table

_PACKED = (b"\x1f\x8b", b"\x28\xb5\x2f\xfd", b"\x78\x01", b"\x78\x5e", b"\x78\x9c", b"\x78\xda")
"""How gzip, zstd and zlib begin. The columnar parser unpacks what begins so, without any limit: a bomb in a chunk."""

_ALL_BYTES = bytes(range(256))


def read_sound(block: bytes, table: Table, names: Mapping[int, str], max_line: int) -> pl.DataFrame | None:
    """The columns that *names* gives a name to, by place; None where anything needs a second look."""
    # The parser would take a byte order mark away. Here it is a character: the file's own was in front of the header.
    if not block or b"\0" in block or block.startswith((BOM, *_PACKED)):
        return None
    if b"\r" in block:
        block = block.replace(b"\r\n", b"\n")
        if b"\r" in block:
            return None
    skeleton = block if b'"' not in block else _skeleton(block, table.delimiter)
    if skeleton is None or not _is_short(block, max_line):
        return None
    lines = _lines(skeleton, table)
    if lines is None:
        return None
    frame = _parsed(block, table, names)
    return frame if frame is not None and frame.height == lines else None


def _is_short(block: bytes, max_line: int) -> bool:
    """Whether each line is shorter than the longest: in every such stretch of bytes one ends."""
    at = 0
    while len(block) - at >= max_line:
        at = block.rfind(b"\n", at, at + max_line) + 1
        if not at:
            return False
    return True


def _lines(skeleton: bytes, table: Table) -> int | None:
    """How many lines there are; None where one is blank or has not its number of delimiters."""
    delimiter, line_end = table.delimiter.encode(), b"\n"
    line = delimiter * (table.width - 1) + line_end
    marks = skeleton.translate(None, _ALL_BYTES.translate(None, delimiter + line_end))
    if not marks.endswith(line_end):
        marks += line_end
    lines = len(marks) // len(line)
    if marks != line * lines:
        return None
    # A line with a delimiter is not blank, unless that is white space itself.
    may_be_blank = len(line) == 1 or delimiter.isspace()
    if may_be_blank and any(not line.strip() for line in skeleton.split(b"\n", lines - 1)):
        return None
    return lines


def _skeleton(block: bytes, delimiter: str) -> bytes | None:
    """*block* without its quoted values; None where a record has several lines, or a quote is not where it is due."""
    pieces = block.split(b'"')
    # Every other piece stood within quotes. A doubled quote has nothing around it, so it is not where one is due.
    outside, d, values = b'"'.join(pieces[::2]), delimiter.encode(), len(pieces) // 2
    opened = _found(outside, values - outside.startswith(b'"'), d + b'"', b'\n"')
    closed = _found(outside, values - outside.endswith(b'"'), b'"' + d, b'"\n')
    if not len(pieces) % 2 or not opened or not closed:
        return _skeleton_with_doubled_quotes(block, delimiter)
    return None if b"\n" in b"".join(pieces[1::2]) else outside


def _found(skeleton: bytes, expected: int, common: bytes, rare: bytes) -> bool:
    """Whether *skeleton* has both together as often as expected; mostly the first is enough to know."""
    missing = expected - skeleton.count(common)
    return not missing or missing == skeleton.count(rare)


def _skeleton_with_doubled_quotes(block: bytes, delimiter: str) -> bytes | None:
    whole, quoted = _strict(delimiter)
    if whole.fullmatch(block) is None:
        return None
    skeleton = quoted.sub(b"", block)
    return skeleton if skeleton.count(b"\n") == block.count(b"\n") else None


@lru_cache(maxsize=32)
def _strict(delimiter: str) -> tuple[re.Pattern[bytes], re.Pattern[bytes]]:
    """Records of fields that are quoted or have no quote at all; and a quoted field."""
    d = re.escape(delimiter.encode())
    quoted = rb'"[^"]*+(?:""[^"]*+)*+"'
    field = rb'(?:%b|[^"%b\n]*+)' % (quoted, d)
    return re.compile(rb"(?:%b(?:%b%b)*+(?:\n|\Z))*+" % (field, d, field)), re.compile(quoted)


def _parsed(block: bytes, table: Table, names: Mapping[int, str]) -> pl.DataFrame | None:
    is_quoted = b'"' in block
    try:
        frame = pl.read_csv(
            block,
            has_header=False,
            separator=table.delimiter,
            quote_char='"' if is_quoted else None,
            infer_schema=False,
            columns=sorted(names) or [0],
        )
    except pl.exceptions.PolarsError:
        # Not UTF-8, most likely. The parser's message may quote the line: it goes nowhere.
        return None
    if b'""' in block:
        # Quoted and empty: for the parser that is a text.
        frame = frame.select(pl.when(pl.all() != "").then(pl.all()))
    return frame.select(pl.nth(n).alias(names[place]) for n, place in enumerate(sorted(names))) if names else frame
