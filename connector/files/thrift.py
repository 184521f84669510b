"""Thrift's compact protocol, read as far as one must to know what somebody else would make room for. Pure.

Source: Apache Thrift, doc/specs/thrift-compact-protocol.md.
"""

from connector.files.parquet_damage import UnreadableParquet

_BOOLEANS = (1, 2)
_I8, _I32, _BINARY = 3, 5, 8
STRUCT = 12
_FIXED = {1: 0, 2: 0, _I8: 1, 7: 8}
_VARINTS = (4, _I32, 6)
_LISTS = (9, 10)

_MAX_NESTING = 16


class Compact:
    """Reads a struct. `at` is where reading goes on.

    Its methods raise `IndexError` where the data ends too early, and `UnreadableParquet` where it is none.
    """

    def __init__(self, data: bytes) -> None:
        self._data = data
        self._depth = 0
        self.at = 0

    def integers(self) -> dict[int, int]:
        """The struct's own 32-bit integers by field number; everything else is passed over."""
        found: dict[int, int] = {}
        number = 0
        while kind := self._byte():
            number = number + (kind >> 4) if kind >> 4 else self._signed()
            if kind & 0x0F == _I32:
                found[number] = self._signed()
            else:
                self._skip(kind & 0x0F, _MAX_NESTING)
        return found

    def _list(self, kind: int, size: int) -> None:  # noqa: ARG002 - who counts looks at it
        """Called before the elements of each list are passed over, which lies within `_depth` others."""
        if size > len(self._data) - self.at:
            raise IndexError  # each element takes a byte at least

    def _skip(self, kind: int, nesting: int) -> None:
        if nesting == 0:
            raise UnreadableParquet("damaged")
        if kind in _FIXED:
            self._pass(_FIXED[kind])
        elif kind in _VARINTS:
            self._varint()
        elif kind == _BINARY:
            self._pass(self._varint())
        elif kind in _LISTS:
            self._skip_list(nesting)
        elif kind == STRUCT:
            while inner := self._byte():
                if not inner >> 4:
                    self._varint()
                self._skip(inner & 0x0F, nesting - 1)
        else:
            raise UnreadableParquet("damaged")

    def _skip_list(self, nesting: int) -> None:
        head = self._byte()
        size = head >> 4 if head >> 4 < 0x0F else self._varint()
        # In a list a truth value takes a byte, as a field it is in the field's type.
        kind = _I8 if head & 0x0F in _BOOLEANS else head & 0x0F
        self._list(kind, size)
        self._depth += 1
        for _ in range(size):
            self._skip(kind, nesting - 1)
        self._depth -= 1

    def _byte(self) -> int:
        byte = self._data[self.at]
        self.at += 1
        return byte

    def _pass(self, size: int) -> None:
        self.at += size
        if self.at > len(self._data):
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

    def _signed(self) -> int:
        value = self._varint() & 0xFFFF_FFFF
        return (value >> 1) ^ -(value & 1)
