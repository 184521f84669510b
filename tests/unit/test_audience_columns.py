"""The columnar pipeline equals the plain rules, record by record, whatever the records hold."""

from collections import Counter
from hashlib import sha256
from typing import Any
from uuid import UUID

import orjson
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from connector.audience.keys import Key
from connector.audience.layouts import OBJECTS, SCALARS
from connector.audience.prepare import Prepared, prepare
from connector.audience.reference import person
from schemas.events import Layout

THIS_YEAR = 2026
DATASET, LEGACY = Layout.NARRATIVE_DATASET, Layout.NARRATIVE_LEGACY

hashes = st.binary(max_size=3).map(lambda raw: sha256(raw).hexdigest())
devices = st.uuids().map(str) | st.uuids().map(lambda uuid: uuid.hex) | st.just(str(UUID(int=0)))
digits = st.sampled_from(["1" * 64, "1" * 32, "12345678-1234123412341234-12345678"])
spaces = st.sampled_from(["", " ", "\t", "\u00a0", "\ufeff", "\x00", "\n"])
wrong = st.one_of(
    st.none(),
    st.booleans(),
    st.integers(min_value=-(2**63), max_value=2**64 - 1),
    st.floats(allow_nan=False, allow_infinity=False),
    st.lists(st.text(max_size=3), max_size=2),
    st.dictionaries(st.text(max_size=3), st.text(max_size=3), max_size=2),
    st.sampled_from(["true", "false", "null", "5", "-1.5", "1e3", "[]", '{"a": 1}']),
)
words = st.one_of(
    st.sampled_from(["m", "Female", "other", "DE", "uk", "USA", "Côte d'Ivoire", "Atlantis"]),
    st.sampled_from(["Ann", "O'Brien", "NA", "N/A", "(null)", "null", "a\nb", "..."]),
    st.sampled_from(["Ümit", "Σ", "ΑΣ", "İpek", "Jose\u0301", "ǅ", "정", "\u200b"]),
    st.sampled_from("fFé").map(lambda letter: letter * 64),
)
dates = st.one_of(
    st.dates().map(str),
    st.datetimes().map(lambda moment: moment.isoformat()),
    st.sampled_from(
        ["1990-02-30", "0000-01-01", "1990-05-17T10:00:00+02:00", "17.05.1990", "1990-05-17 or so", "20-05-17"]
    ),
)
years = st.integers(1890, 2030) | st.integers(1890, 2030).map(str) | st.integers(1890, 2030).map(float)
texts = st.one_of(st.text(max_size=8), words, hashes, hashes.map(str.upper), devices, digits, dates)
values = st.one_of(st.builds(lambda a, b, c: a + b + c, spaces, texts, spaces), wrong)
kinds = st.sampled_from(["sha256_email", "SHA256_EMAIL ", "adid", "idfa", "md5_email", "", " "]) | wrong
members = {"type": kinds, "value": st.one_of(hashes, devices, values)}
fields = {
    name: st.one_of(
        st.fixed_dictionaries({}, optional={member: members.get(member, values) for member in inner}), wrong
    )
    for name, inner in OBJECTS.items()
} | {name: st.one_of(dates, years, words, values) for name in SCALARS}
records = st.fixed_dictionaries({}, optional={**fields, "unknown": wrong})
documents = {
    DATASET: st.lists(records, max_size=6),
    LEGACY: st.lists(
        st.one_of(records.map(lambda record: {"data": record}), st.fixed_dictionaries({"data": wrong})), max_size=6
    ),
}


def block_of(documents: list[dict[str, Any]]) -> bytes:
    return b"".join(orjson.dumps(document) + b"\n" for document in documents)


def run(block: bytes, layout: Layout = DATASET) -> Prepared:
    return prepare(block, layout=layout, first_record=1, first_line=1, this_year=THIS_YEAR)


def rows_of(prepared: Prepared) -> list[tuple[int, dict[str, str]]]:
    batch = prepared.batch
    body = orjson.loads(batch.payload())
    assert list(batch.schema) == body["schema"]
    return [
        (batch.record_of(number), {key: cell for key, cell in zip(body["schema"], row, strict=True) if cell})
        for number, row in enumerate(body["data"])
    ]


class TestEqualToTheReference:
    @pytest.mark.parametrize("layout", list(Layout))
    @settings(max_examples=200, deadline=None)
    @given(data=st.data())
    def test_rows_rejects_and_counts(self, layout: Layout, data: st.DataObject) -> None:
        """Random records, wrongly typed ones among them, give the rows, rejects and cell rejects of the plain rules."""
        given_records = data.draw(documents[layout])
        people = [
            person(orjson.loads(orjson.dumps(document)), layout, this_year=THIS_YEAR) for document in given_records
        ]
        prepared = run(block_of(given_records), layout)
        expected_rows = [
            (number, {key.value: cell for key, cell in row.items() if cell})
            for number, found in enumerate(people, start=1)
            for row in found.rows
        ]
        assert expected_rows == rows_of(prepared)
        assert [n for n, found in enumerate(people, start=1) if not found.rows] == [
            reject.record for reject in prepared.rejects.samples
        ]
        expected_cells = Counter((k.value, reason.value) for found in people for k, reason in found.cell_rejects)
        assert dict(expected_cells) == prepared.cell_rejects
        assert len(given_records) == prepared.records == prepared.rejects.total + prepared.batch.records

    @settings(max_examples=100, deadline=None)
    @given(st.lists(st.text(max_size=12), min_size=1, max_size=30))
    def test_unicode_names(self, written: list[str]) -> None:
        """Any name in Unicode comes out of the columns as out of the plain rule."""
        given_records = [
            {"person_name": {"given_name": name, "family_name": name + "x"}, "birth_year": 1990} for name in written
        ]
        expected = [
            {key.value: cell for key, cell in row.items()}
            for record in given_records
            for row in person(record, DATASET, this_year=THIS_YEAR).rows
        ]
        assert expected == [row for _, row in rows_of(run(block_of(given_records)))]


class TestWhatOnlyLooksRight:
    @pytest.mark.parametrize(
        ("source", "key", "number"),
        [("sha256_hashed_email", "EMAIL", "1" * 64), ("apple_idfa", "MADID", "1" * 32)],
    )
    def test_number_of_the_right_length(self, source: str, key: str, number: str) -> None:
        """A number with as many digits as an identifier is of the wrong type; the same digits as text are taken."""
        as_number, as_text = (
            b'{"%s":{"value":%s}}' % (source.encode(), value) for value in (number.encode(), b'"%s"' % number.encode())
        )
        prepared = run(as_number + b"\n" + as_text)
        assert {(key, "wrong_type"): 1} == prepared.cell_rejects
        assert [2] == [record for record, _ in rows_of(prepared)]

    def test_year_beside_a_date_is_not_asked_for(self) -> None:
        """An unreadable year is only told where there is no readable date."""
        email = {"sha256_hashed_email": {"value": "a" * 64}}
        dated = email | {"birthdate": "1990-05-17", "birth_year": "long ago"}
        undated = email | {"birthdate": "in May", "birth_year": "long ago"}
        assert {} == run(block_of([dated])).cell_rejects
        assert {("DOBY", "unreadable_date"): 2} == run(block_of([undated])).cell_rejects

    def test_year_of_a_record_without_a_date(self) -> None:
        """From a record without a readable date the year alone leaves."""
        record = {"sha256_hashed_email": {"value": "a" * 64}, "birthdate": "in May", "birth_year": 1990.0}
        assert [(1, {"EMAIL": "a" * 64, "DOBY": sha256(b"1990").hexdigest()})] == rows_of(run(block_of([record])))


class TestSeveralIdentifiers:
    def test_row_k_carries_the_kth_of_each_kind(self) -> None:
        """Two e-mails and three devices make three rows, in the layout's order, with the attributes on each."""
        emails = [sha256(bytes([number])).hexdigest() for number in range(2)]
        phones = [str(UUID(int=number + 0xA0)) for number in range(3)]
        record = {
            "unique_id": {"type": "idfa", "value": phones[0]},
            "hashed_email": {"type": "sha256_email", "value": emails[0]},
            "sha256_hashed_email": {"value": emails[1]},
            "android_advertising_id": {"value": phones[1]},
            "apple_idfa": {"value": phones[2]},
            "hl7_gender": {"gender": "female"},
        }
        gender = sha256(b"f").hexdigest()
        prepared = run(block_of([record, record]))
        rows = [
            {"EMAIL": emails[0], "GEN": gender, "MADID": phones[0]},
            {"EMAIL": emails[1], "GEN": gender, "MADID": phones[1]},
            {"GEN": gender, "MADID": phones[2]},
        ]
        assert [(1, row) for row in rows] + [(2, row) for row in rows] == rows_of(prepared)
        assert (6, 2) == (prepared.batch.rows, prepared.batch.records)

    def test_the_same_identifier_twice_is_one(self) -> None:
        """The same identifier in two sources makes one row."""
        email = sha256(b"a").hexdigest()
        record = {
            "sha256_hashed_email": {"value": email},
            "hashed_email": {"type": "sha256_email", "value": email.upper()},
        }
        assert [(1, {"EMAIL": email})] == rows_of(run(block_of([record])))

    def test_falls_through_to_the_next_source(self) -> None:
        """An unusable first source is counted, and the next source of that key is sent."""
        email = sha256(b"a").hexdigest()
        record = {
            "hashed_email": {"type": "sha256_email", "value": "ann@example.com"},
            "sha256_hashed_email": {"value": email},
        }
        prepared = run(block_of([record]))
        assert [(1, {"EMAIL": email})] == rows_of(prepared)
        assert {("EMAIL", "not_a_hash"): 1} == prepared.cell_rejects


class TestPrivacy:
    def test_nothing_shows_a_value(self) -> None:
        """Neither the batch nor what was prepared shows a cell in its text form."""
        record = {"sha256_hashed_email": {"value": "f" * 64}, "person_name": {"family_name": "Smith"}}
        prepared = run(block_of([record, {"person_name": {"family_name": "Smith"}}]))
        shown = f"{prepared!r} {prepared.batch!r} {prepared.batch!s}"
        assert "f" * 64 not in shown
        assert "mith" not in shown
        assert "rows=1" in shown


class TestSchema:
    def test_only_keys_with_a_value(self) -> None:
        """A batch names only the keys it has a value for, in Meta's order."""
        record = {"apple_idfa": {"value": str(UUID(int=0xAB))}, "iso_3166_1_country": "de"}
        assert (Key.COUNTRY, Key.MADID) == run(block_of([record])).batch.schema
