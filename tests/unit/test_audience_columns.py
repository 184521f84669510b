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
    ["São Paulo", "San Francisco", "New York", "California", "ca", "Bayern", "94035-1234", "940351234", "SW1A 1AA"]
    + ["01234", "１２３", "K1A-0A6", "75", "0", "東京"]
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
ids = st.sampled_from(["0", "007", "123456789012345678", "18446744073709551615", "18446744073709551616", 'a"b\\c', "é\x01"])
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
        person(orjson.loads(orjson.dumps(document)), reading, this_year=THIS_YEAR, **more)
        for document in given_records
    ]
    prepared = run(block_of(given_records), reading, **more)
    expected = [(number, as_json(row)) for number, found in enumerate(people, start=1) for row in found.rows]
    order = [(number, sorted(row.items(), key=str)) for number, row in rows_of(prepared)]
    assert sorted(((n, sorted(row.items(), key=str)) for n, row in expected), key=str) == sorted(order, key=str)
    assert [(n, found.reason) for n, found in enumerate(people, start=1) if found.reason] == [
        (reject.record, reject.reason) for reject in run(block_of(given_records), reading, detailed=True, **more).rejected
    ]
    cells = Counter((str(reading.sources[n].key), reason.value) for found in people for n, reason in found.cell_rejects)
    assert dict(cells) == prepared.cell_rejects
    assert Counter(n for found in people for n in found.filled) == Counter(
        {number: column.filled for number, column in enumerate(prepared.columns) if column.filled}
    )
    assert len(given_records) == prepared.records == prepared.rejects.total + prepared.sent


class TestEqualToTheReference:
    @pytest.mark.parametrize("layout", list(documents))
    @settings(max_examples=200, deadline=None)
    @given(data=st.data())
    def test_narrative_layouts(self, layout: Layout, data: st.DataObject) -> None:
        """Random records, wrongly typed ones among them, give the rows, rejects and cell rejects of the plain rules."""
        assert_equal_to_the_reference(data.draw(documents[layout]), reading_of(layout))

    @settings(max_examples=400, deadline=None)
    @given(mapped_records(), st.booleans())
    def test_mapped_columns(self, given: tuple[Reading, list[dict[str, Any]]], value_based: bool) -> None:
        """So do any columns with any keys and modes, several of one key, nested ones and such within each other."""
        reading, found = given
        assert_equal_to_the_reference(found, reading, value_based=value_based)
