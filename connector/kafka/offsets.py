"""Which offsets of a partition are finished, and how far that allows to commit.

Records of a partition arrive in the order of their offsets and are finished in any order. What may be committed is the
low-water mark: the first offset that somebody still works on. A record that is committed is never read again, so this
is where records are lost when it is wrong, and repeated when it is timid.

Pure: no clock, no sockets. The consumer owns one `PartitionTracker` per assigned partition and tells it what it
delivered (`admit`), what came to an end (`finish`) and what it committed (`committed`).

    base            position            restored end
     |  . x . x x .  |                   |
     v               v   x x   x     x   v
    -+---------------+-------------------+------->  offset      . in flight    x finished, or never existed

Gaps need no care: compaction and transaction markers leave offsets without a record, and since delivery is in order,
whatever lies below the position and is not in flight needs nothing any more.
"""

from collections import OrderedDict
from dataclasses import dataclass

from connector.kafka.bitmap import WINDOW, encode


@dataclass(frozen=True)
class CommitPoint:
    """What to commit for a partition.

    Attributes:
        offset: The first offset that is to be read after a restart.
        metadata: The finished offsets above it, see `bitmap.py`; empty if there are none.
        version: The state of the tracker this was taken from; handed back to `PartitionTracker.committed`.
    """

    offset: int
    metadata: str
    version: int


class PartitionTracker:
    """The offsets of one partition during one assignment.

    Args:
        base: Where reading starts: the committed offset.
        epoch: Names the assignment. Work that was begun under another epoch cannot finish anything here: the partition
            may have been with somebody else in between, who handles the record (again) and commits it himself.
        done: Offsets above *base* that were finished before: bit i = base + 1 + i (from `bitmap.decode`).
    """

    def __init__(self, base: int, epoch: int, done: int = 0) -> None:
        self.epoch = epoch
        self._position = base
        self._in_flight: OrderedDict[int, int] = OrderedDict()
        self._restored = done
        self._restored_from = base + 1
        self._version = 0
        self._committed_version = 0

    def admit(self, offset: int, written_ms: int = 0) -> bool:
        """Takes note of a delivered record that was written at *written_ms* (epoch milliseconds).

        Returns:
            Whether it is to be handled: False if it was finished before or was delivered already.
        """
        if offset < self._position:
            return False
        self._position = offset + 1
        if self._restored and self._was_restored(offset):
            return False
        self._in_flight[offset] = written_ms
        return True

    def finish(self, offset: int, epoch: int) -> bool:
        """Marks a record as finished.

        Returns:
            Whether that counted: False for a result of another epoch and for what is not in flight.
        """
        if epoch != self.epoch or offset not in self._in_flight:
            return False
        del self._in_flight[offset]
        self._version += 1
        return True

    def observed_position(self, position: int) -> None:
        """Takes note that all records below *position* (the next offset the client will fetch) have been delivered.

        That moves the base over a gap at the end of the partition, where no further record tells of it.
        """
        if position > self._position:
            self._position = position
            self._version += 1

    @property
    def position(self) -> int:
        """The offset after the last one delivered."""
        return self._position

    @property
    def base(self) -> int:
        """The offset to commit: everything below it is finished or never existed."""
        if self._in_flight:
            return next(iter(self._in_flight))
        return self._after_restored(self._position)

    @property
    def head(self) -> int | None:
        """The first offset in flight; None when nothing is."""
        return next(iter(self._in_flight), None)

    @property
    def head_written_ms(self) -> int | None:
        """When the record at `head` was written; None when nothing is in flight."""
        return next(iter(self._in_flight.values()), None)

    @property
    def in_flight(self) -> int:
        """How many admitted records are not finished."""
        return len(self._in_flight)

    @property
    def done_above_base(self) -> int:
        """How many offsets above the base need nothing any more (finished, or without a record)."""
        return self._done().bit_count()

    @property
    def spread(self) -> int:
        """From the base to the end of what was delivered or finished."""
        return max(self._position, self._restored_end) - self.base

    @property
    def room(self) -> int:
        """How far the partition may be read on before finished offsets no longer fit the window; may be negative."""
        return WINDOW - self.spread

    @property
    def dirty(self) -> bool:
        """Whether something changed since the last commit."""
        return self._version != self._committed_version

    def commit_point(self) -> CommitPoint:
        """A snapshot of what may be committed now."""
        base = self.base
        return CommitPoint(base, encode(base, self._done()), self._version)

    def committed(self, point: CommitPoint) -> None:
        """Takes note that *point* was committed. What changed since the snapshot stays dirty."""
        self._committed_version = max(self._committed_version, point.version)

    def _done(self) -> int:
        """The finished offsets above the base; bit i = base + 1 + i."""
        base = self.base
        delivered = max(self._position - base - 1, 0)
        bits = bytearray(b"\xff" * ((delivered + 7) // 8))
        for offset in self._in_flight:
            if offset != base:
                index = offset - base - 1
                bits[index >> 3] &= ~(1 << (index & 7))
        ours = int.from_bytes(bits, "little") & ((1 << delivered) - 1)
        restored = self._restored >> max(base + 1 - self._restored_from, 0)
        return ours | restored >> delivered << delivered

    @property
    def _restored_end(self) -> int:
        return self._restored_from + self._restored.bit_length()

    def _was_restored(self, offset: int) -> bool:
        if offset >= self._restored_end:
            self._restored = 0  # all of it lies behind us
            return False
        return offset >= self._restored_from and bool(self._restored >> (offset - self._restored_from) & 1)

    def _after_restored(self, offset: int) -> int:
        """The first offset from *offset* on that was not finished before."""
        if not self._restored_from <= offset < self._restored_end:
            return offset
        ahead = self._restored >> (offset - self._restored_from)
        return offset + (~ahead & (ahead + 1)).bit_length() - 1

    def __repr__(self) -> str:  # type: ignore[explicit-override]  # typing.override needs Python 3.12
        return (
            f"<PartitionTracker epoch={self.epoch} base={self.base} position={self._position}"
            f" in_flight={self.in_flight} done_above_base={self.done_above_base}>"
        )
