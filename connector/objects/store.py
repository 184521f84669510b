"""What every object store does, whatever it is made of."""

from collections.abc import AsyncGenerator
from contextlib import aclosing
from dataclasses import dataclass
from pathlib import Path
from typing import Protocol

BLOCK_BYTES = 1 << 20
"""The largest block a read hands out: what a reader holds in memory per file."""

MAX_RANGE_BYTES = 64 << 20
"""The largest range `read_range` returns in one piece. Chunks are cut at 8 MiB, so this is only met by an event we did
not write."""


@dataclass(frozen=True)
class ObjectInfo:
    """An object without its bytes. `etag` is a strong validator without quotes: equal etags mean equal bytes."""

    size: int
    etag: str


class ObjectStore(Protocol):
    """A place with objects. All methods raise the errors of `connector.objects.errors` and no others."""

    async def head(self, key: str) -> ObjectInfo:
        """Size and etag of an object."""
        ...

    def read(
        self, key: str, *, start: int = 0, end: int | None = None, etag: str | None = None
    ) -> AsyncGenerator[bytes, None]:
        """Streams bytes `start` (inclusive) to `end` (exclusive; None: to the end) in blocks of at most 1 MiB.

        With *etag*, only that version is read. Close an iteration that ends early with `contextlib.aclosing`, so that
        the connection or descriptor is given back at once.
        """
        ...

    async def read_range(self, key: str, start: int, end: int, etag: str) -> bytes:
        """Exactly the bytes `start` to `end` of the version *etag*, at most `MAX_RANGE_BYTES` of them."""
        ...

    async def put_file(self, key: str, path: Path) -> ObjectInfo:
        """Copies a local file into the store. Readers see the old object or the new one, never half of it."""
        ...


async def read_range(store: ObjectStore, key: str, start: int, end: int, etag: str) -> bytes:
    """`ObjectStore.read_range` in terms of `ObjectStore.read`, which promises the length.

    Raises:
        ValueError: The range is empty or larger than `MAX_RANGE_BYTES`: the caller's mistake, not the store's.
    """
    if not 0 < end - start <= MAX_RANGE_BYTES:
        raise ValueError(f"range {start}-{end} is not between 1 and {MAX_RANGE_BYTES} bytes")
    async with aclosing(store.read(key, start=start, end=end, etag=etag)) as blocks:
        return b"".join([block async for block in blocks])


def check_range(start: int, end: int | None) -> None:
    """Refuses what is no range.

    Raises:
        ValueError: *start* is negative, or *end* is not after it.
    """
    if start < 0 or (end is not None and end <= start):
        raise ValueError(f"range {start}-{end} is not a range")


def unquoted(etag: str) -> str:
    """An etag as we keep it: HTTP writes `"abc"`, S3's listings and upstream's events sometimes `abc`."""
    return etag.strip().strip('"')
