"""The first records of a file on this machine, as a delivery would read them."""

import gzip
from collections.abc import Iterator
from pathlib import Path
from typing import IO

from connector.audience.layouts import Reading
from connector.audience.records import Records
from connector.audience.records_ndjson import read_ndjson
from connector.files.ndjson import MAX_CHUNK_BYTES, MAX_LINE_BYTES

BLOCK = 1 << 20


class Unreadable(Exception):
    """Why no record of a file can be read, in words for its owner."""


def head(path: Path, reading: Reading, *, records: int) -> Iterator[Records]:
    """The first *records* records of the file at *path*, in pieces that fit into memory.

    Raises:
        Unreadable: It is not what its name says, or violates a limit.
    """
    with gzip.open(path, "rb") if path.suffix == ".gz" else path.open("rb") as lines:
        yield from _ndjson(lines, reading, records)


def _ndjson(lines: IO[bytes], reading: Reading, wanted: int) -> Iterator[Records]:
    record = line = 1
    while wanted > 0:
        block, held = [], 0
        while len(block) < wanted and held < MAX_CHUNK_BYTES - MAX_LINE_BYTES:
            text = lines.readline(MAX_LINE_BYTES + 1)
            if not text:
                break
            block.append(text)
            held += len(text)
        if not block:
            return
        found = read_ndjson(b"".join(block), reading, first_record=record, first_line=line)
        yield found
        record, line, wanted = record + found.count, line + len(block), wanted - found.count
