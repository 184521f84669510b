"""`fbc preview`: a file in, what its owner should know out. It sends nothing."""

import csv
import gzip
import io
import json
from pathlib import Path
from typing import Any

import polars as pl
import pytest
from backports import zstd
from typer.testing import CliRunner, Result

from cli.__main__ import build

MAPPING = {
    "columns": {
        "mail": {"key": "EMAIL", "mode": "raw"},
        "tel": {"key": "PHONE", "mode": "raw"},
        "born": {"key": "DOB", "mode": "raw"},
    }
}


def fbc(*words: str | Path) -> Result:
    return CliRunner().invoke(build("preview"), ["preview", *map(str, words)])


def told(result: Result) -> dict[str, Any]:
    document: dict[str, Any] = json.loads(result.stdout)
    return document


@pytest.fixture
def mapping(tmp_path: Path) -> Path:
    path = tmp_path / "mapping.json"
    path.write_text(json.dumps(MAPPING), encoding="utf-8")
    return path


def ndjson(path: Path, *records: object) -> Path:
    text = "".join(json.dumps(record) + "\n" for record in records).encode()
    path.write_bytes(gzip.compress(text) if path.suffix == ".gz" else text)
    return path


def sound(number: int) -> dict[str, str]:
    return {"mail": f"p{number}@example.com", "tel": "+442079460958", "born": "1990-05-17"}


WRONG = [
    {"mail": f"{number:064x}", "tel": "020 7946 0958", "born": "1990-05-17" if number % 2 else "17/05/1990"}
    for number in range(10)
]


class TestJson:
    def test_sound_file(self, tmp_path: Path, mapping: Path) -> None:
        """A sound file is told as JSON with exactly the promised members, and the exit code is 0."""
        result = fbc(ndjson(tmp_path / "people.ndjson", sound(1), sound(2)), "--mapping", mapping, "-o", "json")
        assert result.exit_code == 0
        assert list(told(result)) == ["schema", "rows", "rejected", "coverage", "warnings", "would_refuse"]
        assert told(result)["schema"] == ["EMAIL", "PHONE", "DOBY", "DOBM", "DOBD"]
        assert [len(row) for row in told(result)["rows"]] == [5, 5]

    def test_deliberately_wrong_file(self, tmp_path: Path, mapping: Path) -> None:
        """Hashed addresses declared raw, phones without country, dates in two formats: each is told in words."""
        result = fbc(ndjson(tmp_path / "people.ndjson", *WRONG), "--mapping", mapping, "-o", "json")
        assert result.exit_code == 1
        warnings = {(warned["column"], warned["kind"]): warned for warned in told(result)["warnings"]}
        assert warnings["mail", "already_hashed"]["count"] == 10
        assert warnings["tel", "phone_without_country"]["count"] == 10
        assert warnings["born", "mixed_dates"]["count"] == 5
        assert all(warned["advice"] for warned in warnings.values())
        assert told(result)["would_refuse"] is True

    def test_rejected(self, tmp_path: Path, mapping: Path) -> None:
        """An entry with a column is a cell, one without is a record; records are counted from 1."""
        file = ndjson(tmp_path / "people.ndjson", sound(1), sound(2) | {"born": "soon"}, {"born": "1990-05-17"})
        assert told(fbc(file, "--mapping", mapping, "-o", "json"))["rejected"] == [
            {"row": 2, "column": "born", "reason": "unreadable_date"},
            {"row": 3, "reason": "no_identifier"},
        ]

    def test_rows_are_records_read(self, tmp_path: Path, mapping: Path) -> None:
        """`--rows` says how many records are read, 1,000 when it is not given."""
        file = ndjson(tmp_path / "people.ndjson", *({} if number < 2 else sound(number) for number in range(1_200)))
        few = told(fbc(file, "--mapping", mapping, "-o", "json", "--rows", "5"))
        assert (len(few["rows"]), len(few["rejected"])) == (3, 2)
        assert len(told(fbc(file, "--mapping", mapping, "-o", "json"))["rows"]) == 998

    def test_narrative_layout(self, tmp_path: Path) -> None:
        """Without a mapping the layout of the data platform is read; columns are paths."""
        person = {"hashed_email": {"type": "sha256_email", "value": "ab" * 32}, "hl7_gender": {"gender": "neuter"}}
        result = fbc(ndjson(tmp_path / "people.ndjson.gz", person), "-o", "json", "--max-refused-cells", "1")
        assert result.exit_code == 0
        assert told(result)["rows"] == [["ab" * 32]]
        assert told(result)["rejected"] == [{"row": 1, "column": "hl7_gender.gender", "reason": "unknown_gender"}]

    def test_thresholds(self, tmp_path: Path, mapping: Path) -> None:
        """The shares above which a file is refused can be given."""
        file = ndjson(tmp_path / "people.ndjson", sound(1), sound(2) | {"born": "soon"})
        assert fbc(file, "--mapping", mapping).exit_code == 1
        assert fbc(file, "--mapping", mapping, "--max-refused-cells", "0.5").exit_code == 0

    def test_value_based(self, tmp_path: Path, mapping: Path) -> None:
        """For a value-based audience a record without a value would not leave."""
        result = fbc(ndjson(tmp_path / "people.ndjson", sound(1)), "--mapping", mapping, "--value-based", "-o", "json")
        assert told(result)["rejected"] == [{"row": 1, "reason": "no_value"}]
        assert result.exit_code == 1


ROWS = [sound(number) | {"mail": "?" if number == 1 else f"p{number}@example.com"} for number in range(20)]


def as_csv(delimiter: str) -> bytes:
    text = io.StringIO()
    writer = csv.DictWriter(text, ["born", "mail", "other", "tel"], delimiter=delimiter)
    writer.writeheader()
    writer.writerows(row | {"other": 'with "quotes"' + delimiter} for row in ROWS)
    return text.getvalue().encode()


def as_ndjson() -> bytes:
    return b"".join(json.dumps(row).encode() + b"\n" for row in ROWS)


def as_parquet() -> bytes:
    file = io.BytesIO()
    pl.DataFrame(ROWS).with_columns(pl.col("born").str.to_date()).write_parquet(file)
    return file.getvalue()


class TestFormats:
    @pytest.mark.parametrize(
        ("name", "content"),
        [
            ("people.ndjson", as_ndjson()),
            ("people.jsonl.gz", gzip.compress(as_ndjson())),
            ("people.ndjson.zst", zstd.compress(as_ndjson())),
            ("people.csv", as_csv(",")),
            ("people.csv", b"\xef\xbb\xbf" + as_csv(";")),
            ("people.csv.gz", gzip.compress(as_csv("|"))),
            ("people.tsv.zst", zstd.compress(as_csv("\t"))),
            ("people.parquet", as_parquet()),
        ],
        ids=lambda value: value if isinstance(value, str) else "",
    )
    def test_same_report(self, tmp_path: Path, mapping: Path, name: str, content: bytes) -> None:
        """The same people get the same report in every format and compression."""
        (tmp_path / "reference.ndjson").write_bytes(as_ndjson())
        (tmp_path / name).write_bytes(content)
        expected = fbc(tmp_path / "reference.ndjson", "--mapping", mapping, "-o", "json")
        result = fbc(tmp_path / name, "--mapping", mapping, "-o", "json")
        assert result.exit_code == 0
        assert told(result) == told(expected)
        assert told(result)["rejected"] == [{"row": 2, "column": "mail", "reason": "not_an_email"}]

    @pytest.mark.parametrize(
        ("name", "content"),
        [
            ("people.ndjson.gz", gzip.compress(as_ndjson() * 100)[:-20]),
            ("people.ndjson.gz", as_ndjson()),
            ("people.ndjson.zst", b"\x28\xb5\x2f\xfd" + b"x" * 100),
            ("people.ndjson", gzip.compress(as_ndjson())),
            ("people.ndjson.gz", gzip.compress(gzip.compress(as_ndjson()))),
            ("people.parquet", as_parquet()[:-30]),
            ("people.parquet", b"PAR1" + b"x" * 100 + b"PAR1"),
            ("people.zip", b"PK\x03\x04"),
            ("people.csv", b"a,b,c\n1,2,3\n"),
            ("people.csv", b""),
        ],
    )
    def test_unreadable(self, tmp_path: Path, mapping: Path, name: str, content: bytes) -> None:
        """What is damaged or something else than its name says is told in a line, with exit code 2 and no stack."""
        (tmp_path / name).write_bytes(content)
        result = fbc(tmp_path / name, "--mapping", mapping, "--rows", "1000000")
        assert result.exit_code == 2
        assert len(result.stderr.splitlines()) == 1
        assert result.stdout == ""

    def test_said_format(self, tmp_path: Path, mapping: Path) -> None:
        """A name that says nothing is helped by options; a mapping may name the delimiter."""
        (tmp_path / "people").write_bytes(gzip.compress(as_csv("~")))
        mapping.write_text(json.dumps(MAPPING | {"delimiter": "~"}), encoding="utf-8")
        result = fbc(
            tmp_path / "people", "--mapping", mapping, "--format", "csv", "--compression", "gzip", "-o", "json"
        )
        assert len(told(result)["rows"]) == 20


class TestTable:
    def test_words(self, tmp_path: Path, mapping: Path) -> None:
        """People get the counts, the advice and the verdict."""
        result = fbc(ndjson(tmp_path / "people.ndjson", *WRONG), "--mapping", mapping)
        text = " ".join(result.stdout.split())
        assert "10 records read: 10 rows would leave, 0 records would not." in text
        assert 'Say "mode": "sha256" for mail' in text
        assert "A delivery of this file would be refused." in text

    def test_markup_in_names(self, tmp_path: Path) -> None:
        """A column's name is shown as it is, whatever a terminal library would make of it."""
        mapping = tmp_path / "mapping.json"
        mapping.write_text(json.dumps({"columns": {"[/b]": {"key": "GEN", "mode": "raw"}}}), encoding="utf-8")
        result = fbc(ndjson(tmp_path / "people.ndjson", {"[/b]": "x"}), "--mapping", mapping)
        assert result.exit_code == 1
        assert "[/b]" in result.stdout


class TestMistakes:
    def test_mapping(self, tmp_path: Path) -> None:
        """A mapping that is none is told by what is wrong with it, with exit code 2."""
        mapping = tmp_path / "mapping.json"
        mapping.write_text('{"columns": {"mail": {"key": "MAIL", "mode": "raw"}}}', encoding="utf-8")
        result = fbc(ndjson(tmp_path / "people.ndjson", {}), "--mapping", mapping)
        assert result.exit_code == 2
        assert "columns.mail.key is no match key" in result.stderr

    @pytest.mark.parametrize("words", [["--layout", "columns"], ["--layout", "narrative-legacy", "--mapping", "M"]])
    def test_layout_and_mapping(self, tmp_path: Path, mapping: Path, words: list[str]) -> None:
        """A mapping belongs to the layout columns and to no other."""
        file = ndjson(tmp_path / "people.ndjson", {})
        assert fbc(file, *(str(mapping) if word == "M" else word for word in words)).exit_code == 2
