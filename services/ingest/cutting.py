"""Reading a file into stretches of chunks: one way per format, the same for the planner."""

import asyncio
from collections.abc import AsyncGenerator
from contextlib import aclosing
from dataclasses import dataclass
from itertools import islice
from typing import assert_never

from connector.files.cutting import Checkpoint, Chunk, Item
from connector.files.limits import Limits
from connector.files.parquet_footer import RowChunk, read_footer, row_ranges
from connector.files.text import TextCutting
from connector.objects.ranged import open_ranged
from connector.objects.store import ObjectStore
from schemas.events import Format
from services.ingest.files import PlannedFile


@dataclass(frozen=True)
class Stretch:
    """What the next part of a file became, and where to go on after it. Often nothing: the last chunk is not full."""

    items: list[Item]
    checkpoint: Checkpoint


def stretches(store: ObjectStore, file: PlannedFile, limits: Limits) -> AsyncGenerator[Stretch, None]:
    """Reads the pinned version of *file* from its checkpoint to its end.

    Raises:
        StoreError: It could not be read, for now or for good.
        Corrupt: It is not of its compression.
        UnreadableParquet: It is not Parquet, or damaged.
        LimitViolated: It is more than it may be.
    """
    match file.kind.format:
        case Format.NDJSON | Format.CSV | Format.TSV:
            return _of_text(store, file, limits)
        case Format.PARQUET:
            return _of_parquet(store, file, limits)
        case _:
            assert_never(file.kind.format)


STRETCH_CHUNKS = 50
"""Chunks of a Parquet file that are told at once."""

FOOTER_SECONDS = 60.0
"""How long one read of a Parquet file's footer may take."""


async def _of_parquet(store: ObjectStore, file: PlannedFile, limits: Limits) -> AsyncGenerator[Stretch, None]:
    """Only the footer is read: it tells the rows of each row group."""
    opened = await open_ranged(store, file.key, file.etag or "", seconds=FOOTER_SECONDS)
    footer = await asyncio.to_thread(read_footer, opened, limits)
    chunks = islice(row_ranges(footer.row_groups), file.checkpoint.chunks, None)
    checkpoint = file.checkpoint
    while found := [_chunk(chunk) for chunk in islice(chunks, STRETCH_CHUNKS)]:
        records = checkpoint.records + sum(chunk.records for chunk in found)
        checkpoint = Checkpoint(records, records, records, checkpoint.chunks + len(found))
        yield Stretch(list(found), checkpoint)


def _chunk(chunk: RowChunk) -> Chunk:
    rows = chunk.range
    return Chunk(rows.start, rows.end, chunk.first_record, chunk.first_record, chunk.records, row_group=rows.row_group)


async def _of_text(store: ObjectStore, file: PlannedFile, limits: Limits) -> AsyncGenerator[Stretch, None]:
    """Decodes and cuts in threads: a megabyte takes milliseconds, and others are planned meanwhile."""
    cutting = TextCutting(file.kind, file.table, file.checkpoint, limits)
    async with aclosing(store.read(file.key, start=cutting.start, etag=file.etag)) as blocks:
        async for block in blocks:
            steps = cutting.feed(block)
            while (items := await asyncio.to_thread(next, steps, None)) is not None:
                yield Stretch(items, cutting.checkpoint)
    items = await asyncio.to_thread(cutting.finish)
    yield Stretch(items, cutting.checkpoint)
