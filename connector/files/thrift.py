"""Thrift's compact protocol, read as far as one must to know what somebody else would make room for. Pure.

Source: Apache Thrift, doc/specs/thrift-compact-protocol.md.
"""

from collections.abc import Iterator

from connector.files.parquet_damage import UnreadableParquet

_BOOLEANS = (1, 2)
_I8 = 3
I32, I64, BINARY, LIST, STRUCT = 5, 6, 8, 9, 12
_FIXED = {1: 0, 2: 0, _I8: 1, 7: 8}
_VARINTS = (4, I32, I64)
_LISTS = (LIST, 10)

MAX_NESTING = 16
"""How deep structs and lists may lie within each other."""

_MAX_FIELD = (1 << 15) - 1
_MAX_SIZE = (1 << 31) - 1


class Compact:
    """Reads a struct that begins at `at`, which is where reading goes on, and ends before *end*.

    Whatever another reader may take for something else is refused, not guessed: field numbers and lengths that do not
    fit their type are cut down by Thrift's own readers. Methods raise `IndexError` where the data ends too early, and
    `UnreadableParquet` where it is none.
    """

    def __init__(self, data: bytes, at: int = 0, end: int | None = None) -> None:
        self._data = data
        self._end = len(data) if end is None else min(end, len(data))
        self._path: list[int] = []
        self.at = at

    def integers(self) -> dict[tuple[int, ...], int]:
        """The 32-bit integers of the struct and of those that are fields of it, by field numbers; no others."""
        found: dict[tuple[int, ...], int] = {}
        for number, kind in self._fields():
            if kind == I32:
                found[(number,)] = self._signed(32)
            elif kind == STRUCT:
                for inner, inner_kind in self._fields():
                    if inner_kind == I32:
                        found[number, inner] = self._signed(32)
                    else:
                        self._skip(inner_kind, MAX_NESTING - 1)
            else:
                self._skip(kind, MAX_NESTING)
        return found

    def _fields(self) -> Iterator[tuple[int, int]]:
        """The number and the type of each field of a struct; who takes one reads or skips its value."""
        self._path.append(0)
        number = 0
        while head := self._byte():
            number = number + (head >> 4) if head >> 4 else self._signed(32)
            if not 0 < number <= _MAX_FIELD:
                raise UnreadableParquet("damaged")
            self._path[-1] = number
            yield number, head & 0x0F
        self._path.pop()

    def _list(self, kind: int, size: int) -> None:  # noqa: ARG002 - who counts looks at it
        """Called before the elements of each list; `_path` has the number of its field, after those it lies within."""
        if size > self._end - self.at:
            raise IndexError  # each element takes a byte at least

    def _skip(self, kind: int, nesting: int) -> None:
        if nesting == 0:
            raise UnreadableParquet("damaged")
        if kind in _FIXED:
            self._pass(_FIXED[kind])
        elif kind in _VARINTS:
            self._varint()
        elif kind == BINARY:
            self._pass(self._size())
        elif kind in _LISTS:
            inner, size = self._elements()
            for _ in range(size):
                self._skip(inner, nesting - 1)
        elif kind == STRUCT:
            for _, field in self._fields():
                self._skip(field, nesting - 1)
        else:
            raise UnreadableParquet("damaged")

    def _elements(self) -> tuple[int, int]:
        """The type of a list's elements, and how many follow."""
        head = self._byte()
        size = head >> 4 if head >> 4 < 0x0F else self._size()
        # In a list a truth value takes a byte, as a field it is in the field's type.
        kind = _I8 if head & 0x0F in _BOOLEANS else head & 0x0F
        self._list(kind, size)
        return kind, size

    def _byte(self) -> int:
        if self.at >= self._end:
            raise IndexError
        byte = self._data[self.at]
        self.at += 1
        return byte

    def _pass(self, size: int) -> None:
        self.at += size
        if self.at > self._end:
            raise IndexError

    def _varint(self) -> int:
        value = shift = 0
        while shift < 64:
            byte = self._byte()
            value |= (byte & 0x7F) << shift
            if byte < 0x80:
                return value
            shift += 7
        raise UnreadableParquet("damaged")

    def _size(self) -> int:
        size = self._varint()
        if size > _MAX_SIZE:
            raise UnreadableParquet("damaged")
        return size

    def _signed(self, bits: int) -> int:
        value = self._varint() & ((1 << bits) - 1)
        return (value >> 1) ^ -(value & 1)
