"""An object as a file, over every object store: what a library reads of it is what was planned, or an error of ours."""

import asyncio
import io
import random
from collections.abc import Callable
from pathlib import Path
from typing import TypeVar

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from connector.audience.layouts import reading_of
from connector.files.parquet import batches, frame_records
from connector.files.parquet_footer import read_footer
from connector.objects.errors import ObjectChanged, ObjectMissing, StoreUnavailable
from connector.objects.ranged import BLOCK_BYTES, KEPT_BLOCKS, RangedFile, open_ranged
from connector.objects.store import ObjectInfo, ObjectStore
from schemas.events import Layout
from tests.contract.test_object_stores import put, s3_url, store, stores

__all__ = ["s3_url", "store", "stores"]  # fixtures

Answer = TypeVar("Answer")
CONTENT = random.Random(4).randbytes(3 * BLOCK_BYTES + 77)


async def in_thread(work: Callable[[], Answer]) -> Answer:
    """As a library would: in a thread, while the loop reads."""
    return await asyncio.to_thread(work)


class TestReading:
    async def test_reads_are_those_of_a_file(self, store: ObjectStore, tmp_path: Path) -> None:
        """Any seeks and reads give what a local file gives."""
        file = await open_ranged(store, "a", await put(store, tmp_path, "a", CONTENT), seconds=10)
        local, rng = io.BytesIO(CONTENT), random.Random(5)

        def compare() -> None:
            for _ in range(60):
                at, size = rng.randrange(len(CONTENT) + 9), rng.choice([0, 1, 8, 4096, BLOCK_BYTES, 2 * BLOCK_BYTES])
                assert (local.seek(at), local.read(size), local.tell()) == (file.seek(at), file.read(size), file.tell())
            assert (local.seek(-5, 2), local.read()) == (file.seek(-5, 2), file.read())

        await in_thread(compare)

    async def test_small_reads_are_put_together(self, store: ObjectStore, tmp_path: Path) -> None:
        """A file read in little pieces asks the store once per block, and keeps few of them."""
        file = await open_ranged(store, "a", await put(store, tmp_path, "a", CONTENT), seconds=10)

        pieces = await in_thread(lambda: list(iter(lambda: file.read(5_000), b"")))
        assert CONTENT == b"".join(pieces)
        assert (4, True) == (file.asked, len(file._blocks) <= KEPT_BLOCKS)

    async def test_only_the_planned_version(self, store: ObjectStore, tmp_path: Path) -> None:
        """Another version is not opened, nor read once it was opened; nothing is no version."""
        etag = await put(store, tmp_path, "a", CONTENT)
        file = await open_ranged(store, "a", etag, seconds=10)
        await put(store, tmp_path, "a", b"something else")

        with pytest.raises(ObjectChanged):
            await in_thread(lambda: file.read(10))
        with pytest.raises(ObjectChanged):
            await open_ranged(store, "a", etag, seconds=10)
        with pytest.raises(ObjectMissing):
            await open_ranged(store, "b", etag, seconds=10)

    async def test_rows_of_parquet(self, store: ObjectStore, tmp_path: Path) -> None:
        """The footer and one row group cost a few reads, and the columns that nobody asks for none."""
        people = [{"value": f"{row:064x}", "type": "sha256_email"} for row in range(4_000)]
        ballast = [random.Random(row).randbytes(500) for row in range(4_000)]
        local = io.BytesIO()
        pq.write_table(pa.table({"ballast": ballast, "hashed_email": people}), local, row_group_size=2_000)
        reading = reading_of(Layout.NARRATIVE_DATASET)
        etag = await put(store, tmp_path, "p.parquet", local.getvalue())
        file = await open_ranged(store, "p.parquet", etag, seconds=10)

        assert (2_000, 2_000) == (await in_thread(lambda: read_footer(file))).row_groups
        records = await in_thread(lambda: frame_records(batches(file, 1, reading), reading, first_record=2_001))
        assert [row["value"] for row in people[2_000:]] == records.frame["/hashed_email/value"].to_list()
        assert file.asked <= 4

    async def test_errors_of_the_store_come_through_the_library(self, store: ObjectStore, tmp_path: Path) -> None:
        """What the store says is not taken for a damaged file."""
        local = io.BytesIO()
        pq.write_table(pa.table({"birth_year": list(range(300_000))}), local, compression="none", use_dictionary=False)
        reading = reading_of(Layout.NARRATIVE_DATASET)
        file = await open_ranged(store, "p", await put(store, tmp_path, "p", local.getvalue()), seconds=10)
        rows = batches(file, 0, reading)

        await in_thread(lambda: next(rows))
        await put(store, tmp_path, "p", b"another version")
        with pytest.raises(ObjectChanged):
            await in_thread(lambda: list(rows))


class Silent:
    """A store that does not answer."""

    async def read_range(self, *_: object) -> bytes:
        """Never."""
        await asyncio.Event().wait()
        raise AssertionError


async def test_a_store_that_does_not_answer() -> None:
    """No read waits longer than it may, and one of a closed file not at all."""
    file = RangedFile(Silent(), "a", ObjectInfo(100, "e"), seconds=0.05)  # type: ignore[arg-type]
    with pytest.raises(StoreUnavailable):
        await in_thread(lambda: file.read(10))
    file.close()
    with pytest.raises(StoreUnavailable):
        await in_thread(lambda: file.read(10))
