"""Batches: what is sent, how it is cut, and the way back from Meta's samples."""

from itertools import pairwise
from uuid import UUID

import orjson
import pytest
from hypothesis import given
from hypothesis import strategies as st

from connector.audience.payload import Batch
from connector.audience.prepare import prepare
from schemas.events import Layout


def device(number: int) -> str:
    return str(UUID(int=number + (0xA << 124)))


def batch_of(devices_per_record: list[int]) -> Batch:
    """A record per entry with that many devices (0 to 3), and a country where the record is odd."""
    fields = ("mobile_id_unique_identifier", "android_advertising_id", "apple_idfa")
    documents = []
    for record, devices in enumerate(devices_per_record):
        document: dict[str, object] = {
            field: {"value": device(3 * record + number)} for number, field in enumerate(fields[:devices])
        }
        if record % 2:
            document["iso_3166_1_country"] = "de"
        documents.append(orjson.dumps(document))
    return prepare(b"\n".join(documents), layout=Layout.NARRATIVE_DATASET, first_record=101, first_line=201).batch


def cells(batch: Batch) -> list[tuple[int, int, str]]:
    column = batch.schema.index("MADID")
    data = orjson.loads(batch.payload())["data"]
    return [(batch.record_of(row), batch.line_of(row), data[row][column]) for row in range(batch.rows)]


class TestPayload:
    def test_is_compact_json(self) -> None:
        """The body is the compact JSON of schema and data, missing cells empty text."""
        body = batch_of([1, 1]).payload()
        assert body == orjson.dumps(orjson.loads(body))
        assert ["", device(0)] == orjson.loads(body)["data"][0]

    def test_row_json_is_the_row_as_sent(self) -> None:
        """The text of a row is exactly the text in the body, so that Meta's samples can be found."""
        batch = batch_of([1, 2, 3])
        assert (
            batch.payload()
            == b'{"schema":["COUNTRY","MADID"],"data":[%s]}'
            % ",".join(batch.row_json(row) for row in range(batch.rows)).encode()
        )

    def test_numbers_of_the_file(self) -> None:
        """Every row knows the record and the line of the file it came from."""
        assert [(101, 201, device(0)), (102, 202, device(3)), (102, 202, device(4))] == cells(batch_of([1, 2]))


class TestCutting:
    @given(st.lists(st.integers(0, 3), max_size=12), st.integers(1, 6))
    def test_split(self, devices: list[int], max_rows: int) -> None:
        """Pieces hold all rows in order, none too many, and a record is only cut when it alone is too large."""
        batch = batch_of(devices)
        pieces = batch.split(max_rows)
        assert (cells(batch) if batch.rows else []) == [cell for piece in pieces for cell in cells(piece)]
        assert all(1 <= piece.rows <= max_rows for piece in pieces)
        for before, after in pairwise(pieces):
            record = before.record_of(before.rows - 1)
            if record == after.record_of(0):
                assert {record} == {before.record_of(row) for row in range(before.rows)}

    @given(st.lists(st.integers(1, 3), min_size=1, max_size=9).filter(lambda devices: sum(devices) > 1))
    def test_halves(self, devices: list[int]) -> None:
        """Halving loses nothing, always ends, and keeps a record together while there is another."""
        batch = batch_of(devices)
        first, second = batch.halves()
        assert cells(batch) == cells(first) + cells(second)
        assert min(first.rows, second.rows) >= 1
        if batch.records > 1 and devices[0] <= (batch.rows + 1) // 2:
            assert first.record_of(first.rows - 1) != second.record_of(0)

    @pytest.mark.parametrize("devices", [[], [1]])
    def test_one_row_has_no_halves(self, devices: list[int]) -> None:
        """Bisecting ends at one row, with an error instead of an endless search."""
        with pytest.raises(ValueError, match="no halves"):
            batch_of(devices).halves()

    def test_pieces_have_their_own_schema(self) -> None:
        """A piece names only the keys it has a value for, whatever the whole had."""
        first, second = batch_of([1, 1]).split(1)
        assert (("MADID",), ("COUNTRY", "MADID")) == (first.schema, second.schema)

    def test_no_room(self) -> None:
        """A batch of no rows cannot be asked for."""
        with pytest.raises(ValueError, match="cannot be sent"):
            batch_of([1]).split(0)


class TestSamples:
    def test_samples_lead_back_to_their_rows(self) -> None:
        """A row as Meta repeats it is found, however the JSON is spaced or escaped."""
        batch = batch_of([1, 2, 1])
        spaced = orjson.dumps(orjson.loads(batch.row_json(2)), option=orjson.OPT_INDENT_2).decode()
        assert {0, 2} == batch.rows_matching([batch.row_json(0), spaced])
        assert {1} == batch.rows_matching([batch.row_json(1).replace("-", "\\u002d")])

    @pytest.mark.parametrize("sample", ["", "{", "[]", "{}", "5", '["x"]', "[1,2]", '[["a"],"b"]', "\ud800"])
    def test_what_is_no_row_matches_none(self, sample: str) -> None:
        """A sample that is no row of ours is nobody's."""
        assert set() == batch_of([1, 2]).rows_matching([sample])
