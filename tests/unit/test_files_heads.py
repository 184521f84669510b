"""The first records of a file, however its bytes arrive."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from connector.files.cutting import MAX_CHUNK_BYTES, MAX_LINE_BYTES, Checkpoint, TooLong
from connector.files.heads import MAX_HELD, Head, Piece
from connector.files.ndjson import NdjsonCutter

LINES = st.lists(st.sampled_from([b"{}", b'{"a":1}', b"", b"  ", b"x" * 40]), max_size=12)


def small(checkpoint: Checkpoint, max_records: int) -> NdjsonCutter:
    """Lines of at most 20 bytes, chunks of at most 30: every kind of cut within a few lines."""
    return NdjsonCutter(checkpoint, max_records=max_records, max_line=20, max_chunk_bytes=30)


def usual(checkpoint: Checkpoint, max_records: int) -> NdjsonCutter:
    return NdjsonCutter(checkpoint, max_records=max_records)


def collect(head: Head, blocks: list[bytes]) -> list[Piece | TooLong]:
    found: list[Piece | TooLong] = []
    for block in blocks:
        found += head.feed(block)
    return found + head.finish()


class TestHead:
    @given(lines=LINES, wanted=st.integers(1, 15), size=st.integers(1, 9), ends=st.booleans())
    def test_first_records(self, lines: list[bytes], wanted: int, size: int, *, ends: bool) -> None:
        """The first wanted records are handed out in order with their numbers, and no others."""
        text = b"\n".join(lines) + (b"\n" if ends else b"")
        found = collect(Head(small, wanted=wanted), [text[at : at + size] for at in range(0, len(text), size)])
        numbered = [(line, number) for number, line in enumerate(lines, start=1) if line.strip()]
        expected = [(line, number, record) for record, (line, number) in enumerate(numbered, start=1)][:wanted]
        told: list[tuple[bytes, int, int]] = []
        for item in found:
            if isinstance(item, TooLong):
                told.append((b"x" * 40, item.line, item.record))
                continue
            rows = [(line, item.chunk.first_line + place) for place, line in enumerate(item.data.split(b"\n"))]
            kept = [(line, number) for line, number in rows if line.strip()]
            told += [(line, number, item.chunk.first_record + place) for place, (line, number) in enumerate(kept)]
            assert len(kept) == item.chunk.records
        assert told == expected

    @given(lines=LINES, wanted=st.integers(1, 15), cut=st.integers(0, 200))
    def test_a_file_that_goes_on(self, lines: list[bytes], wanted: int, cut: int) -> None:
        """Where the bytes end before the file, no half record is handed out, and at most one whole one is missing."""
        text = b"\n".join(lines)[:cut]
        stopped, whole = Head(small, wanted=wanted), Head(small, wanted=wanted)
        known, all_of_it = stopped.feed(text) + stopped.stop(), whole.feed(text) + whole.finish()
        seen, there = (
            sum(item.chunk.records if isinstance(item, Piece) else 1 for item in found) for found in (known, all_of_it)
        )
        assert there - 1 <= seen <= there
        for item in known:
            assert isinstance(item, TooLong) or text[: item.chunk.end].endswith(b"\n")

    def test_needs_no_more(self) -> None:
        """Once it has them it asks for no more bytes and takes none."""
        head = Head(usual, wanted=2)
        assert len(head.feed(b"{}\n{}\n{}\n")) == 1
        assert head.is_done
        assert head.feed(b"{}\n" * 100) == head.finish() == []

    def test_memory(self) -> None:
        """A line without an end does not fill the memory: what came before it is told, and it is over."""
        head = Head(usual, wanted=1_000)
        found: list[Piece | TooLong] = []
        fed = 0
        while not head.is_done:
            found += head.feed(b"{}\n" if not fed else b"x" * MAX_LINE_BYTES)
            fed += 1
        assert fed < MAX_HELD // MAX_LINE_BYTES + 3
        assert [type(item) for item in found] == [Piece, TooLong]

    def test_large_records(self) -> None:
        """Records of the largest size are handed out before the bound on memory is reached."""
        line = b"x" * MAX_LINE_BYTES + b"\n"
        found = collect(Head(usual, wanted=20), [line] * 20)
        assert sum(item.chunk.records for item in found if isinstance(item, Piece)) == 20
        assert all(len(item.data) <= MAX_CHUNK_BYTES for item in found if isinstance(item, Piece))

    def test_at_least_one(self) -> None:
        """A head of no records is a mistake of the caller."""
        with pytest.raises(ValueError, match="at least one"):
            Head(usual, wanted=0)
