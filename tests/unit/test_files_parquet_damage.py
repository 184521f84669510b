"""Damaged, lying and encrypted Parquet: rows or a refusal in our words, whatever was done to the file."""

import base64
import io
import random
from datetime import datetime, timedelta
from decimal import Decimal
from typing import Any

import polars as pl
import pyarrow as pa
import pyarrow.parquet as pq
import pyarrow.parquet.encryption as pe
import pytest

from connector.audience.layouts import reading_of
from connector.files.limits import LimitViolated
from connector.files.parquet import batches, frame_records
from connector.files.parquet_damage import UnreadableParquet
from connector.files.parquet_footer import read_footer
from connector.files.parquet_opening import chunks_of
from schemas.events import Layout
from schemas.match_keys import ColumnMapping

COLUMNS = {"mail": "EMAIL", "city": "CT", "year": "DOBY", "phone": "PHONE", "born": "FN", "tags": "LN", "place": "ZIP"}
READING = reading_of(
    Layout.COLUMNS,
    ColumnMapping.model_validate({"columns": {name: {"key": key, "mode": "raw"} for name, key in COLUMNS.items()}}),
)
ROWS = 300
PEOPLE = pa.table(
    {
        "mail": [f"p{row}@example.com" for row in range(ROWS)],
        "city": [None if row % 7 else f"town {row % 5}" for row in range(ROWS)],
        "year": list(range(ROWS)),
        "phone": [Decimal(row) for row in range(ROWS)],
        "born": [datetime(2020, 1, 1)] * ROWS,  # noqa: DTZ001 - without a zone, as files have them
        "tags": [["a"] * (row % 3) for row in range(ROWS)],
        "place": [{"zip": "x"}] * ROWS,
    }
)
_NO_DICTIONARY: dict[str, Any] = {"use_dictionary": False}
WRITERS: dict[str, dict[str, Any]] = {
    "plain": {"compression": "none"},
    "snappy": {"compression": "snappy"} | _NO_DICTIONARY,
    "zstd, second version": {"compression": "zstd", "data_page_version": "2.0", "data_page_size": 500},
    "lz4, row groups": {"compression": "lz4", "row_group_size": 130},
    "brotli, checksums": {"compression": "brotli", "write_page_checksum": True},
    "gzip, prefixes": {"column_encoding": {"mail": "DELTA_BYTE_ARRAY", "year": "DELTA_BINARY_PACKED"}} | _NO_DICTIONARY,
    "lengths": {"column_encoding": {"mail": "DELTA_LENGTH_BYTE_ARRAY", "city": "DELTA_BYTE_ARRAY"}} | _NO_DICTIONARY,
}


def written(writer: str) -> bytes:
    """The people as *writer* writes them."""
    out = io.BytesIO()
    if writer == "polars":
        pl.DataFrame(pl.from_arrow(PEOPLE)).write_parquet(out)
    else:
        pq.write_table(PEOPLE, out, **WRITERS[writer])
    return out.getvalue()


def mails(data: bytes) -> list[str | None]:
    """What is read of a file, as planner and uploader read it; only the mails are handed back."""
    found: list[str | None] = []
    for row_group in range(len(read_footer(io.BytesIO(data), reading=READING).row_groups)):
        records = frame_records(batches(io.BytesIO(data), row_group, READING), READING, first_record=1)
        assert records.count == records.frame.height
        found += records.frame["/mail"].to_list()
    return found


def length_of_footer(data: bytes) -> int:
    """As the file's end says it."""
    return int.from_bytes(data[-8:-4], "little")


@pytest.mark.parametrize("writer", [*WRITERS, "polars"])
def test_every_writer(writer: str) -> None:
    """Whole files are read whole."""
    assert PEOPLE["mail"].to_pylist() == mails(written(writer))


@pytest.mark.parametrize("writer", [*WRITERS, "polars"])
def test_damage(writer: str) -> None:
    """Bytes are changed and cut out, in pages and footer: an error of Arrow's, or its end, would end this test."""
    whole = written(writer)
    dice = random.Random(writer)
    refused = 0
    for _ in range(150):
        data = bytearray(whole)
        if dice.random() < 0.1:
            footer = length_of_footer(whole) + 8
            data = data[: dice.randrange(len(data) - footer)] + data[-footer:]
        first = len(data) - 8 - length_of_footer(whole) if dice.random() < 0.5 else 0
        for _ in range(dice.choice((1, 1, 2, 5))):
            at = dice.randrange(first, len(data))
            data[at] = dice.choice((dice.randrange(256), data[at] ^ 1 << dice.randrange(8), 0xFF, 0x80, 0))
        try:
            mails(bytes(data))
        except (UnreadableParquet, LimitViolated):
            refused += 1
    assert refused > 20


def test_a_checksum_that_is_wrong() -> None:
    """Where a page has one, it is compared: a changed letter is no other person."""
    table = pa.table({"mail": ["somebody@example.com"]})
    out = io.BytesIO()
    pq.write_table(
        table, out, compression="none", use_dictionary=False, write_statistics=False, write_page_checksum=True
    )
    data = out.getvalue().replace(b"somebody", b"somebodi", 1)
    with pytest.raises(UnreadableParquet):
        mails(data)


@pytest.mark.parametrize("kind", [pa.string(), pa.large_string(), pa.string_view()])
def test_kinds_of_text(kind: pa.DataType) -> None:
    """However Arrow called the text when it was written."""
    out = io.BytesIO()
    pq.write_table(pa.table({"mail": pa.array(["p@example.com", None], kind)}), out)
    assert mails(out.getvalue()) == ["p@example.com", None]


def test_a_footer_whose_lists_lie() -> None:
    """Thrift's readers take a list to be of what they expect; one that says it is of something else hides the rest."""
    data = written("snappy")
    footer = data[-8 - length_of_footer(data) : -8]
    assert len(chunks_of(footer)[0]) == len(COLUMNS)
    schema = footer.index(b"\x19")  # field 2: a list
    assert footer[schema + 1] & 0x0F == 12
    lying = footer[: schema + 1] + bytes([footer[schema + 1] & 0xF0 | 3]) + footer[schema + 2 :]
    with pytest.raises(UnreadableParquet):
        chunks_of(lying)


class _Kms(pe.KmsClient):  # type: ignore[misc]  # pyarrow has no types
    def __init__(self, _: Any) -> None:
        super().__init__()

    def wrap_key(self, key: bytes, _: str) -> bytes:
        return base64.b64encode(key)

    def unwrap_key(self, key: bytes, _: str) -> bytes:
        return base64.b64decode(key)


@pytest.mark.parametrize("plaintext_footer", [True, False])
def test_encrypted(plaintext_footer: bool) -> None:  # noqa: FBT001
    """The whole of it, or a column that is to be read: refused with that word."""
    configuration = pe.EncryptionConfiguration(
        footer_key="k", column_keys={"k": ["mail"]}, plaintext_footer=plaintext_footer, cache_lifetime=timedelta(1)
    )
    properties = pe.CryptoFactory(_Kms).file_encryption_properties(pe.KmsConnectionConfig(), configuration)
    out = io.BytesIO()
    table = PEOPLE.select(["mail"])
    with pq.ParquetWriter(out, table.schema, encryption_properties=properties) as writer:
        writer.write_table(table)
    with pytest.raises(UnreadableParquet) as refused:
        mails(out.getvalue())
    assert refused.value.reason == "encrypted"
