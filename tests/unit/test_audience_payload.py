"""Batches: what is sent, how it is cut, and the way back from Meta's samples."""

from itertools import pairwise
from typing import Any
from uuid import UUID

import orjson
import pytest
from hypothesis import given
from hypothesis import strategies as st

from connector.audience.layouts import reading_of
from connector.audience.payload import Batch
from connector.audience.prepare import Prepared, prepare
from connector.audience.records_ndjson import read_ndjson
from schemas.events import Layout
from schemas.match_keys import ColumnMapping, MappedColumn, MatchKey, Mode


def device(number: int) -> str:
    return str(UUID(int=number + (0xA << 124)))


def prepared(devices_per_record: list[int], **limits: Any) -> Prepared:
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
    reading = reading_of(Layout.NARRATIVE_DATASET)
    return prepare(read_ndjson(b"\n".join(documents), reading, first_record=101, first_line=201), reading, **limits)


def batch_of(devices_per_record: list[int]) -> Batch:
    """All of them in one batch."""
    (batch,) = prepared(devices_per_record).batches
    return batch


def mapped(records: list[dict[str, object]], *, app_ids: tuple[str, ...] = (), **keys: MatchKey) -> tuple[Batch, ...]:
    """The batches of records whose columns hold *keys*."""
    columns = {name: MappedColumn(key=key, mode=Mode.RAW) for name, key in keys.items()}
    reading = reading_of(Layout.COLUMNS, ColumnMapping(columns=columns, app_ids=app_ids, page_ids=("7",)))
    block = b"\n".join(map(orjson.dumps, records))
    return prepare(read_ndjson(block, reading, first_record=1, first_line=1), reading).batches


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
        pieces = prepared(devices, max_rows=max_rows).batches
        whole = prepared(devices).batches
        assert [cell for piece in whole for cell in cells(piece)] == [cell for piece in pieces for cell in cells(piece)]
        assert all(1 <= piece.rows <= max_rows for piece in pieces)
        for before, after in pairwise(pieces):
            record = before.record_of(before.rows - 1)
            if record == after.record_of(0):
                assert {record} == {before.record_of(row) for row in range(before.rows)}

    def test_bytes(self) -> None:
        """A batch that would be too large is cut in halves until each fits, or stands alone."""
        pieces = prepared([1] * 9, max_bytes=200).batches
        assert [cell for piece in pieces for cell in cells(piece)] == cells(batch_of([1] * 9))
        assert max(len(piece.payload()) for piece in pieces) < 300
        assert 9 == len(prepared([1] * 9, max_bytes=1).batches)

    @given(st.lists(st.integers(1, 3), min_size=1, max_size=9).filter(lambda devices: sum(devices) > 1))
    def test_halves(self, devices: list[int]) -> None:
        """Halving loses nothing, always ends, and keeps a record together while there is another."""
        batch = batch_of(devices)
        first, second = batch.halves()
        assert cells(batch) == cells(first) + cells(second)
        assert min(first.rows, second.rows) >= 1
        if batch.records > 1 and devices[0] <= (batch.rows + 1) // 2:
            assert first.record_of(first.rows - 1) != second.record_of(0)

    def test_one_row_has_no_halves(self) -> None:
        """Bisecting ends at one row, with an error instead of an endless search."""
        with pytest.raises(ValueError, match="no halves"):
            batch_of([1]).halves()

    def test_pieces_have_their_own_schema(self) -> None:
        """A piece names only the keys it has a value for, whatever the whole had."""
        first, second = batch_of([1, 1]).halves()
        assert (("MADID",), ("COUNTRY", "MADID")) == (first.schema, second.schema)

    def test_no_room(self) -> None:
        """A batch of no rows cannot be asked for."""
        with pytest.raises(ValueError, match="cannot be sent"):
            prepared([1], max_rows=0)


class TestKinds:
    def test_an_advertisers_id_is_never_empty(self) -> None:
        """Rows with an id and rows without go in separate batches: an empty one makes Meta refuse the row."""
        records: list[dict[str, object]] = [{"mail": f"p{number}@example.com"} for number in range(4)]
        records[1]["id"], records[3]["id"] = 'a"\\\u0001b', 7
        with_id, without = mapped(records, mail=MatchKey.EMAIL, id=MatchKey.EXTERN_ID)
        assert (("EMAIL", "EXTERN_ID"), ("EMAIL",)) == (with_id.schema, without.schema)
        assert ['a"\\\u0001b', "7"] == [row[1] for row in orjson.loads(with_id.payload())["data"]]
        assert [2, 4, 1, 3] == [batch.record_of(row) for batch in (with_id, without) for row in range(2)]

    def test_numbers_and_lists(self) -> None:
        """Values and processing options leave as JSON; missing ones as empty text."""
        records: list[dict[str, object]] = [
            {"id": "1", "worth": "012.50", "limits": ["LDU"], "state": "1000"},
            {"id": "2", "worth": 3},
        ]
        keys = {
            "id": MatchKey.UID,
            "worth": MatchKey.LOOKALIKE_VALUE,
            "limits": MatchKey.DATA_PROCESSING_OPTIONS,
            "state": MatchKey.DATA_PROCESSING_OPTIONS_STATE,
        }
        (batch,) = mapped(records, app_ids=("42",), **keys)
        assert [["1", 12.5, ["LDU"], 1, 1000], ["2", 3, "", "", ""]] == orjson.loads(batch.payload())["data"]
        assert {0} == batch.rows_matching(['[ "1", 12.50, ["LDU"], 1, 1000.0 ]'])
        assert b'["1",12.5,["LDU"],1,1000]' == batch.row_json(0).encode()
        first, second = batch.halves()
        assert {"schema": ["UID", "LOOKALIKE_VALUE"], "data": [["2", 3]], "app_ids": ["42"]} == orjson.loads(
            second.payload()
        )
        assert 5 == len(first.schema)

    def test_apps_and_pages_go_with_their_ids_only(self) -> None:
        """`page_ids` leave with page-scoped ids, `app_ids` with app-scoped ones, neither without."""
        (pages,) = mapped([{"id": "1"}], app_ids=("42",), id=MatchKey.PAGEUID)
        (plain,) = mapped([{"id": "1"}], app_ids=("42",), id=MatchKey.EXTERN_ID)
        assert {"schema", "data", "page_ids"} == set(orjson.loads(pages.payload()))
        assert {"schema", "data"} == set(orjson.loads(plain.payload()))


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


class TestGivenAway:
    @given(devices=st.lists(st.integers(1, 3), min_size=1, max_size=20), who=st.integers(0, 19))
    def test_samples_lead_back_to_rows_whose_body_is_gone(self, devices: list[int], who: int) -> None:
        """A mark for each row is kept: sixteen bodies in flight are 120 MB that nobody needs."""
        batch, kept = batch_of(devices), batch_of(devices)
        row = who % batch.rows

        assert kept.payload() == b"".join(batch.give_body())

        assert {row} == batch.rows_matching([kept.row_json(row), '["nobody"]', "[", "7"])
        assert kept.rows_of({101}) == batch.rows_of({101})

    def test_marks_are_right_where_cells_are_free_text(self) -> None:
        """An advertiser's id may hold what looks like the end of a row, and a value may be written in two ways."""
        records: list[dict[str, object]] = [{"i": 'a"],["b', "v": 12.0}, {"i": "c", "v": 3}]
        (batch,) = mapped(records, i=MatchKey.EXTERN_ID, v=MatchKey.LOOKALIKE_VALUE)
        rows = [batch.row_json(row) for row in range(2)]
        batch.give_body()

        assert [{0}, {1}] == [batch.rows_matching([row]) for row in rows]

    def test_it_is_given_once(self) -> None:
        """Who needs it again prepares the chunk again; a half-empty body is never sent."""
        batch = batch_of([1, 1])
        batch.give_body()

        for again in (batch.body, batch.payload, batch.give_body, batch.halves):
            with pytest.raises(RuntimeError):
                again()


class TestFixedSchema:
    def test_every_batch_and_half_names_the_same_keys(self) -> None:
        """Whatever its rows hold: a replacement's schema may not change. What is in none of the keys stays here."""
        schema = ("EMAIL", "MADID")
        batches = prepared([1, 1, 1, 1], max_rows=2, schema=schema).batches

        bodies = [orjson.loads(part.payload()) for batch in batches for part in (batch, *batch.halves())]

        assert {schema} == {tuple(body["schema"]) for body in bodies}
        assert {("", device(3 * number)) for number in range(4)} == {
            tuple(row) for body in bodies for row in body["data"]
        }
