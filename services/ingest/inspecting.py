"""Looking at a file before it is planned: is it what it is said to be, and where are its columns.

Only its first bytes are read. What is found is written to the ledger together with the version of the object, so that
planning that goes on after a crash, and the uploader, read the file in the same way.
"""

import asyncio
from contextlib import aclosing
from dataclasses import dataclass

from connector.audience.layouts import reading_of
from connector.files.formats import FileKind, Refusal, contradiction, kind_of, text_contradiction
from connector.files.header import table_of
from connector.files.limits import Limits, check
from connector.files.parquet_footer import read_footer, refusal
from connector.files.text import decoded_head
from connector.objects.ranged import open_ranged
from connector.objects.store import ObjectInfo, ObjectStore
from schemas.events import Compression, DeliveryRequested, FileRef, Format, Table
from services.ingest.cutting import FOOTER_SECONDS

HEAD_BYTES = 256 << 10
"""How much of a file is read, and decoded, for that: the longest header there may be."""


@dataclass(frozen=True)
class Inspected:
    """How a file is to be read; `table` is set for CSV and TSV."""

    kind: FileKind
    table: Table | None = None


async def inspect(
    store: ObjectStore, event: DeliveryRequested, file: FileRef, info: ObjectInfo, limits: Limits
) -> Inspected | Refusal:
    """What *file* of *event* is, or why it cannot be read.

    Raises:
        StoreError: It could not be read, for now or for good.
        Corrupt: Its beginning is not of its compression.
        UnreadableParquet: It is not Parquet, or damaged.
        LimitViolated: It is more than it may be.
    """
    kind = kind_of(file)
    if isinstance(kind, Refusal):
        return kind
    if kind.compression is Compression.NONE:
        check("file_bytes", limits.decoded, info.size)
    else:
        check("compressed_bytes", limits.compressed, info.size)
    async with aclosing(store.read(file.key, end=min(HEAD_BYTES, info.size), etag=info.etag)) as blocks:
        head = b"".join([block async for block in blocks])
    contradicted = contradiction(kind, head)
    if contradicted is not None:
        return contradicted
    if kind.format is Format.PARQUET:
        opened = await open_ranged(store, file.key, info.etag, seconds=FOOTER_SECONDS)
        reading = reading_of(event.layout, event.mapping)
        footer = await asyncio.to_thread(read_footer, opened, limits, reading)
        return refusal(footer, reading) or Inspected(kind)
    return await asyncio.to_thread(_of_text, event, kind, head, is_whole=len(head) == info.size)


def _of_text(event: DeliveryRequested, kind: FileKind, head: bytes, *, is_whole: bool) -> Inspected | Refusal:
    text = decoded_head(head, kind.compression, HEAD_BYTES)
    contradicted = text_contradiction(text)
    if contradicted is not None:
        return contradicted
    if kind.format is Format.NDJSON:
        return Inspected(kind)
    reading = reading_of(event.layout, event.mapping)
    delimiter = event.mapping.delimiter if event.mapping is not None else None
    # Of a compressed file it is only known to be whole when it decoded to less than was asked for.
    is_whole = is_whole and len(text) < HEAD_BYTES
    table = table_of(text, kind.format, reading, delimiter, is_whole=is_whole)
    return Inspected(kind, table) if isinstance(table, Table) else table
