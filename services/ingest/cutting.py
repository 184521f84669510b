"""Reading a file into stretches of chunks: one way per format, the same for the planner."""

import asyncio
from collections.abc import AsyncGenerator
from contextlib import aclosing
from dataclasses import dataclass
from typing import assert_never

from connector.files.cutting import Checkpoint, Item
from connector.files.limits import Limits
from connector.files.text import TextCutting
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
        LimitViolated: It is more than it may be.
    """
    match file.kind.format:
        case Format.NDJSON | Format.CSV | Format.TSV:
            return _of_text(store, file, limits)
        case Format.PARQUET:
            raise NotImplementedError("the inspection refuses Parquet")
        case _:
            assert_never(file.kind.format)


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
