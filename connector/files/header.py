"""Finds the columns of a CSV or TSV file in its header.

The header's text leaves this module for nobody: in a file that has none, its first line is a person.
"""

from connector.audience.layouts import Reading
from connector.files.cutting import BLANK, BOM
from connector.files.delimited import fields_of
from connector.files.formats import Refusal
from connector.files.lexing import Lexer, Skipped
from connector.files.limits import MAX_COLUMNS, check
from schemas.events import Format, Table

DELIMITERS = (",", ";", "\t", "|")
"""Tried for CSV whose mapping names none; the one that finds the most of the mapped columns is it."""


def table_of(
    head: bytes, format_: Format, reading: Reading, delimiter: str | None = None, *, is_whole: bool = False
) -> Table | Refusal:
    """How to read the lines of a file that begins with *head*.

    Args:
        head: The file's first (decoded) bytes; a header that does not end within them is none.
        format_: CSV or TSV.
        reading: What is read.
        delimiter: The mapping's, if it names one; else a tab in TSV, and in CSV what fits the header.
        is_whole: The file ends with *head*.

    Raises:
        LimitViolated: The header has more columns than a table may have.
    """
    if delimiter is not None:
        candidates: tuple[str, ...] = (delimiter,)
    else:
        candidates = ("\t",) if format_ is Format.TSV else DELIMITERS
    found = [(each, _header(head, each, is_whole=is_whole)) for each in candidates]
    if all(header is None for _, header in found):
        return Refusal("empty_file", "the file has no header and no record", "publish files with at least one record")
    tables = [(each, header) for each, header in found if header]
    chosen = max(tables, key=lambda entry: _hits(entry[1], reading), default=None)
    if chosen is None:
        _check_width(max(head.split(b"\n", 1)[0].count(each.encode()) + 1 for each in candidates))
        return Refusal(
            "unreadable_header",
            "the first line of the file is no header: it is too long, not UTF-8, or its quotes do not close",
            "begin the file with one line of column names in UTF-8",
        )
    return _table(*chosen, reading)


def _header(head: bytes, delimiter: str, *, is_whole: bool) -> list[str] | None:
    """The names in the first record; empty when they cannot be read, None when there is no record at all."""
    head = head.removeprefix(BOM)
    for span in Lexer(delimiter).spans(head, is_end=is_whole):
        if isinstance(span, Skipped) or span.is_too_long or not span.is_sound:
            return []
        if not span.is_blank:
            try:
                text = head[span.start : span.content_end].removesuffix(b"\r").decode()
            except UnicodeDecodeError:
                return []
            return [name.strip() for name in fields_of(text, delimiter)]
    return [] if head.strip(BLANK + b"\n") else None


def _hits(header: list[str], reading: Reading) -> int:
    return len(set(header).intersection(reading.headers))


def _check_width(columns: int) -> None:
    check("columns", MAX_COLUMNS, columns)


def _table(delimiter: str, header: list[str], reading: Reading) -> Table | Refusal:
    _check_width(len(header))
    wanted = ", ".join(reading.headers)
    if not _hits(header, reading):
        return Refusal(
            "no_mapped_column",
            f"the first line of the file names none of the columns that are read: {wanted}",
            "begin the file with a header line, and map columns by the names in it, case included",
        )
    twice = [name for name in reading.headers if header.count(name) > 1]
    if twice:
        return Refusal(
            "ambiguous_columns",
            f"the header has more than one column of the name {', '.join(twice)}",
            "give every column that is read a name of its own",
        )
    places = {name: place for place, name in enumerate(header)}
    return Table(delimiter=delimiter, width=len(header), positions=tuple(places.get(name) for name in reading.headers))
