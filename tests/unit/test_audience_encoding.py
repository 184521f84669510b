"""Rows as JSON, in pieces: whatever is cut where, together they are one text that any JSON parser reads."""

import orjson
import polars as pl
import pytest
from hypothesis import given
from hypothesis import strategies as st

from connector.audience import encoding
from connector.audience.encoding import encoded

KEYS = ("EMAIL", "PHONE", "MADID")
texts = st.one_of(st.none(), st.sampled_from(["a" * 64, "0", "1b-2c"]))


@given(
    width=st.integers(1, 3),
    rows=st.lists(st.tuples(texts, texts, texts), min_size=1, max_size=9),
    in_piece=st.integers(1, 10),
)
def test_pieces_make_one_text(width: int, rows: list[tuple[str | None, ...]], in_piece: int) -> None:
    """No row is lost, doubled or moved where a piece ends, nor where every cell of a row is missing."""
    given_rows = [row[:width] for row in rows]
    cells = pl.DataFrame(given_rows, schema=dict.fromkeys(KEYS[:width], pl.String), orient="row")
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(encoding, "_ROWS", in_piece)
        body = encoded(b'{"data":', cells, b"}")

    expected = [[cell or "" for cell in row] for row in given_rows]
    assert b'{"data":' + orjson.dumps(expected) + b"}" == b"".join(body)


@pytest.mark.parametrize("height", [1, 999, 1_000, 1_001, 2_000, 2_001])
def test_the_real_size_of_a_piece(height: int) -> None:
    """Around the places where the pieces that leave really end."""
    cells = pl.DataFrame({"EMAIL": [f"{row:064}" for row in range(height)]})

    assert orjson.dumps([[text] for text in cells["EMAIL"]]) == b"".join(encoded(b"", cells, b""))
