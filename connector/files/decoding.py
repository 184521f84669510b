"""Takes the compression off a file, piece by piece. Pure and synchronous.

Run it in a thread: both codecs let go of the interpreter lock.

A compressed file is a bomb until shown otherwise. So a decoder never hands out more than `PIECE_BYTES` at once, only
goes on when the piece was taken, and counts what came in and what came out against the limits before it hands it out.
"""

import zlib
from collections.abc import Callable, Iterator

from backports import zstd

from connector.files.limits import DEFAULT_LIMITS, Limits, LimitViolated, check
from schemas.events import Compression

PIECE_BYTES = 1 << 20
"""The largest piece a decoder hands out."""

_SLICE_BYTES = 32 << 10
# The codec copies what follows the end of a member: over a block of a million empty members that would be quadratic.

_GZIP_MEMBER = 31
"""zlib's `wbits` for exactly one gzip member with its header, CRC and length."""


class Corrupt(Exception):
    """Raised where a file is not what its compression says. *reason* is a slug; it never quotes the file."""

    def __init__(self, reason: str, offset: int) -> None:
        super().__init__(f"{_TEXTS[reason]}, near byte {offset:,} of the compressed file")
        self.reason = reason
        self.offset = offset


_TEXTS = {
    "truncated": "the compressed file ends in the middle",
    "damaged": "the compressed data is damaged or its checksum is wrong",
    "trailing_garbage": "something that is not compressed follows the compressed data",
}


class Decoder:
    """Decodes one file from its beginning. `compressed` and `decoded` are the bytes taken and handed out so far."""

    def __init__(self, limits: Limits = DEFAULT_LIMITS) -> None:
        self._limits = limits
        self.compressed = 0
        self.decoded = 0

    def feed(self, block: bytes) -> Iterator[bytes]:
        """Takes the next bytes of the file; hands out what they decode to. Exhaust it before the next call.

        Raises:
            Corrupt: The bytes are not of this compression.
            LimitViolated: The file is more than it may be; nothing of the excess was handed out.
        """
        raise NotImplementedError

    def finish(self) -> None:
        """Ends the file.

        Raises:
            Corrupt: It ends in the middle.
        """

    def _counted(self, piece: bytes) -> bytes:
        self.decoded += len(piece)
        check("decoded_bytes", self._limits.decoded, self.decoded)
        return piece


class _Plain(Decoder):
    def feed(self, block: bytes) -> Iterator[bytes]:  # type: ignore[explicit-override]
        for at in range(0, len(block), PIECE_BYTES):
            piece = block[at : at + PIECE_BYTES]
            self.compressed += len(piece)
            yield self._counted(piece)


class _Compressed(Decoder):
    """What both codecs share: a file is one member (frame) after another; `_member` is the one that is open."""

    def __init__(self, limits: Limits) -> None:
        super().__init__(limits)
        self._is_open = False
        self._members = 0

    def feed(self, block: bytes) -> Iterator[bytes]:  # type: ignore[explicit-override]
        view = memoryview(block)
        for at in range(0, len(view), _SLICE_BYTES):
            data = bytes(view[at : at + _SLICE_BYTES])
            self.compressed += len(data)
            check("compressed_bytes", self._limits.compressed, self.compressed)
            yield from self._decode(data)

    def finish(self) -> None:  # type: ignore[explicit-override]
        if self._is_open or not self._members:
            raise Corrupt("truncated", self.compressed)

    def _decode(self, data: bytes) -> Iterator[bytes]:
        raise NotImplementedError

    def _counted(self, piece: bytes) -> bytes:  # type: ignore[explicit-override]
        super()._counted(piece)
        if self.decoded > self._limits.ratio_from:
            check("compression_ratio", self._limits.ratio, self.decoded // max(self.compressed, 1))
        return piece

    def _failed(self) -> Corrupt:
        return Corrupt("damaged", self.compressed)

    def _not_a_member(self) -> Corrupt:
        return Corrupt("trailing_garbage" if self._members else "damaged", self.compressed)


class _Gzip(_Compressed):
    def __init__(self, limits: Limits) -> None:
        super().__init__(limits)
        self._member = zlib.decompressobj(_GZIP_MEMBER)
        self._head = b""

    def _decode(self, data: bytes) -> Iterator[bytes]:  # type: ignore[explicit-override]
        while data:
            if not self._is_open:
                data = self._opened(data)
                if not data:
                    return
            try:
                piece = self._member.decompress(data, PIECE_BYTES)
            except zlib.error:
                raise self._failed() from None
            if piece:
                yield self._counted(piece)
            if self._member.eof:
                data, self._is_open = self._member.unused_data, False
                self._members += 1
            else:
                data = self._member.unconsumed_tail

    def _opened(self, data: bytes) -> bytes:
        """The bytes of the next member once its two magic bytes are there; zeros between members are padding."""
        if self._members and not self._head:
            data = data.lstrip(b"\0")
        data, self._head = self._head + data, b""
        if len(data) < 2 and _GZIP_MAGIC.startswith(data):
            self._head = data
            return b""
        if not data.startswith(_GZIP_MAGIC):
            raise self._not_a_member()
        self._is_open, self._member = True, zlib.decompressobj(_GZIP_MEMBER)
        return data

    def finish(self) -> None:  # type: ignore[explicit-override]
        if self._head:
            raise Corrupt("truncated", self.compressed)
        super().finish()


_GZIP_MAGIC = b"\x1f\x8b"


class _Zstd(_Compressed):
    def __init__(self, limits: Limits) -> None:
        super().__init__(limits)
        self._options = {int(zstd.DecompressionParameter.window_log_max): limits.window.bit_length() - 1}
        self._frame = zstd.ZstdDecompressor(options=self._options)

    def _decode(self, data: bytes) -> Iterator[bytes]:  # type: ignore[explicit-override]
        while data:
            if not self._is_open:
                self._is_open, self._frame = True, zstd.ZstdDecompressor(options=self._options)
            yield from self._pieces(data)
            if not self._frame.eof:
                return
            data, self._is_open = self._frame.unused_data, False
            self._members += 1

    def _pieces(self, data: bytes) -> Iterator[bytes]:
        """What *data* decodes to within the open frame."""
        while True:
            try:
                piece = self._frame.decompress(data, PIECE_BYTES)
            except zstd.ZstdError as error:
                raise self._refusal(str(error)) from None
            data = b""
            if piece:
                yield self._counted(piece)
            if self._frame.eof or self._frame.needs_input:
                return

    def _refusal(self, message: str) -> Exception:
        if "Frame requires too much memory" in message:
            return LimitViolated("zstd_window_bytes", self._limits.window, self._limits.window + 1)
        return self._not_a_member() if "Unknown frame descriptor" in message else self._failed()


_DECODERS: dict[Compression, Callable[[Limits], Decoder]] = {
    Compression.NONE: _Plain,
    Compression.GZIP: _Gzip,
    Compression.ZSTD: _Zstd,
}


def decoder(compression: Compression, limits: Limits = DEFAULT_LIMITS) -> Decoder:
    """A decoder at the beginning of a file."""
    return _DECODERS[compression](limits)
