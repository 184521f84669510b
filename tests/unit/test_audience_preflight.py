"""What the owner of a file is told about its first records."""

import io
import json
from collections.abc import Iterable, Mapping
from hashlib import sha256
from typing import Any

import polars as pl
import pytest
from hypothesis import given
from hypothesis import strategies as st

from connector.audience.advice import advice
from connector.audience.heads import Look, Refused, parquet_parts, text_parts
from connector.audience.keys import Mode
from connector.audience.layouts import Reading, reading_of
from connector.audience.preflight import Part, Preflight, Thresholds, Warned, preflight
from connector.audience.prepare import ColumnAccount, prepare
from connector.audience.reasons import CellReason, RowReason
from connector.audience.records_ndjson import read_ndjson
from schemas.events import Format, Layout
from schemas.match_keys import ColumnMapping

MAPPING = {
    "mail": {"key": "EMAIL", "mode": "raw"},
    "tel": {"key": "PHONE", "mode": "raw"},
    "land": {"key": "COUNTRY", "mode": "raw"},
    "born": {"key": "DOB", "mode": "raw"},
    "sex": {"key": "GEN", "mode": "raw"},
}


def hashed(text: str) -> str:
    return sha256(text.encode()).hexdigest()


def reading(columns: Mapping[str, Mapping[str, str]] = MAPPING, **more: Any) -> Reading:
    return reading_of(Layout.COLUMNS, ColumnMapping.model_validate({"columns": columns, **more}))


def judged(
    records: Iterable[object],
    read: Reading | None = None,
    *,
    thresholds: Thresholds = Thresholds(),  # noqa: B008 -- frozen
    pieces: int = 1,
) -> Preflight:
    """The preflight of records, NDJSON lines or objects, read in *pieces*."""
    read = read or reading()
    lines = [record if isinstance(record, str) else json.dumps(record) for record in records]
    parts = []
    for piece in range(pieces):
        first, last = len(lines) * piece // pieces, len(lines) * (piece + 1) // pieces
        block = "\n".join(lines[first:last]).encode()
        found = read_ndjson(block, read, first_record=first + 1, first_line=first + 1)
        parts.append(Part(found, prepare(found, read, this_year=2026, detailed=True)))
    return preflight(parts, read, mapped=True, thresholds=thresholds, this_year=2026)


def kinds(found: Preflight, column: str | None) -> dict[str, Warned]:
    return {warned.kind: warned for warned in found.warnings if warned.column == column}


def full(number: int, **changed: object) -> dict[str, object]:
    person = {"mail": f"p{number}@example.com", "tel": "+442079460958", "land": "GB", "born": "1990-05-17", "sex": "f"}
    return person | changed


class TestSoundFile:
    def test_nothing_to_fix(self) -> None:
        """A sound file gets its rows, full coverage, no warning and no refusal."""
        found = judged(full(number) for number in range(20))
        assert found.as_json() == {
            "schema": ["EMAIL", "PHONE", "GEN", "DOBY", "DOBM", "DOBD", "COUNTRY"],
            "rows": [
                [hashed(text) for text in (f"p{number}@example.com", "442079460958", "f", "1990", "05", "17", "gb")]
                for number in range(20)
            ],
            "rejected": [],
            "coverage": {"EMAIL": {"filled": 20, "distinct": 20}}
            | {key: {"filled": 20, "distinct": 1} for key in ("PHONE", "GEN", "DOBY", "DOBM", "DOBD", "COUNTRY")},
            "warnings": [],
            "would_refuse": False,
        }

    def test_no_records(self) -> None:
        """An empty file is no reason to refuse."""
        assert judged([]).as_json() == {
            "schema": [], "rows": [], "rejected": [], "coverage": {}, "warnings": [], "would_refuse": False,
        }  # fmt: skip

    @given(st.lists(st.booleans(), min_size=1, max_size=12), st.integers(1, 4))
    def test_pieces_do_not_matter(self, good: list[bool], pieces: int) -> None:
        """The same records get the same report, in however many pieces they were read."""
        records = [full(number) if is_good else {"sex": "x"} for number, is_good in enumerate(good)]
        assert judged(records, pieces=pieces).as_json() == judged(records).as_json()

    def test_report_holds_nobody(self) -> None:
        """What is stored and told on has no person in it, hashed or not."""
        found = judged([full(1), full(2, sex="secret-word")])
        told = json.dumps(found.report())
        assert hashed("p1@example.com") not in told
        assert "secret-word" not in told
        assert "p1@example.com" not in repr(found)
        assert hashed("p1@example.com") not in repr(found)
        assert found.report(max_rejected=0)["rejected"] == []


class TestDeliberatelyWrongFile:
    def test_hashed_addresses_declared_raw(self) -> None:
        """Hashes in a raw column: refused, with the word to write into the mapping."""
        found = judged(full(number, mail=hashed(f"p{number}")) for number in range(10))
        assert found.would_refuse
        assert kinds(found, "mail")["already_hashed"].count == 10
        assert '"mode": "sha256"' in kinds(found, "mail")["already_hashed"].advice
        assert [rejected.column for rejected in found.rejected] == ["mail"] * 10

    def test_plain_addresses_declared_hashed(self) -> None:
        """Plain values in a column of hashes: refused, with the word to write into the mapping."""
        found = judged(
            ({"mail": f"p{n}@example.com"} for n in range(4)), reading({"mail": {"key": "EMAIL", "mode": "sha256"}})
        )
        assert found.would_refuse
        assert '"mode": "raw"' in kinds(found, "mail")["not_a_hash"].advice

    def test_mixed(self) -> None:
        """A column of both is told to be mixed, with the count of those that are not as declared."""
        found = judged(
            full(number, mail=hashed("x") if number % 4 else f"p{number}@example.com") for number in range(8)
        )
        assert kinds(found, "mail")["mixed_modes"].count == 6
        assert "already_hashed" not in kinds(found, "mail")

    def test_phones_without_country(self) -> None:
        """Numbers that say no country are counted, though they leave; with a country or a default one they are fine."""
        national = [full(number, tel="020 7946 0958", land=None) for number in range(5)]
        assert kinds(judged(national), "tel")["phone_without_country"].count == 5
        assert "default_country" in kinds(judged(national), "tel")["phone_without_country"].advice
        assert kinds(judged(national, reading(default_country="GB")), "tel") == {}
        assert kinds(judged(full(number, tel="020 7946 0958") for number in range(5)), "tel") == {}

    def test_hashed_country(self) -> None:
        """A country that arrives hashed is a country all the same."""
        read = reading(MAPPING | {"land": {"key": "COUNTRY", "mode": "sha256"}})
        assert kinds(judged([full(1, tel="020 7946 0958", land=hashed("gb"))], read), "tel") == {}

    def test_dates_in_two_formats(self) -> None:
        """The formats of a column are told with their counts."""
        found = judged(full(number, born="1990-05-17" if number % 3 else "17/05/1990") for number in range(9))
        assert kinds(found, "born")["mixed_dates"].count == 3
        assert "6 as YYYY-MM-DD, 3 as DD/MM/YYYY" in kinds(found, "born")["mixed_dates"].advice

    def test_ambiguous_dates(self) -> None:
        """A date that can mean two days is told as such, not sent as either."""
        found = judged([full(1, born="03/04/1990"), full(2, born="31/12/1990")])
        assert kinds(found, "born")["ambiguous_date"].count == 1
        assert found.coverage["DOBY"].filled == 1

    def test_customs_of_the_file(self) -> None:
        """With a default country, dates that could mean two days follow its custom."""
        found = judged([full(1, born="03/04/1990")], reading(default_country="US"))
        assert found.rows[0][3:6] == (hashed("1990"), hashed("03"), hashed("04"))
        assert found.warnings == ()

    def test_misspelt_column(self) -> None:
        """A mapped column that holds nothing anywhere is told: its name is most likely wrong."""
        found = judged([{"mail": "p@example.com"}], reading({"mail": MAPPING["mail"], "phone": MAPPING["tel"]}))
        assert kinds(found, "phone")["empty_column"].count == 1
        assert not found.would_refuse

    def test_nothing_readable(self) -> None:
        """Of records that cannot be read nobody is told that their columns are empty."""
        assert kinds(judged(["nonsense"] * 3), "mail") == {}

    def test_lost_records(self) -> None:
        """Records that do not leave are named by number, without a column, and their reasons are counted."""
        found = judged([full(1), "nonsense", {"sex": "f"}, "[1]"])
        assert [(rejected.row, rejected.reason) for rejected in found.rejected if rejected.column is None] == [
            (2, "malformed_json"),
            (3, "no_identifier"),
            (4, "not_an_object"),
        ]
        assert {"malformed_json", "no_identifier", "not_an_object"} <= kinds(found, None).keys()


class TestThresholds:
    @pytest.mark.parametrize(("bad", "refused"), [(0, False), (10, False), (11, True)])
    def test_cells(self, bad: int, *, refused: bool) -> None:
        """A file is refused when more than a tenth of a column's cells that hold something cannot be used."""
        found = judged(full(number, sex="?" if number < bad else "f") for number in range(100))
        assert found.would_refuse is refused
        assert ("too_many_cells_refused" in kinds(found, "sex")) is refused

    def test_empty_cells_do_not_count(self) -> None:
        """The share is of the cells that hold something."""
        assert judged(full(number, sex="?" if number < 2 else None) for number in range(100)).would_refuse

    @pytest.mark.parametrize(("bad", "refused"), [(50, False), (51, True)])
    def test_rows(self, bad: int, *, refused: bool) -> None:
        """A file is refused when more than half of its records would not leave."""
        found = judged({} if number < bad else full(number) for number in range(100))
        assert found.would_refuse is refused
        assert ("too_many_rows_rejected" in kinds(found, None)) is refused

    def test_are_settings(self) -> None:
        """Both shares can be set."""
        records = [full(1, sex="?"), full(2), {}]
        assert judged(records, thresholds=Thresholds(cells=0.5, rows=0.3)).would_refuse
        assert not judged(records, thresholds=Thresholds(cells=0.5, rows=0.4)).would_refuse


class TestFirstBytes:
    @pytest.mark.parametrize(("is_whole", "expected"), [(True, 2), (False, 1)])
    def test_end_of_the_bytes(self, *, is_whole: bool, expected: int) -> None:
        """Of a file that goes on behind the bytes the last record is left out: it may be half a one."""
        look = Look(reading(), this_year=2026)
        text = json.dumps(full(1)).encode() + b"\n" + json.dumps(full(2)).encode()
        parts = [*text_parts([text[:50], text[50:]], Format.NDJSON, look, is_whole=is_whole)]
        assert sum(part.prepared.records for part in parts) == expected

    def test_no_more_than_needed(self) -> None:
        """No more blocks are taken than the wanted records need."""
        blocks = iter([b"{}\n" * 5, b"{}\n" * 5, b"{}\n" * 5])
        assert len([*text_parts(blocks, Format.NDJSON, Look(reading(), this_year=2026, records=7))]) == 1
        assert next(blocks) == b"{}\n" * 5

    def test_table(self) -> None:
        """Lines of a table are read by their header."""
        text = b"mail;born\np@example.com;1990-05-17\n"
        [part] = text_parts([text], Format.CSV, Look(reading(), this_year=2026))
        assert part.prepared.rows == 1

    def test_no_column(self) -> None:
        """A table without any of the columns is refused in words."""
        with pytest.raises(Refused, match="names none of the columns"):
            [*text_parts([b"a,b\n1,2\n"], Format.CSV, Look(reading(), this_year=2026))]

    def test_rows_of_parquet(self) -> None:
        """Rows of a Parquet file are looked at alike."""
        file = io.BytesIO()
        pl.DataFrame([full(number) for number in range(5)]).write_parquet(file, row_group_size=2)
        parts = [*parquet_parts(file, Look(reading(), this_year=2026, records=3))]
        assert [part.prepared.rows for part in parts] == [2, 1]
        assert [part.records.frame["record"].to_list() for part in parts] == [[1, 2], [3]]


class TestAdvice:
    @pytest.mark.parametrize("reason", [*CellReason])
    def test_every_reason_of_a_cell(self, reason: CellReason) -> None:
        """Whatever is wrong with a cell, there are words for it, with the column's name."""
        column = ColumnAccount("{mail}", "EMAIL", Mode.RAW, 5, {})
        assert "{mail}" in advice(reason.value, column, 5)

    @pytest.mark.parametrize("reason", [*RowReason])
    def test_every_reason_of_a_record(self, reason: RowReason) -> None:
        """Whatever is wrong with a record, there are words for it."""
        assert "cannot be read" not in advice(reason.value, None, 5)
