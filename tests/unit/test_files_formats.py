"""What a file is: said, or named by its key, held against its first bytes; and where its columns are."""

import gzip
from typing import Any

import pytest

from connector.audience.layouts import reading_of
from connector.files.formats import FileKind, Refusal, contradiction, kind_of, text_contradiction
from connector.files.header import table_of
from connector.files.limits import LimitViolated
from schemas.events import Compression, FileRef, Format, Layout, Table
from schemas.match_keys import ColumnMapping

NDJSON = FileKind(Format.NDJSON)
READING = reading_of(
    Layout.COLUMNS,
    ColumnMapping.model_validate(
        {"columns": {"e,mail": {"key": "EMAIL", "mode": "raw"}, "city": {"key": "CT", "mode": "raw"}}}
    ),
)


def file(key: str, **more: Any) -> FileRef:
    """A file by its key."""
    return FileRef(name="a", store="local", key=key, **more)


@pytest.mark.parametrize(
    ("given", "kind"),
    [
        (file("a"), NDJSON),
        (file("people.v2/a.NDJSON"), NDJSON),
        (file("a.json.gz"), FileKind(Format.NDJSON, Compression.GZIP)),
        (file("a.csv.zst"), FileKind(Format.CSV, Compression.ZSTD)),
        (file("a.tsv"), FileKind(Format.TSV)),
        (file("part-0.snappy.parquet"), FileKind(Format.PARQUET)),
        (file("part-0.gz.parquet"), FileKind(Format.PARQUET)),
        (file("a.gz", format=Format.CSV), FileKind(Format.CSV, Compression.GZIP)),
        (file("a.csv.gz", compression=Compression.NONE), FileKind(Format.CSV)),
        (file("a.zip", format=Format.CSV), FileKind(Format.CSV)),
    ],
)
def test_what_is_said_counts_then_the_ending(given: FileRef, kind: FileKind) -> None:
    """Format and compression of the delivery win over the key, each on its own; without either it is plain NDJSON."""
    assert kind_of(given) == kind


@pytest.mark.parametrize(
    ("key", "code"),
    [("a.zip", "archive"), ("a.tar.gz", "archive"), ("a.tgz", "archive"), ("a.parquet.gz", "compressed_parquet")],
)
def test_what_is_never_read(key: str, code: str) -> None:
    """An archive may hold anything, and Parquet compresses itself."""
    refusal = kind_of(file(key))
    assert isinstance(refusal, Refusal)
    assert refusal.code == code
    assert refusal.advice


@pytest.mark.parametrize(
    ("kind", "head", "code"),
    [
        (NDJSON, b'{"a"', None),
        (NDJSON, b"", None),
        (NDJSON, gzip.compress(b"a"), "format_contradicts_content"),
        (FileKind(Format.CSV), b"PAR1", "format_contradicts_content"),
        (FileKind(Format.CSV), b"PK\x03\x04", "archive"),
        (FileKind(Format.CSV, Compression.GZIP), b"email,", "format_contradicts_content"),
        (FileKind(Format.CSV, Compression.GZIP), gzip.compress(b"a"), None),
        (FileKind(Format.CSV, Compression.ZSTD), b"\x50\x2a\x4d\x18", None),
        (FileKind(Format.PARQUET), b"PAR1", None),
        (FileKind(Format.PARQUET), b"email", "format_contradicts_content"),
    ],
)
def test_the_first_bytes_must_agree(kind: FileKind, head: bytes, code: str | None) -> None:
    """A file that begins like something else is not read as what it is said to be."""
    refusal = contradiction(kind, head)
    assert (refusal.code if refusal else None) == code


def test_text_in_another_encoding_is_told() -> None:
    """UTF-16 would otherwise be a file without a single valid line."""
    refusal = text_contradiction("email".encode("utf-16"))
    assert refusal is not None
    assert refusal.code == "not_utf8"


class TestHeader:
    """`table_of`."""

    @pytest.mark.parametrize("delimiter", [",", ";", "\t", "|"])
    def test_the_delimiter_that_finds_the_columns(self, delimiter: str) -> None:
        """Without a word about it, the delimiter is the one with which the header names the mapped columns."""
        head = f'\ufeff\n note {delimiter}city{delimiter}"e,mail"\r\nx'.encode()
        assert table_of(head, Format.CSV, READING) == Table(delimiter=delimiter, width=3, positions=(2, 1))

    def test_a_column_may_be_missing(self) -> None:
        """Not every mapped column has to be there, one has."""
        found = table_of(b"city\n", Format.CSV, READING)
        assert found == Table(delimiter=",", width=1, positions=(None, 0))

    @pytest.mark.parametrize(
        ("head", "code"),
        [
            (b"", "empty_file"),
            (b"\n \n", "empty_file"),
            (b"eve@example.com,Paris\n", "no_mapped_column"),
            (b"city,city\n", "ambiguous_columns"),
            (b"city,\xff\n", "unreadable_header"),
            (b'"city\n1\n', "unreadable_header"),
            (b"city,name", "unreadable_header"),
        ],
    )
    def test_no_header(self, head: bytes, code: str) -> None:
        """A file whose first line is no header is refused, and the line is not repeated: it may be a person."""
        refusal = table_of(head, Format.CSV, READING)
        assert isinstance(refusal, Refusal)
        assert refusal.code == code
        assert "eve" not in refusal.message

    @pytest.mark.parametrize("count", [257, 100_000])
    def test_columns_have_a_limit(self, count: int) -> None:
        """Also where the header is too long to be read."""
        with pytest.raises(LimitViolated, match="columns is 256"):
            table_of(b"city" + b",x" * (count - 1) + b"\n" * (count < 1000), Format.CSV, READING)
