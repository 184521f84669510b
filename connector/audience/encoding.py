"""Rows of cells as JSON: a list of lists."""

from typing import Any

import orjson
import polars as pl

from connector.audience.keys import Key

JSON_VALUES = frozenset(
    {
        Key.LOOKALIKE_VALUE,
        Key.DATA_PROCESSING_OPTIONS,
        Key.DATA_PROCESSING_OPTIONS_COUNTRY,
        Key.DATA_PROCESSING_OPTIONS_STATE,
    }
)
"""Keys whose normalised text is the JSON they leave as: a number, a list. The others leave as text."""

Body = tuple[bytes, ...]
"""A JSON text in pieces, one after another: whoever sends it lets go of each as it is written."""

_BETWEEN = '"],["'
"""Between two rows."""

_ROWS = 1_000
"""Rows in a piece. With twelve hashes it has 800 KB: so much memory is used again, while pieces that are ten times as
large come as new pages each time, and lie in memory twice while they are made."""

_TEXT = pl.concat_str(pl.all(), separator='","').str.join(_BETWEEN).cast(pl.Binary)
"""Rows as they are written, but for the quotes around all of them."""

_NEEDS_ESCAPE = r'["\\\x00-\x1f]'


def encoded(head: bytes, cells: pl.DataFrame, tail: bytes) -> Body:
    """The compact JSON of the rows of *cells*, missing cells as "", between *head* and *tail*.

    Where no cell needs an escape, texts are put together as they are, which is three times faster than any JSON writer
    here: hashes, digits and UUIDs never do; an advertiser's own id may. Writing CSV with JSON's separators is as fast
    for one worker, but polars does that on threads which all share: two workers took as long as one.
    """
    if any(key in cells.columns for key in JSON_VALUES) or _needs_escape(cells):
        rows = list(zip(*(_values(column) for column in cells), strict=True))
        return head, orjson.dumps(rows), tail
    texts = cells.with_columns(column.fill_null("") for column in cells if column.null_count())
    pieces: list[bytes] = [head + b'[["']
    for start in range(0, texts.height, _ROWS):
        pieces += [texts[start : start + _ROWS].select(_TEXT).item(), _BETWEEN.encode()]
    return *pieces[:-1], b'"]]' + tail


def _needs_escape(cells: pl.DataFrame) -> bool:
    return Key.EXTERN_ID in cells.columns and bool(cells[Key.EXTERN_ID].str.contains(_NEEDS_ESCAPE).any())


def _values(column: pl.Series) -> list[Any]:
    if column.name not in JSON_VALUES:
        return column.fill_null("").to_list()
    return ["" if text is None else orjson.loads(text) for text in column]
