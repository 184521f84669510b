"""An advertiser's own list to request bodies: twelve raw keys, ours beside Meta's Python SDK and beside the floor.

The same people as NDJSON, CSV and Parquet. The floor is what cannot be left out, measured in the same run: the same
parser over the same bytes, each distinct value hashed once (finding them is not counted) by the fastest hash there is
for Python, and one copy of the bodies.
"""

import csv
import io
import json
import tempfile
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from functools import partial
from pathlib import Path

import polars as pl
import polars_hash as plh
from facebook_business.adobjects.customaudience import CustomAudience

from bench.customers import COLUMNS, MAPPING, Person, customers, write_csv, write_ndjson
from bench.measuring import Figure, seconds
from bench.request_body import SDK
from connector.audience.encoding import Body
from connector.audience.layouts import reading_of
from connector.audience.prepare import prepare
from connector.audience.records import Records
from connector.audience.records_ndjson import read_ndjson
from connector.audience.records_parquet import parquet_records
from connector.files.delimited import read_table
from schemas.events import MAX_CHUNK_RECORDS, Layout, Table

FLOOR = "floor"
READING = reading_of(Layout.COLUMNS, MAPPING)
NAMES = [name.lower() for name in COLUMNS]
_TABLE = Table(delimiter=",", width=len(NAMES), positions=tuple(range(len(NAMES))))


@dataclass(frozen=True)
class Form:
    """A format: how our pipeline reads a chunk of it, how its parser alone does, and how users of the SDK do."""

    name: str
    write: Callable[[Path, int, int], None]
    records: Callable[[bytes], Records]
    parse: Callable[[bytes], pl.DataFrame]
    people: Callable[[bytes], Iterable[Person]]

    def bodies(self, block: bytes) -> list[Body]:
        """The bodies of one chunk, as the uploader makes them: in pieces."""
        return [batch.body() for batch in prepare(self.records(block), READING).batches]

    def exhaust(self, blocks: list[bytes]) -> int:
        """Makes every body, keeps none; the bytes of all."""
        return sum(len(piece) for block in blocks for body in self.bodies(block) for piece in body)

    def exhaust_sdk(self, blocks: list[bytes]) -> int:
        """The same on the SDK's road."""
        return sum(len(sdk_body(self.people(block))) for block in blocks)


def measure(*, records: int = 200_000, rounds: int = 5, seed: int = 26) -> list[Figure]:
    """Records per second of all three in every format, of *records* people."""
    return [_measured(form, records, rounds, seed) for form in FORMS]


def _measured(form: Form, records: int, rounds: int, seed: int) -> Figure:
    with tempfile.TemporaryDirectory() as folder:
        blocks = list(blocks_of(form, Path(folder), records, seed=seed))
    work = [_unavoidable(form, block) for block in blocks]
    contenders: dict[str, Callable[[], object]] = {
        "ours": partial(form.exhaust, blocks),
        SDK: partial(form.exhaust_sdk, blocks),
        FLOOR: lambda: [part.run() for part in work],
    }
    took = seconds(contenders, rounds=rounds)
    return Figure(form.name, "records/s", records / took["ours"], {peer: records / took[peer] for peer in (SDK, FLOOR)})


def blocks_of(form: Form, folder: Path, records: int, *, seed: int) -> Iterator[bytes]:
    """Files of that many people, in chunks as ingest cuts them; of Parquet each is a row group."""
    for number, start in enumerate(range(0, records, MAX_CHUNK_RECORDS)):
        path = folder / f"{number}"
        form.write(path, min(MAX_CHUNK_RECORDS, records - start), seed + number)
        yield path.read_bytes()


def sdk_body(people: Iterable[Person]) -> bytes:
    """The SDK's road: what its users write."""
    users = [[person[name] for name in NAMES] for person in people]
    params = CustomAudience.format_params(list(COLUMNS), users, is_raw=True)
    return json.dumps(params["payload"]).encode()


@dataclass(frozen=True)
class _Unavoidable:
    """What has to be done with one chunk, however it is done."""

    form: Form
    block: bytes
    distinct: pl.DataFrame
    bodies: list[Body]

    def run(self) -> int:
        """Parses, hashes and copies."""
        parsed = self.form.parse(self.block)
        hashed = self.distinct.select(plh.col("value").chash.sha2_256())
        return parsed.height + hashed.height + sum(len(bytearray(piece)) for body in self.bodies for piece in body)


def _unavoidable(form: Form, block: bytes) -> _Unavoidable:
    frame = form.parse(block)
    distinct = pl.concat([frame[name].unique().alias("value") for name in NAMES]).to_frame()
    return _Unavoidable(form, block, distinct, form.bodies(block))


def _write_rows(path: Path, count: int, seed: int) -> None:
    """CSV without its header, which is in no chunk."""
    write_csv(path, count, seed=seed)
    path.write_bytes(path.read_bytes().partition(b"\n")[2])


NDJSON = Form(
    name="customers_ndjson",
    write=lambda path, count, seed: write_ndjson(path, count, seed=seed),
    records=lambda block: read_ndjson(block, READING, first_record=1, first_line=1),
    parse=lambda block: pl.read_ndjson(block, schema=dict.fromkeys(NAMES, pl.String())),
    people=lambda block: map(json.loads, block.splitlines()),
)
CSV = Form(
    name="customers_csv",
    write=_write_rows,
    records=lambda block: read_table(block, _TABLE, READING, first_record=1, first_line=2),
    parse=lambda block: pl.read_csv(block, has_header=False, new_columns=NAMES, infer_schema=False),
    people=lambda block: csv.DictReader(io.StringIO(block.decode()), NAMES),
)
PARQUET = Form(
    name="customers_parquet",
    write=lambda path, count, seed: pl.DataFrame(list(customers(count, seed=seed))).write_parquet(path),
    records=lambda block: parquet_records(pl.read_parquet(block), READING, first_record=1),
    parse=pl.read_parquet,
    people=lambda block: pl.read_parquet(block).iter_rows(named=True),
)
FORMS = (NDJSON, CSV, PARQUET)
