"""An advertiser's own list to request bodies: twelve raw keys, ours beside Meta's Python SDK and beside the floor.

The floor is what cannot be left out, measured in the same run: the same parser over the same bytes, each distinct value
hashed once (finding them is not counted) by the fastest hash there is for Python, and one copy of the bodies.
"""

import json
import tempfile
from collections.abc import Iterator
from dataclasses import dataclass
from functools import partial
from itertools import islice
from pathlib import Path

import polars as pl
import polars_hash as plh
from facebook_business.adobjects.customaudience import CustomAudience

from bench.customers import COLUMNS, MAPPING, write_ndjson
from bench.measuring import Figure, seconds
from bench.request_body import SDK
from connector.audience.layouts import Reading, reading_of
from connector.audience.prepare import prepare
from connector.audience.records_ndjson import read_ndjson
from schemas.events import MAX_CHUNK_RECORDS, Layout

FLOOR = "floor"


def measure(*, records: int = 200_000, rounds: int = 3, seed: int = 26) -> list[Figure]:
    """Records per second of all three, on a generated file of *records* people."""
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "customers.ndjson"
        write_ndjson(path, records, seed=seed)
        blocks = list(blocks_of(path))
        work = [_unavoidable(block) for block in blocks]
        contenders = {
            "ours": partial(our_bodies, blocks),
            SDK: partial(_exhaust, path),
            FLOOR: lambda: [part.run() for part in work],
        }
        took = seconds(contenders, rounds=rounds)
    peers = {name: records / took[name] for name in (SDK, FLOOR)}
    return [Figure("customers_ndjson", "records/s", records / took["ours"], peers)]


def blocks_of(path: Path) -> Iterator[bytes]:
    """The file in chunks as ingest cuts them."""
    with path.open("rb") as file:
        while lines := list(islice(file, MAX_CHUNK_RECORDS)):
            yield b"".join(lines)


def our_bodies(blocks: list[bytes]) -> int:
    """Prepares chunk by chunk as the uploader does, keeping none; the bytes of all bodies."""
    reading = reading_of(Layout.COLUMNS, MAPPING)
    return sum(len(body) for block in blocks for body in bodies_of(block, reading))


def bodies_of(block: bytes, reading: Reading) -> list[bytes]:
    """The bodies of one chunk."""
    records = read_ndjson(block, reading, first_record=1, first_line=1)
    return [batch.payload() for batch in prepare(records, reading).batches]


def sdk_bodies(path: Path) -> Iterator[bytes]:
    """The SDK's road: what its users write."""
    with path.open(encoding="utf-8") as file:
        while lines := list(islice(file, MAX_CHUNK_RECORDS)):
            people = [json.loads(line) for line in lines]
            users = [[person[name.lower()] for name in COLUMNS] for person in people]
            params = CustomAudience.format_params(list(COLUMNS), users, is_raw=True)
            yield json.dumps(params["payload"]).encode()


def _exhaust(path: Path) -> int:
    return sum(len(body) for body in sdk_bodies(path))


@dataclass(frozen=True)
class _Unavoidable:
    """What has to be done with one chunk, however it is done."""

    block: bytes
    distinct: pl.DataFrame
    bodies: list[bytes]

    def run(self) -> int:
        """Parses, hashes and copies."""
        parsed = pl.read_ndjson(self.block, schema={name.lower(): pl.String() for name in COLUMNS})
        hashed = self.distinct.select(plh.col("value").chash.sha2_256())
        return parsed.height + hashed.height + sum(len(bytearray(body)) for body in self.bodies)


def _unavoidable(block: bytes) -> _Unavoidable:
    frame = pl.read_ndjson(block, schema={name.lower(): pl.String() for name in COLUMNS})
    distinct = pl.concat([frame[name.lower()].unique().alias("value") for name in COLUMNS]).to_frame()
    return _Unavoidable(block, distinct, bodies_of(block, reading_of(Layout.COLUMNS, MAPPING)))
