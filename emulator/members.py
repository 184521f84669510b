"""Who is in an audience, kept as exactly as the operator asked: counted, by digest, or row by row."""

from collections.abc import Callable, Iterator
from typing import Protocol

from emulator.people import DIGEST_BITS, Batch, People

SHARD_BITS = 5
SHARDS = 1 << SHARD_BITS
SHARD_SHIFT = DIGEST_BITS - SHARD_BITS
"""Digests are dealt by their highest bits: a set places them by the lowest, which must stay mixed."""


class NotKept(Exception):
    """Raised when a question needs more than this keeper keeps; the text names the `--keep` that would."""


class Members(Protocol):
    """The members of one audience."""

    def __len__(self) -> int:
        """Number of members."""
        ...

    def add(self, batch: Batch) -> None:
        """Make the people of *batch* members; those who are already stay so."""
        ...

    def remove(self, batch: Batch) -> None:
        """Make the people of *batch* no members; strangers are ignored."""
        ...

    def holds(self, people: People) -> list[bool]:
        """For each row whether it is a member.

        Raises:
            NotKept: Identities are not kept.
        """
        ...

    def rows(self) -> Iterator[dict[str, object]]:
        """Each member as an object of key to stored value.

        Raises:
            NotKept: Values are not kept.
        """
        ...


class CountedMembers:
    """Keeps a number: rows added less rows removed. It cannot know repeats, so it counts them."""

    def __init__(self) -> None:
        self._count = 0

    def __len__(self) -> int:
        return self._count

    def add(self, batch: Batch) -> None:
        """Count the accepted rows up."""
        self._count += batch.accepted

    def remove(self, batch: Batch) -> None:
        """Count the accepted rows down, not below nobody."""
        self._count = max(0, self._count - batch.accepted)

    def holds(self, people: People) -> list[bool]:  # noqa: ARG002 - the protocol's
        """Cannot be told."""
        raise NotKept("who is a member is not kept: start the emulator with --keep digests or --keep rows")

    def rows(self) -> Iterator[dict[str, object]]:
        """Cannot be told."""
        raise NotKept("members are not kept: start the emulator with --keep rows")


class DigestedMembers:
    """Keeps a 60-bit digest of each identity: 60 to 90 bytes a member.

    The digests are spread over many sets, because a set of ten million doubles its table in one go: that held up every
    caller for more than a second and took a quarter more memory than anything else.
    """

    def __init__(self) -> None:
        self._shards: list[set[int]] = [set() for _ in range(SHARDS)]

    def __len__(self) -> int:
        return sum(map(len, self._shards))

    def add(self, batch: Batch) -> None:
        """Add the digests of the accepted rows."""
        for digest in _people(batch).digests():
            self._shards[digest >> SHARD_SHIFT].add(digest)

    def remove(self, batch: Batch) -> None:
        """Drop the digests of the accepted rows."""
        for digest in _people(batch).digests():
            self._shards[digest >> SHARD_SHIFT].discard(digest)

    def holds(self, people: People) -> list[bool]:
        """For each row whether its digest is kept."""
        return [digest in self._shards[digest >> SHARD_SHIFT] for digest in people.digests()]

    def rows(self) -> Iterator[dict[str, object]]:
        """Cannot be told."""
        raise NotKept("values are not kept: start the emulator with --keep rows")


class ListedMembers:
    """Keeps every value, for looking inside; a member added again takes its newest attributes."""

    def __init__(self) -> None:
        self._rows: dict[int, dict[str, object]] = {}

    def __len__(self) -> int:
        return len(self._rows)

    def add(self, batch: Batch) -> None:
        """Keep the accepted rows."""
        people = _people(batch)
        self._rows.update(zip(people.digests(), people.rows(), strict=True))

    def remove(self, batch: Batch) -> None:
        """Drop the accepted rows."""
        for digest in _people(batch).digests():
            self._rows.pop(digest, None)

    def holds(self, people: People) -> list[bool]:
        """For each row whether it is kept."""
        return [digest in self._rows for digest in people.digests()]

    def rows(self) -> Iterator[dict[str, object]]:
        """The members as they stand now; changes made while iterating are not seen."""
        return iter(list(self._rows.values()))


KEEPERS: dict[str, Callable[[], Members]] = {
    "counts": CountedMembers,
    "digests": DigestedMembers,
    "rows": ListedMembers,
}
"""What `--keep` offers: name to a maker of empty memberships."""


def _people(batch: Batch) -> People:
    if batch.people is None:
        raise NotKept("rows were only counted, which is right for --keep counts alone")
    return batch.people
