"""Chunk ranges of NDJSON: complete, exact, independent of blocks and restarts, bounded."""

import tracemalloc
from collections.abc import Iterable
from itertools import pairwise

import pytest
from hypothesis import given
from hypothesis import strategies as st

from connector.files.cutting import START, Checkpoint, Chunk, TooLong
from connector.files.ndjson import NdjsonCutter

Item = Chunk | TooLong
SMALL = {"max_records": 3, "max_line": 12, "max_chunk_bytes": 30}

lines = st.one_of(
    st.sampled_from([b"", b" ", b"\t\r", b"\r", b"{}", b'{"a":1}', b' {"a":1}\r', b"x" * 12, b"x" * 13, b" " * 40]),
    st.binary(max_size=16).map(lambda raw: raw.replace(b"\n", b"")),
)
files = st.builds(
    lambda bom, parts, end: bom + b"\n".join(parts) + end,
    st.sampled_from([b"", b"\xef\xbb\xbf", b"\xef\xbb"]),
    st.lists(lines, max_size=25),
    st.sampled_from([b"", b"\n", b"\n\n"]),
)


def cut(content: bytes, checkpoint: Checkpoint = START, **limits: int) -> list[Item]:
    cutter = NdjsonCutter(checkpoint, **(limits or SMALL))
    return cutter.feed(content[checkpoint.offset :]) + cutter.finish()


def split(content: bytes, at: Iterable[int]) -> list[bytes]:
    bounds = [0, *sorted({point % (len(content) + 1) for point in at}), len(content)]
    return [content[start:end] for start, end in pairwise(bounds)]


def records_of(content: bytes) -> list[tuple[int, bytes]]:
    """Line number and bytes of every record, said in the plainest way there is."""
    plain = content.removeprefix(b"\xef\xbb\xbf").split(b"\n")
    return [(number, line) for number, line in enumerate(plain, start=1) if line.strip(b" \t\r")]


class TestWhatIsInAChunk:
    @given(files)
    def test_every_record_is_in_one_place(self, content: bytes) -> None:
        """Chunks and too long lines name every record of the file once, in order, with its number and line."""
        told: list[tuple[int, bytes | None]] = []
        for item in cut(content):
            match item:
                case Chunk():
                    inside = records_of(b"\n" * (item.first_line - 1) + content[item.start : item.end])
                    assert (item.records, item.first_record, item.first_line) == (
                        len(inside),
                        len(told) + 1,
                        inside[0][0],
                    )
                    told += inside
                case TooLong():
                    assert item.record == len(told) + 1
                    told.append((item.line, None))
        expected = [(number, line if len(line) <= 12 else None) for number, line in records_of(content)]
        assert expected == told

    @given(files)
    def test_limits_hold(self, content: bytes) -> None:
        """No chunk holds more records or more bytes than allowed, and none is empty."""
        for item in cut(content):
            if isinstance(item, Chunk):
                assert 1 <= item.records <= SMALL["max_records"]
                assert item.end - item.start <= SMALL["max_chunk_bytes"]

    def test_chunks_are_full(self) -> None:
        """A chunk is closed by its limit and not before: 25,000 records make three chunks of a plain file."""
        content = b'{"a":1}\n' * 25_000
        assert [
            Chunk(0, 80_000, 1, 1, 10_000),
            Chunk(80_000, 160_000, 10_001, 10_001, 10_000),
            Chunk(160_000, 200_000, 20_001, 20_001, 5_000),
        ] == cut(content, max_records=10_000)

    def test_blank_lines_bom_and_line_ends(self) -> None:
        """A byte order mark, blank lines around, Windows line ends and a missing last line end are no records."""
        content = b'\xef\xbb\xbf\r\n{"a":1}\r\n \t\n{"b":2}'
        assert [Chunk(start=5, end=24, first_record=1, first_line=2, records=2)] == cut(content)

    @pytest.mark.parametrize("content", [b"", b"\n", b"\xef\xbb\xbf", b"\xef\xbb\xbf\n\n", b" \t\r\n \r"])
    def test_file_without_records(self, content: bytes) -> None:
        """A file of nothing but blank lines has no chunk."""
        assert [] == cut(content)


class TestBlocksAndRestarts:
    @given(files, st.lists(st.integers(min_value=0)))
    def test_blocks_do_not_matter(self, content: bytes, at: list[int]) -> None:
        """However the bytes arrive, the items and the final checkpoint are the same."""
        whole = NdjsonCutter(START, **SMALL)
        expected = whole.feed(content) + whole.finish()
        cutter = NdjsonCutter(START, **SMALL)
        items = [item for block in split(content, at) for item in cutter.feed(block)] + cutter.finish()
        assert (expected, whole.checkpoint) == (items, cutter.checkpoint)

    @given(files, st.lists(st.integers(min_value=0)))
    def test_restart_at_every_checkpoint(self, content: bytes, at: list[int]) -> None:
        """A cutter restarted from any checkpoint hands out what the uninterrupted one handed out after it."""
        expected = cut(content)
        cutter = NdjsonCutter(START, **SMALL)
        told = 0
        for block in split(content, at):
            told += len(cutter.feed(block))
            assert expected[told:] == cut(content, cutter.checkpoint)
            assert told == cutter.checkpoint.chunks + cutter.checkpoint.rejected

    @given(files)
    def test_final_checkpoint_counts_the_file(self, content: bytes) -> None:
        """After the end, the checkpoint holds the file's size, records and lines, and going on gives nothing."""
        cutter = NdjsonCutter(START, **SMALL)
        items = cutter.feed(content) + cutter.finish()
        done = cutter.checkpoint
        assert (len(content), len(records_of(content))) == (done.offset, done.records)
        chunked = sum(item.records for item in items if isinstance(item, Chunk))
        assert done.records == chunked + done.rejected
        assert [] == cut(content, done)


class TestBounds:
    def test_one_endless_line(self) -> None:
        """A line of 200 MB is told with its number, costs no memory, and its neighbours are delivered."""
        block = b"x" * (1 << 20)
        cutter = NdjsonCutter()
        tracemalloc.start()
        try:
            items = cutter.feed(b'{"a":1}\n')
            for _ in range(200):
                items += cutter.feed(block)
            _, peak = tracemalloc.get_traced_memory()
        finally:
            tracemalloc.stop()
        items += cutter.feed(b'\n{"b":2}\n') + cutter.finish()
        after = 8 + 200 * len(block) + 1
        assert [Chunk(0, 8, 1, 1, 1), TooLong(record=2, line=2), Chunk(after, after + 8, 3, 3, 1)] == items
        assert peak < 64 << 10

    @pytest.mark.parametrize("limits", [{"max_records": 0}, {"max_line": 0}, {"max_line": 9, "max_chunk_bytes": 9}])
    def test_impossible_limits(self, limits: dict[str, int]) -> None:
        """Limits under which a record would fit into no chunk are refused at once."""
        with pytest.raises(ValueError, match="at least one record"):
            NdjsonCutter(START, **limits)
