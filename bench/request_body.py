"""From the bytes of a file to the bodies of its `users` calls, ours beside Meta's own Python SDK.

Both read the same file of the dataset layout and end with JSON bytes, 10,000 records at a time. The SDK's road is what
its users write: `json.loads` a line, pick the values, `CustomAudience.format_params`, `json.dumps`. What it does less
than ours is not held against it: it validates nothing, keeps no account of rejects and has one row per record. It also
hashes the hashes and the device ids once more, because its multi-key form knows nothing else: two of ten cells a row.
"""

import json
import tempfile
from collections.abc import Iterator
from functools import partial
from itertools import islice
from pathlib import Path
from typing import Any

from facebook_business.adobjects.customaudience import CustomAudience

from bench.measuring import Figure, seconds
from bench.people import write_people
from connector.audience.layouts import reading_of
from connector.audience.prepare import prepare
from connector.audience.records_ndjson import read_ndjson
from connector.files.cutting import Chunk
from connector.files.ndjson import NdjsonCutter
from schemas.events import MAX_CHUNK_RECORDS, Layout

SDK = "facebook_business"
SDK_SCHEMA = ["EMAIL", "GEN", "DOBY", "DOBM", "DOBD", "LN", "FN", "FI", "COUNTRY", "MADID"]
_BLOCK = 1 << 20


def measure(*, records: int = 50_000, rounds: int = 5, seed: int = 26) -> list[Figure]:
    """Records per second of both, on a generated file of *records* people."""
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "people.ndjson"
        write_people(path, records, seed=seed)
        contenders = {"ours": partial(_exhaust, our_bodies, path), SDK: partial(_exhaust, sdk_bodies, path)}
        took = seconds(contenders, rounds=rounds)
    return [Figure("request_body", "records/s", records / took["ours"], {SDK: records / took[SDK]})]


def our_bodies(path: Path) -> Iterator[bytes]:
    """Plans the file as ingest does, then prepares chunk by chunk as the uploader does: bodies in pieces."""
    reading = reading_of(Layout.NARRATIVE_DATASET)
    with path.open("rb") as plan, path.open("rb") as file:
        cutter = NdjsonCutter()
        items = [item for block in iter(partial(plan.read, _BLOCK), b"") for item in cutter.feed(block)]
        for chunk in [*items, *cutter.finish()]:
            if not isinstance(chunk, Chunk):
                continue
            file.seek(chunk.start)
            block = file.read(chunk.end - chunk.start)
            records = read_ndjson(block, reading, first_record=chunk.first_record, first_line=chunk.first_line)
            for batch in prepare(records, reading).batches:
                yield from batch.give_body()


def sdk_bodies(path: Path) -> Iterator[bytes]:
    """The SDK's road."""
    with path.open(encoding="utf-8") as file:
        while lines := list(islice(file, MAX_CHUNK_RECORDS)):
            users = [sdk_values(json.loads(line)) for line in lines]
            params = CustomAudience.format_params(SDK_SCHEMA, users, is_raw=True)
            yield json.dumps(params["payload"]).encode()


def sdk_values(record: dict[str, Any]) -> list[str]:
    """The cells of a record in the order of `SDK_SCHEMA`, empty where there is none."""
    email: dict[str, str] = next(
        (record[name] for name in ("unique_id", "hashed_email", "sha256_hashed_email") if name in record), {}
    )
    device: dict[str, str] = next(
        (record[name] for name in ("android_advertising_id", "apple_idfa") if name in record), {}
    )
    name = record.get("person_name", {})
    born = record.get("birthdate", "").strip() or str(record.get("birth_year", ""))
    return [
        email.get("value", ""),
        record.get("hl7_gender", {}).get("gender", ""),
        born[:4],
        born[5:7] if len(born) > 6 else "",
        born[8:10],
        name.get("family_name", ""),
        name.get("given_name", ""),
        name.get("given_name", "").strip()[:1],
        record.get("iso_3166_1_country", ""),
        device.get("value", ""),
    ]


def _exhaust(bodies: Any, path: Path) -> int:
    """Takes every body, keeps none: a caller sends one before it asks for the next."""
    return sum(len(body) for body in bodies(path))
