"""The first records of a line-separated file, taken from its bytes as they come. Pure: its caller does the reading."""

from collections.abc import Callable
from dataclasses import dataclass, field

from connector.files.cutting import MAX_CHUNK_BYTES, MAX_LINE_BYTES, START, Checkpoint, Chunk, Cutter, Item, TooLong
from schemas.events import MAX_CHUNK_RECORDS

MAX_HELD = MAX_CHUNK_BYTES + 2 * MAX_LINE_BYTES
"""Bytes held before a piece is certain. There are only more when a line is too long: then the head ends before it."""


@dataclass(frozen=True)
class Piece:
    """A chunk with its bytes."""

    chunk: Chunk
    data: bytes = field(repr=False)


class Head:
    """Collects the first *wanted* records of a file, fed its decoded bytes in blocks of any size.

    What it hands out does not depend on how the bytes were split. It holds at most `MAX_HELD` bytes and one block.

    Args:
        cutter: Makes a cutter that goes on at a checkpoint and hands out chunks of at most so many records.
        wanted: Records, those that are too long included.
    """

    def __init__(self, cutter: Callable[[Checkpoint, int], Cutter], *, wanted: int) -> None:
        if wanted < 1:
            raise ValueError("a head has at least one record")
        self._make_cutter = cutter
        self._left = wanted
        self._cutter = cutter(START, min(wanted, MAX_CHUNK_RECORDS))
        self._held = bytearray()
        self._held_from = 0

    @property
    def is_done(self) -> bool:
        """Whether no more bytes are needed."""
        return self._left <= 0

    def feed(self, block: bytes) -> list[Piece | TooLong]:
        """Takes the next bytes; returns what became certain, in order.

        Raises:
            LimitViolated: Reading on would cost more than the file is worth.
        """
        if self.is_done:
            return []
        self._held += block
        found = self._taken(self._cutter.feed(block))
        done = self._cutter.checkpoint.offset - self._held_from
        del self._held[:done]
        self._held_from += done
        return found + self.finish() if len(self._held) > MAX_HELD else found

    def finish(self) -> list[Piece | TooLong]:
        """Ends the file; returns what is left."""
        return self._ended([] if self.is_done else self._cutter.finish())

    def stop(self) -> list[Piece | TooLong]:
        """Ends the head where the file goes on; returns what is left but its last record, which may be half a one."""
        items = [] if self.is_done else self._cutter.finish()
        last = items[-1] if items else None
        if isinstance(last, Chunk):
            before = sum(item.records if isinstance(item, Chunk) else 1 for item in items[:-1])
            self._left = min(self._left, before + last.records - 1)
        return self._ended(items)

    def _ended(self, items: list[Item]) -> list[Piece | TooLong]:
        found = self._taken(items)
        self._left = 0
        self._held.clear()
        return found

    def _taken(self, items: list[Item]) -> list[Piece | TooLong]:
        found: list[Piece | TooLong] = []
        for item in items:
            if self.is_done:
                break
            if isinstance(item, TooLong):
                self._left -= 1
                found.append(item)
            else:
                piece = self._shortened(self._piece(item))
                self._left -= piece.chunk.records
                found.append(piece)
        return found

    def _piece(self, chunk: Chunk) -> Piece:
        start, end = chunk.start - self._held_from, chunk.end - self._held_from
        return Piece(chunk, bytes(self._held[start:end]))

    def _shortened(self, piece: Piece) -> Piece:
        """The piece without the records that are not wanted any more."""
        chunk = piece.chunk
        if chunk.records <= self._left:
            return piece
        before = Checkpoint(chunk.start, chunk.first_record - 1, chunk.first_line - 1)
        cutter = self._make_cutter(before, self._left)
        first, *_ = [*cutter.feed(piece.data), *cutter.finish()]
        return Piece(first, piece.data[: first.end - chunk.start]) if isinstance(first, Chunk) else piece
