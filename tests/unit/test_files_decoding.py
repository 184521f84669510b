"""Decoders: what comes out is what went in, a bomb stops early and never in one piece, and damage is told apart."""

import gzip
from collections.abc import Callable
from itertools import pairwise

import pytest
from backports import zstd
from hypothesis import given, settings
from hypothesis import strategies as st

from connector.files.decoding import PIECE_BYTES, Corrupt, decoder
from connector.files.limits import Limits, LimitViolated
from schemas.events import Compression

PACKED = (Compression.GZIP, Compression.ZSTD)
PACKERS: dict[Compression, Callable[[bytes], bytes]] = {
    Compression.NONE: bytes,
    Compression.GZIP: gzip.compress,
    Compression.ZSTD: zstd.compress,
}


def pieces_of(compression: Compression, data: bytes, limits: Limits | None = None) -> list[bytes]:
    """What *data*, in one block, decodes to."""
    found = decoder(compression, limits or Limits())
    pieces = list(found.feed(data))
    found.finish()
    return pieces


@settings(max_examples=200, deadline=None)
@given(
    st.sampled_from(Compression),
    st.lists(st.binary(max_size=300), min_size=1, max_size=4),
    st.lists(st.integers(0, 400), max_size=6),
)
def test_members_and_blocks_do_not_matter(compression: Compression, parts: list[bytes], cuts: list[int]) -> None:
    """Several members or frames are one stream, in blocks of any size, and every byte is counted."""
    packed = b"".join(PACKERS[compression](part) for part in parts)
    found = decoder(compression)
    edges = [0, *sorted(min(cut, len(packed)) for cut in cuts), len(packed)]
    out = b"".join(b"".join(found.feed(packed[start:end])) for start, end in pairwise(edges))
    found.finish()
    assert (out, found.decoded) == (b"".join(parts), sum(map(len, parts)))


@pytest.mark.parametrize("compression", PACKED)
class TestBombs:
    """Files that are small on purpose."""

    def test_a_bomb_is_never_held(self, compression: Compression) -> None:
        """No piece is larger than a megabyte, and the ratio stops the stream a few megabytes after it is looked at."""
        found = decoder(compression)
        sizes: list[int] = []
        packed = PACKERS[compression](bytes(100 << 20))
        with pytest.raises(LimitViolated, match="compression_ratio is 200"):
            sizes.extend(map(len, found.feed(packed)))
        assert max(sizes) <= PIECE_BYTES
        assert sum(sizes) <= 24 << 20

    def test_decoded_bytes_have_a_limit(self, compression: Compression) -> None:
        """A stream that decodes slowly to too much is stopped as well, and the excess is handed to nobody."""
        with pytest.raises(LimitViolated, match="decoded_bytes is 1,000"):
            pieces_of(compression, PACKERS[compression](bytes(1001)), Limits(decoded=1000))

    def test_compressed_bytes_have_a_limit(self, compression: Compression) -> None:
        """So has what is read."""
        with pytest.raises(LimitViolated, match="compressed_bytes is 5"):
            pieces_of(compression, PACKERS[compression](b"hello"), Limits(compressed=5))


@pytest.mark.parametrize("compression", PACKED)
class TestDamage:
    """Files that are not whole."""

    @pytest.mark.parametrize("missing", [1, 5, 40])
    def test_truncated(self, compression: Compression, missing: int) -> None:
        """A file that ends too early is never taken for a whole one."""
        packed = PACKERS[compression](bytes(range(256)) * 9)
        with pytest.raises(Corrupt, match="ends in the middle"):
            pieces_of(compression, packed[:-missing])

    def test_nothing_at_all(self, compression: Compression) -> None:
        """No byte is no stream."""
        with pytest.raises(Corrupt, match="ends in the middle"):
            pieces_of(compression, b"")

    @settings(max_examples=100, deadline=None)
    @given(st.binary(min_size=4, max_size=40))
    def test_garbage_after_the_stream(self, compression: Compression, garbage: bytes) -> None:
        """What follows the stream and is none is told, not passed over: half a file may be missing there."""
        if (
            not garbage.strip(b"\0")
            or garbage.startswith((b"\x1f\x8b", b"\x28\xb5\x2f\xfd"))
            or garbage[1:4] == b"\x2a\x4d\x18"
        ):
            return
        with pytest.raises(Corrupt):
            pieces_of(compression, PACKERS[compression](b"hello") + garbage)

    @settings(max_examples=100, deadline=None)
    @given(st.integers(0, 200), st.integers(1, 255))
    def test_one_wrong_byte(self, compression: Compression, at: int, change: int) -> None:
        """A flipped byte never raises anything else, and never gives other bytes as if they were good."""
        data = bytes(range(256)) * 3
        packed = bytearray(
            gzip.compress(data)
            if compression is Compression.GZIP
            else zstd.compress(data, options={int(zstd.CompressionParameter.checksum_flag): 1})
        )
        packed[at % len(packed)] ^= change
        try:
            found = b"".join(pieces_of(compression, bytes(packed)))
        except (Corrupt, LimitViolated):
            return
        assert found == data


def test_a_frame_that_wants_much_memory_is_refused() -> None:
    """Zstd lets a frame ask its decoder for gigabytes; above 8 MiB the answer is no."""
    options = {
        int(zstd.CompressionParameter.window_log): 27,
        int(zstd.CompressionParameter.enable_long_distance_matching): 1,
    }
    packer = zstd.ZstdCompressor(options=options)
    packed = packer.compress(bytes(1000)) + packer.flush()
    with pytest.raises(LimitViolated, match="zstd_window_bytes is 8,388,608"):
        pieces_of(Compression.ZSTD, packed)
