"""The columnar pipeline equals the plain rules, record by record, whatever the records hold."""

from collections import Counter
from hashlib import sha256
from typing import Any
from uuid import UUID

import orjson
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from connector.audience.keys import DOB, UNHASHED, Key, Mode
from connector.audience.layouts import Reading, reading_of
from connector.audience.prepare import Prepared, prepare
from connector.audience.reasons import CellReason, RowReason
from connector.audience.records_ndjson import read_ndjson
from connector.audience.reference import person
from schemas.events import Layout
from schemas.match_keys import ColumnMapping, MappedColumn

THIS_YEAR = 2026
DATASET = reading_of(Layout.NARRATIVE_DATASET)
LEGACY = reading_of(Layout.NARRATIVE_LEGACY)

hashes = st.binary(max_size=3).map(lambda raw: sha256(raw).hexdigest())
devices = st.uuids().map(str) | st.uuids().map(lambda uuid: uuid.hex) | st.just(str(UUID(int=0)))
digits = st.sampled_from(["1" * 64, "1" * 32, "12345678-1234123412341234-12345678"])
spaces = st.sampled_from(["", " ", "\t", "\u00a0", "\ufeff", "\x00", "\n"])
wrong = st.one_of(
    st.none(),
    st.booleans(),
    st.integers(min_value=-(2**63), max_value=2**64 - 1),
    st.floats(allow_nan=False, allow_infinity=False),
    st.integers(-10, 10_000).map(float),
    st.lists(st.text(max_size=3), max_size=2),
    st.dictionaries(st.text(max_size=3), st.text(max_size=3), max_size=2),
    st.sampled_from(["true", "false", "null", "5", "-1.5", "1e3", "1.50", "[]", '{"a": 1}']),
)
words = st.one_of(
    st.sampled_from(["m", "Female", "other", "DE", "uk", "USA", "US", "Côte d'Ivoire", "Atlantis"]),
    st.sampled_from(["Ann", "O'Brien", "NA", "N/A", "(null)", "null", "a\nb", "..."]),
    st.sampled_from(["Ümit", "Σ", "ΑΣ", "İpek", "Jose\u0301", "ǅ", "정", "\u200b", "\u212aelvin"]),
    st.sampled_from("fFé").map(lambda letter: letter * 64),
)
places = st.sampled_from(
    [
        *("São Paulo", "San Francisco", "New York", "California", "ca", "Bayern", "75", "0", "東京"),
        *("94035-1234", "940351234", "SW1A 1AA", "01234", "\uff11\uff12\uff13", "K1A-0A6"),
    ]
)
phones = st.one_of(
    st.sampled_from(["+16505551212", "(650) 555-1212", "1 650 555 1212", "0044 20 7946 0958", "+44 (0)20 7946 0958"]),
    st.sampled_from(["030 123456", "0171 1234567", "5551212", "+1", "abc", "16505551212.0", "٠١٢٣٤٥٦٧٨٩"]),
    st.text("0123456789 +-().", max_size=16),
    st.from_regex(r"\A(\+1|1|\+49|0|00|\+)?[2-9][0-9]{6,11}\Z"),
)
emails = st.one_of(
    st.from_regex(r"\A ?[a-zA-Z0-9._+-]{1,5}@[a-z0-9.-]{1,9}\Z"),
    st.sampled_from(["ann@example.com", " ANN@Example.COM ", "ann@example.com.", "an n@example.com", "é@example.com"]),
)
dates = st.one_of(
    st.dates().map(str),
    st.datetimes().map(lambda moment: moment.isoformat()),
    st.sampled_from(
        ["1990-02-30", "0000-01-01", "1990-05-17T10:00:00+02:00", "17.05.1990", "1990-05-17 or so", "20-05-17"]
    ),
    st.sampled_from(["05/17/1990", "05/06/1990", "17051990", "19900517", "1990-05-17 9:30"]),
)
years = st.integers(1890, 2030) | st.integers(1890, 2030).map(str) | st.integers(1890, 2030).map(float)
small = st.integers(0, 40) | st.integers(0, 40).map(str) | st.integers(0, 40).map("{:02}".format)
ids = st.sampled_from(
    ["0", "007", "123456789012345678", "18446744073709551615", "18446744073709551616", 'a"b\\c', "é\x01"]
)
values_ = st.sampled_from(["0", "1", "12.50", "012", ".5", "1e3", "1,5", "-1", "9" * 15, "9" * 16, 12.5, 1e-7, 3, 1e21])
options = st.sampled_from(["LDU", '["LDU"]', "[]", '["x"]', ["LDU"], [], "1", "0", 1, 0, "1000", 1000, 1000.0, "77"])
texts = st.one_of(
    st.text(max_size=8), words, hashes, hashes.map(str.upper), devices, digits, dates, places, phones, emails
)
values = st.one_of(st.builds(lambda a, b, c: a + b + c, spaces, texts, spaces), wrong)
kinds = st.sampled_from(["sha256_email", "SHA256_EMAIL ", "adid", "idfa", "md5_email", "", " "]) | wrong

OBJECTS: dict[str, tuple[str, ...]] = {}
for path in DATASET.paths:
    if len(path) > 1:
        OBJECTS[path[0]] = (*OBJECTS.get(path[0], ()), path[1])
members = {"type": kinds, "value": st.one_of(hashes, devices, values)}
fields = {
    name: st.one_of(
        st.fixed_dictionaries({}, optional={member: members.get(member, values) for member in inner}), wrong
    )
    for name, inner in OBJECTS.items()
} | {name: st.one_of(dates, years, words, values) for name in ("birthdate", "birth_year", "iso_3166_1_country")}
records = st.fixed_dictionaries({}, optional={**fields, "unknown": wrong})
documents = {
    Layout.NARRATIVE_DATASET: st.lists(records, max_size=6),
    Layout.NARRATIVE_LEGACY: st.lists(
        st.one_of(records.map(lambda record: {"data": record}), st.fixed_dictionaries({"data": wrong})), max_size=6
    ),
}
OF_KEY: dict[str, st.SearchStrategy[Any]] = {
    Key.EMAIL: emails,
    Key.PHONE: phones,
    Key.GEN: words,
    Key.DOBY: years,
    Key.DOBM: small,
    Key.DOBD: small,
    Key.CT: places,
    Key.ST: places,
    Key.ZIP: places | small | st.from_regex(r"\A[0-9]{5}\Z"),
    Key.MADID: devices,
    Key.EXTERN_ID: ids,
    Key.UID: ids,
    Key.APPUID: ids,
    Key.PAGEUID: ids,
    Key.LOOKALIKE_VALUE: values_,
    Key.DATA_PROCESSING_OPTIONS: options,
    Key.DATA_PROCESSING_OPTIONS_COUNTRY: options,
    Key.DATA_PROCESSING_OPTIONS_STATE: options,
    DOB: dates,
}
TARGETS = [*Key, DOB]


@st.composite
def mapped_columns(draw: st.DrawFn) -> MappedColumn:
    key = draw(st.sampled_from(TARGETS))
    hashable = key != DOB and key not in UNHASHED
    return MappedColumn(key=key, mode=draw(st.sampled_from(list(Mode))) if hashable else Mode.RAW)


mappings = st.builds(
    ColumnMapping,
    columns=st.dictionaries(
        st.sampled_from(["a", "b", "zip", "o.x", "o.y", "o.p.q", "record", "line", "a/b", "^z$", "*", "é", "o"]),
        mapped_columns(),
        min_size=1,
        max_size=8,
    ),
    default_country=st.sampled_from([None, "US", "de", "GB"]),
)


@st.composite
def mapped_records(draw: st.DrawFn) -> tuple[Reading, list[dict[str, Any]]]:
    """A mapping and records that have something of the right kind, or of any kind, in its columns."""
    reading = reading_of(Layout.COLUMNS, draw(mappings))
    found = []
    for _ in range(draw(st.integers(0, 5))):
        record: dict[str, Any] = {}
        for source in reading.sources:
            own = OF_KEY.get(source.key, words | texts)
            value = draw(st.one_of(st.none(), own, own, hashes if source.mode is Mode.SHA256 else values))
            inner = record
            for step in source.path[:-1]:
                if not isinstance(inner.get(step), dict):
                    inner[step] = {}
                inner = inner[step]
            inner[source.path[-1]] = value
        found.append(record)
    return reading, found


def columns(**keys: Key) -> Reading:
    """A reading of raw columns that hold *keys*."""
    columns = {name: MappedColumn(key=key, mode=Mode.RAW) for name, key in keys.items()}
    return reading_of(Layout.COLUMNS, ColumnMapping(columns=columns))


def block_of(documents: list[dict[str, Any]]) -> bytes:
    return b"".join(orjson.dumps(document) + b"\n" for document in documents)


def run(block: bytes, reading: Reading = DATASET, **more: Any) -> Prepared:
    return prepare(read_ndjson(block, reading, first_record=1, first_line=1), reading, this_year=THIS_YEAR, **more)


def rows_of(prepared: Prepared) -> list[tuple[int, dict[str, Any]]]:
    """The rows of all batches in the order of records, each cell as sent."""
    rows = []
    for batch in prepared.batches:
        body = orjson.loads(batch.payload())
        assert list(batch.schema) == body["schema"]
        rows += [
            (batch.record_of(number), {key: cell for key, cell in zip(body["schema"], row, strict=True) if cell != ""})
            for number, row in enumerate(body["data"])
        ]
    return sorted(rows, key=lambda row: row[0])


def as_json(row: dict[Key, str]) -> dict[str, Any]:
    """A row of the reference as it is sent: values and options are JSON."""
    json_keys = [key for key in Key if key == Key.LOOKALIKE_VALUE or key.startswith("DATA_PROCESSING")]
    return {key.value: orjson.loads(cell) if key in json_keys else cell for key, cell in row.items() if cell}


def assert_equal_to_the_reference(given_records: list[dict[str, Any]], reading: Reading, **more: Any) -> None:
    people = [
        person(orjson.loads(orjson.dumps(document)), reading, this_year=THIS_YEAR, **more) for document in given_records
    ]
    prepared = run(block_of(given_records), reading, detailed=True, **more)
    expected = [(number, as_json(row)) for number, found in enumerate(people, start=1) for row in found.rows]
    order = [(number, sorted(row.items(), key=str)) for number, row in rows_of(prepared)]
    assert sorted(((n, sorted(row.items(), key=str)) for n, row in expected), key=str) == sorted(order, key=str)
    assert [(n, found.reason) for n, found in enumerate(people, start=1) if found.reason] == [
        (reject.record, reject.reason) for reject in prepared.rejected
    ]
    cells = Counter((str(reading.sources[n].key), reason.value) for found in people for n, reason in found.cell_rejects)
    assert dict(cells) == prepared.cell_rejects
    assert Counter(n for found in people for n in found.filled) == Counter(
        {number: column.filled for number, column in enumerate(prepared.columns) if column.filled}
    )
    assert len(given_records) == prepared.records == prepared.rejects.total + prepared.sent


class TestEqualToTheReference:
    @pytest.mark.parametrize("layout", list(documents))
    @settings(max_examples=60, deadline=None)
    @given(data=st.data())
    def test_narrative_layouts(self, layout: Layout, data: st.DataObject) -> None:
        """Random records, wrongly typed ones among them, give the rows, rejects and cell rejects of the plain rules."""
        assert_equal_to_the_reference(data.draw(documents[layout]), reading_of(layout))

    @settings(max_examples=150, deadline=None)
    @given(mapped=mapped_records(), options=st.sampled_from([{}, {"value_based": True}]))
    def test_mapped_columns(self, mapped: tuple[Reading, list[dict[str, Any]]], options: dict[str, bool]) -> None:
        """So do any columns with any keys and modes, several of one key, nested ones and such within each other."""
        reading, found = mapped
        assert_equal_to_the_reference(found, reading, **options)

    @settings(max_examples=40, deadline=None)
    @given(st.lists(st.text(max_size=12), min_size=1, max_size=30))
    def test_unicode_names(self, written: list[str]) -> None:
        """Any name in Unicode comes out of the columns as out of the plain rule."""
        given_records = [
            {"person_name": {"given_name": name, "family_name": name + "x"}, "birth_year": 1990} for name in written
        ]
        assert_equal_to_the_reference(given_records, DATASET)

    @pytest.mark.parametrize("key", TARGETS)
    @settings(max_examples=8, deadline=None)
    @given(data=st.data(), times=st.sampled_from([1, 4]))
    def test_values_that_repeat(self, key: Key, data: st.DataObject, times: int) -> None:
        """So do columns that repeat themselves, which are worked on once per distinct value."""
        found = data.draw(st.lists(st.one_of(OF_KEY.get(key, words), values), max_size=8)) * times
        countries = st.lists(st.sampled_from(["us", "Germany", None, 5]), min_size=len(found), max_size=len(found))
        records = [{"x": value, "c": country} for value, country in zip(found, data.draw(countries), strict=True)]
        assert_equal_to_the_reference(records, columns(x=key, c=Key.COUNTRY))


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

    @pytest.mark.parametrize("spaced", ["", " "])
    def test_post_code_that_was_a_number(self, spaced: str) -> None:
        """A post code that is a number has lost its zeros and is of the wrong type; digits as text are a post code."""
        lines = [
            f'{{"id":{spaced}"{number}","zip":{spaced}{code}}}'
            for number, code in enumerate(["94035", '"94035"', "true"])
        ]
        prepared = run("\n".join(lines).encode(), columns(id=Key.EXTERN_ID, zip=Key.ZIP))
        assert {("ZIP", "wrong_type"): 2} == prepared.cell_rejects
        assert [(2, {"EXTERN_ID": "1", "ZIP": sha256(b"94035").hexdigest()})] == [
            row for row in rows_of(prepared) if "ZIP" in row[1]
        ]

    @pytest.mark.parametrize("member", [b'"zip":5', b'"z\\u0069p":5', b'"zip" : 5', b'"zip":5,"o":{"zip":"x"}'])
    def test_a_number_is_found_however_it_is_written(self, member: bytes) -> None:
        """Whatever the JSON around it looks like, a number is no text."""
        prepared = run(b'{"id":"1",%s}' % member, columns(id=Key.EXTERN_ID, zip=Key.ZIP))
        assert {("ZIP", "wrong_type"): 1} == prepared.cell_rejects

    def test_year_beside_a_date_is_not_asked_for(self) -> None:
        """An unreadable year is only told where there is no readable date."""
        email = {"sha256_hashed_email": {"value": "a" * 64}}
        dated = email | {"birthdate": "1990-05-17", "birth_year": "long ago"}
        undated = email | {"birthdate": "in May", "birth_year": "long ago"}
        assert {} == run(block_of([dated])).cell_rejects
        assert {("DOB", "unreadable_date"): 1, ("DOBY", "unreadable_date"): 1} == run(block_of([undated])).cell_rejects

    def test_year_of_a_record_without_a_date(self) -> None:
        """From a record without a readable date the year alone leaves."""
        record = {"sha256_hashed_email": {"value": "a" * 64}, "birthdate": "in May", "birth_year": 1990.0}
        assert [(1, {"EMAIL": "a" * 64, "DOBY": sha256(b"1990").hexdigest()})] == rows_of(run(block_of([record])))


class TestSeveralIdentifiers:
    def test_row_k_carries_the_kth_of_each_kind(self) -> None:
        """Two e-mails and three devices make three rows, in the layout's order, with the attributes on each."""
        mails = [sha256(bytes([number])).hexdigest() for number in range(2)]
        devices = [str(UUID(int=number + 0xA0)) for number in range(3)]
        record = {
            "unique_id": {"type": "idfa", "value": devices[0]},
            "hashed_email": {"type": "sha256_email", "value": mails[0]},
            "sha256_hashed_email": {"value": mails[1]},
            "android_advertising_id": {"value": devices[1]},
            "apple_idfa": {"value": devices[2]},
            "hl7_gender": {"gender": "female"},
        }
        gender = sha256(b"f").hexdigest()
        prepared = run(block_of([record, record]))
        rows = [
            {"EMAIL": mails[0], "GEN": gender, "MADID": devices[0]},
            {"EMAIL": mails[1], "GEN": gender, "MADID": devices[1]},
            {"GEN": gender, "MADID": devices[2]},
        ]
        assert [(1, row) for row in rows] + [(2, row) for row in rows] == rows_of(prepared)
        assert (6, 2) == (prepared.rows, prepared.sent)

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

    def test_attributes_fall_through_too(self) -> None:
        """The second column of a key is asked where the first gave nothing, and only there."""
        reading = columns(id=Key.UID, a=Key.COUNTRY, b=Key.COUNTRY)
        prepared = run(block_of([{"id": "1", "a": "Atlantis", "b": "de"}, {"id": "2", "a": "us", "b": "?"}]), reading)
        assert [sha256(code).hexdigest() for code in (b"de", b"us")] == [row["COUNTRY"] for _, row in rows_of(prepared)]
        assert {("COUNTRY", "unknown_country"): 1} == prepared.cell_rejects
        assert [2, 2, 1] == [column.filled for column in prepared.columns]


class TestResidence:
    @pytest.mark.parametrize("country", ["Germany", sha256(b"de").hexdigest()])
    def test_of_the_row(self, country: str) -> None:
        """A number is read as of the row's country, hashed or not, and else as of the mapping's."""
        mode = Mode.SHA256 if len(country) == 64 else Mode.RAW
        mapping = ColumnMapping(
            columns={
                "p": MappedColumn(key=Key.PHONE, mode=Mode.RAW),
                "c": MappedColumn(key=Key.COUNTRY, mode=mode),
            },
            default_country="GB",
        )
        block = block_of([{"p": "030 123456", "c": country}, {"p": "020 7946 0958"}])
        phones = [row["PHONE"] for _, row in rows_of(run(block, reading_of(Layout.COLUMNS, mapping)))]
        assert [sha256(number).hexdigest() for number in (b"4930123456", b"442079460958")] == phones


class TestPrivacy:
    def test_nothing_shows_a_value(self) -> None:
        """Neither the batch nor what was prepared shows a cell in its text form."""
        record = {"sha256_hashed_email": {"value": "f" * 64}, "person_name": {"family_name": "Smith"}}
        prepared = run(block_of([record, {"person_name": {"family_name": "Smith"}}]))
        shown = f"{prepared!r} {prepared.batches!r} {prepared.batches[0]!s}"
        assert "f" * 64 not in shown
        assert "mith" not in shown
        assert "rows=1" in shown


class TestDetails:
    def test_every_refused_cell_is_named(self) -> None:
        """On request each value that is left out is told by record, column and reason, and each record that is."""
        block = block_of([{"m": "x"}, {"m": "ann@example.com", "z": 5}, {"m": "a" * 64, "z": "1"}])
        prepared = run(block, columns(m=Key.EMAIL, z=Key.ZIP), detailed=True)
        assert [
            (1, "m", "not_an_email"),
            (2, "z", "wrong_type"),
            (3, "m", "already_hashed"),
            (3, "z", "not_a_post_code"),
        ] == [(cell.record, cell.column, cell.reason.value) for cell in prepared.refused_cells]
        assert [(1, RowReason.NO_IDENTIFIER), (3, RowReason.NO_IDENTIFIER)] == [
            (reject.record, reject.reason) for reject in prepared.rejected
        ]
        mail, _ = prepared.columns
        assert (3, 1) == (mail.filled, mail.refused[CellReason.ALREADY_HASHED])


class TestSchema:
    def test_only_keys_with_a_value(self) -> None:
        """A batch names only the keys it has a value for, in Meta's order."""
        record = {"apple_idfa": {"value": str(UUID(int=0xAB))}, "iso_3166_1_country": "de"}
        assert (Key.COUNTRY, Key.MADID) == run(block_of([record])).batches[0].schema
