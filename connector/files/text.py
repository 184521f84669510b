"""A text file of any format and compression, block by block to chunk ranges of its decoded bytes. Pure, synchronous.

The cost of a step is bounded: at most a piece (`decoding.PIECE_BYTES`) is decoded and cut, whatever a block decodes to.
"""

from collections.abc import Iterator
from typing import assert_never

from connector.files.cutting import Checkpoint, Cutter, Item
from connector.files.decoding import PIECE_BYTES, decoder
from connector.files.delimited import DelimitedCutter
from connector.files.formats import FileKind
from connector.files.limits import DEFAULT_LIMITS, Limits, check
from connector.files.ndjson import NdjsonCutter
from schemas.events import Compression, Format, Table


class TextCutting:
    """Cuts one file from *checkpoint* on. Feed it the file's bytes from `start` on.

    A compressed stream cannot be entered in the middle. It is decoded again from its beginning, and what was cut
    before the checkpoint is thrown away.
    """

    def __init__(
        self, kind: FileKind, table: Table | None, checkpoint: Checkpoint, limits: Limits = DEFAULT_LIMITS
    ) -> None:
        is_plain = kind.compression is Compression.NONE
        self.start = checkpoint.offset if is_plain else 0
        self._skip = 0 if is_plain else checkpoint.offset
        self._limits = limits
        self._decoder = decoder(kind.compression, limits)
        self._cutter = _cutter(kind.format, table, checkpoint, limits)
        self._pieces: list[bytes] = []
        self._size = 0

    @property
    def checkpoint(self) -> Checkpoint:
        """The state after the last item that was handed out."""
        return self._cutter.checkpoint

    def feed(self, block: bytes) -> Iterator[list[Item]]:
        """Takes the next bytes of the file; hands out the items of each step. Exhaust it before the next call.

        Raises:
            Corrupt: The file is not of its compression.
            LimitViolated: The file is more than it may be.
        """
        for piece in self._decoder.feed(block):
            if self._skip >= len(piece):
                self._skip -= len(piece)
            else:
                self._pieces.append(piece[self._skip :] if self._skip else piece)
                self._size += len(self._pieces[-1])
                self._skip = 0
            if self._size >= PIECE_BYTES:
                yield self._cut()

    def finish(self) -> list[Item]:
        """Ends the file; returns the remaining items. Raises as `feed` does."""
        self._decoder.finish()
        return [*self._cut(), *self._cutter.finish()]

    def _cut(self) -> list[Item]:
        pieces, self._pieces, self._size = self._pieces, [], 0
        items = self._cutter.feed(pieces[0] if len(pieces) == 1 else b"".join(pieces))
        check("rows", self._limits.rows, self.checkpoint.records)
        return items


def _cutter(format_: Format, table: Table | None, checkpoint: Checkpoint, limits: Limits) -> Cutter:
    match format_:
        case Format.NDJSON:
            return NdjsonCutter(checkpoint, max_line=limits.line)
        case Format.CSV | Format.TSV:
            if table is None:
                raise ValueError("a table is cut with the delimiter of its header")
            return DelimitedCutter(checkpoint, delimiter=table.delimiter, max_line=limits.line)
        case Format.PARQUET:
            raise ValueError("a Parquet file is no text")
        case _:
            assert_never(format_)


def decoded_head(head: bytes, compression: Compression, size: int) -> bytes:
    """The first *size* bytes, or more, of what *head* decodes to; what there is if that is less.

    Raises:
        Corrupt: The beginning is not of this compression.
        LimitViolated: See `Limits`.
    """
    pieces: list[bytes] = []
    for piece in decoder(compression).feed(head):
        pieces.append(piece)
        size -= len(piece)
        if size <= 0:
            break
    return b"".join(pieces)
