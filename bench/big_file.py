"""`python -m bench.big_file [--gib N] [KIND...]`: a file larger than memory, through what ingest and the uploader do.

Each half runs in a process of its own, with its memory set as the service sets it, over the same generated file: ingest
cuts it into chunks, the uploader's reader prepares them, as many at once as the uploader has desks by default, whose
bodies stay until the next ones are there. Told are the peak of the resident memory, above what the process holds idle
with everything imported, how it grew over the second half of the file, and the passes over what is compressed.
"""

import argparse
import asyncio
import gzip
import json
import resource
import subprocess
import sys
import tempfile
import time
from collections.abc import AsyncIterator, Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any
from uuid import UUID

import orjson

from bench.watching import resident
from connector.runtime.memory import give_back
from services.uploader.settings import UploadSettings

MIB, GIB = 1 << 20, 1 << 30
LIMIT_MIB = 300
"""What each process may hold."""

KINDS = ("ndjson.gz", "ndjson", "csv", "parquet")
MAPPING: dict[str, Any] = {
    "columns": {
        "email": {"key": "EMAIL", "mode": "raw"},
        "first": {"key": "FN", "mode": "raw"},
        "last": {"key": "LN", "mode": "raw"},
        "zip": {"key": "ZIP", "mode": "raw"},
        "country": {"key": "COUNTRY", "mode": "raw"},
    }
}
BLOCKS = 16
BLOCK_RECORDS = 20_000
UPLOAD = UploadSettings()
DESKS = min(UPLOAD.concurrency, UPLOAD.bodies) + UPLOAD.workers
"""Chunks in memory at once, by default: bodies that are being sent, and chunks that are prepared."""


def main() -> None:
    """Generates, runs both halves of every kind, prints a line for each."""
    parser = argparse.ArgumentParser(prog="python -m bench.big_file", description="A file larger than memory.")
    parser.add_argument("kinds", nargs="*", metavar="KIND", help=f"of {', '.join(KINDS)}; all of them by default")
    parser.add_argument("--gib", type=float, default=0.2, help="decoded size of each file")
    parser.add_argument("--at-once", type=int, default=DESKS, help="chunks that are in memory at the same time")
    parser.add_argument("--step", nargs=3, metavar=("STEP", "FILE", "PLAN"), help=argparse.SUPPRESS)
    arguments = parser.parse_args()
    if arguments.step:
        step, file, plan = arguments.step
        if step == "uploader":
            give_back()
        print(json.dumps(asyncio.run(_STEPS[step](Path(file), Path(plan), arguments.at_once))))
        return
    print(f"{'file':<12} {'half':<9} {'idle':>6} {'peak':>6} {'above':>6} {'2nd half':>9}  MiB {'seconds':>9} told")
    for kind in arguments.kinds or KINDS:
        with tempfile.TemporaryDirectory() as folder:
            path = Path(folder) / f"people.{kind}"
            _generate(path, int(arguments.gib * GIB))
            for step in _STEPS:
                _report(kind, step, _in_own_process(step, path, Path(folder) / "plan", arguments.at_once))


def _in_own_process(step: str, path: Path, plan: Path, at_once: int) -> dict[str, Any]:
    command = [sys.executable, "-m", "bench.big_file", "--at-once", str(at_once), "--step", step, str(path), str(plan)]
    found = subprocess.run(command, check=True, capture_output=True, text=True)  # noqa: S603 - ourselves
    figures: dict[str, Any] = json.loads(found.stdout.splitlines()[-1])
    return figures


def _report(kind: str, step: str, figures: dict[str, Any]) -> None:
    memory = "{idle:>6.0f} {peak:>6.0f} {above:>6.0f} {growth:>+9.0f}".format_map(figures)
    verdict = "" if figures["peak"] < LIMIT_MIB else f"  MORE THAN {LIMIT_MIB} MiB"
    print(f"{kind:<12} {step:<9} {memory}      {figures['seconds']:>9.1f} {figures['told']}{verdict}", flush=True)


def _generate(path: Path, size: int) -> None:
    """*size* decoded bytes, of a few blocks of people in turn: cheap to write, and as dense as a list of people is."""
    if path.suffix == ".parquet":
        _generate_parquet(path, size)
        return
    is_table = path.suffix == ".csv"
    blocks = [b"".join(_lines(number, is_table=is_table)) for number in range(BLOCKS)]
    packed = [gzip.compress(block, 6) for block in blocks] if path.suffix == ".gz" else blocks
    with path.open("wb") as file:
        if is_table:
            file.write(",".join(MAPPING["columns"]).encode() + b"\n")
        written, number = 0, 0
        while written < size:
            file.write(packed[number % BLOCKS])
            written += len(blocks[number % BLOCKS])
            number += 1


def _generate_parquet(path: Path, size: int) -> None:
    import pyarrow as pa  # noqa: PLC0415 - a process that is measured holds what it needs
    from pyarrow.parquet import ParquetWriter  # noqa: PLC0415

    tables = [pa.Table.from_pylist(list(_people(number))) for number in range(BLOCKS)]
    schema = tables[0].schema
    written, number = 0, 0
    with ParquetWriter(path, schema, compression="zstd") as writer:
        while written < size:
            # Row groups of 400,000 rows: some 40 MB.
            group = pa.concat_tables(tables[(number + each) % BLOCKS] for each in range(20))
            writer.write_table(group, row_group_size=len(group))
            written += group.nbytes
            number += 1


def _people(block: int) -> Iterator[dict[str, str]]:
    for number in range(block * BLOCK_RECORDS, (block + 1) * BLOCK_RECORDS):
        shuffled = number * 2_654_435_761 % (1 << 32)
        yield {
            "email": f"Person.{shuffled:x}.{number}@example.com",
            "first": f"Jos\u00e9{shuffled % 977}",
            "last": f"Name{shuffled % 7919}",
            "zip": f"{shuffled % 99_999:05d}",
            "country": "us" if shuffled % 3 else "United Kingdom",
        }


def _lines(block: int, *, is_table: bool) -> Iterator[bytes]:
    for person in _people(block):
        yield (",".join(person.values()).encode() if is_table else orjson.dumps(person)) + b"\n"


class _Memory:
    """The resident memory of this process: at the beginning, at its peak, and by the share of the work done."""

    def __init__(self) -> None:
        self.idle = resident()
        self._samples: list[float] = []

    def sample(self) -> None:
        self._samples.append(resident())

    def figures(self, started: float, told: str) -> dict[str, object]:
        peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024
        middle = len(self._samples) // 2
        growth = max(self._samples[middle:], default=0.0) - max(self._samples[:middle], default=0.0)
        seconds = time.perf_counter() - started
        return {
            "idle": self.idle,
            "peak": peak,
            "above": peak - self.idle,
            "growth": growth,
            "seconds": seconds,
            "told": told,
        }


async def _ingest(path: Path, plan: Path, _: int) -> dict[str, object]:
    """Cuts the file; writes its chunks down for the other half."""
    from connector.files.cutting import START, Chunk  # noqa: PLC0415
    from connector.files.formats import FileKind, kind_of  # noqa: PLC0415
    from connector.files.limits import DEFAULT_LIMITS  # noqa: PLC0415
    from connector.objects.folder import FolderObjects  # noqa: PLC0415
    from schemas.events import Compression, FileRef, Format, Table  # noqa: PLC0415
    from services.ingest.cutting import stretches  # noqa: PLC0415
    from services.ingest.files import PlannedFile  # noqa: PLC0415
    from services.ingest.states import Planning  # noqa: PLC0415

    store = FolderObjects(path.parent)
    info = await store.head(path.name)
    kind = kind_of(FileRef(name=path.name, store="local", key=path.name))
    if not isinstance(kind, FileKind):
        raise TypeError(kind.message)
    table = Table(delimiter=",", width=5, positions=(0, 1, 2, 3, 4)) if kind.format is Format.CSV else None
    planned = PlannedFile(
        revision=1,
        index=0,
        name=path.name,
        store="local",
        key=path.name,
        planning=Planning.PENDING,
        etag=info.etag,
        checkpoint=START,
        kind=kind,
        table=table,
    )
    ranges = "decoded" if kind.compression is not Compression.NONE else "bytes"
    memory, started, count, records = _Memory(), time.perf_counter(), 0, 0
    with plan.open("wb") as out:
        async for stretch in stretches(store, planned, DEFAULT_LIMITS):
            for item in stretch.items:
                if not isinstance(item, Chunk):
                    continue
                span: dict[str, object] = {"start": item.start, "end": item.end}
                if item.row_group is not None:
                    span |= {"kind": "rows", "row_group": item.row_group}
                else:
                    span |= {"kind": ranges}
                chunk = {"range": span, "first_record": item.first_record, "first_line": item.first_line}
                chunk |= {"records": item.records, "chunk_index": count, "etag": info.etag, "key": path.name}
                chunk |= {"format": kind.format, "compression": kind.compression}
                chunk["table"] = table and table.model_dump()
                out.write(orjson.dumps(chunk) + b"\n")
                count, records = count + 1, records + item.records
            memory.sample()
    return memory.figures(started, f"{records:,} records in {count:,} chunks")


async def _uploader(path: Path, plan: Path, at_once: int) -> dict[str, object]:
    """Prepares every chunk; what would be sent is counted and thrown away."""
    import pyarrow.parquet  # noqa: F401, PLC0415 - idle is with everything imported

    from connector.audience.prepare import Prepared  # noqa: PLC0415
    from connector.objects.folder import FolderObjects  # noqa: PLC0415
    from connector.objects.stores import Stores  # noqa: PLC0415
    from connector.telemetry import Telemetry  # noqa: PLC0415
    from services.uploader.reading import ChunkReader  # noqa: PLC0415
    from services.uploader.settings import ReadingSettings  # noqa: PLC0415

    stores, sent, most_kept = Stores({"local": FolderObjects(path.parent)}), 0, 0
    memory, started = _Memory(), time.perf_counter()
    with ThreadPoolExecutor(UPLOAD.workers) as workers:
        async with ChunkReader(stores, workers, Telemetry(), ReadingSettings()) as reader:
            chunks = _Chunks(plan)

            async def one_after_another() -> None:
                nonlocal sent, most_kept
                async for chunk in chunks:
                    prepared = await reader.prepared(chunk)
                    if not isinstance(prepared, Prepared):
                        raise RuntimeError(prepared)  # noqa: TRY004 - not a wrong type but a chunk that failed
                    sent += prepared.sent
                    most_kept = max(most_kept, reader.streams.kept)
                    memory.sample()

            await asyncio.gather(*(one_after_another() for _ in range(at_once)))
            told = f"{sent:,} people, {reader.streams.opened} passes, {most_kept / MIB:.0f} MiB kept"
            return memory.figures(started, told)


class _Chunks:
    """The chunks of a plan, for several to take from."""

    def __init__(self, plan: Path) -> None:
        self._lines = plan.open("rb")

    def __aiter__(self) -> AsyncIterator[Any]:
        return self

    async def __anext__(self) -> Any:
        from schemas.events import ChunkReady  # noqa: PLC0415

        line = self._lines.readline()
        if not line:
            raise StopAsyncIteration
        fields = {"revision": 1, "file_index": 0, "company_id": 1, "profile_id": UUID(int=1), "ad_account_id": "act_1"}
        fields |= {"audience_id": "1", "operation": "add", "layout": "columns", "mapping": MAPPING, "store": "local"}
        return ChunkReady.model_validate({**fields, "file_name": "people", **orjson.loads(line)})


_STEPS = {"ingest": _ingest, "uploader": _uploader}

if __name__ == "__main__":
    main()
