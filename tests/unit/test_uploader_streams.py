"""Streams that are read once: chunks side by side get their own bytes, and nothing is kept beyond its budget."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from connector.files.tape import BYTES, Span
from connector.objects.errors import StoreRefused, StoreUnavailable
from services.uploader.streams import SpanMissing, Streams

CONTENT = bytes(range(200))
CHUNK = 10
CHUNKS = [(at, at + CHUNK) for at in range(0, len(CONTENT), CHUNK)]


class Letters:
    """A stream of `CONTENT` in pieces of *size*; fails at each of *failures*, once where that passes."""

    def __init__(self, size: int = 7, failures: dict[int, Exception] | None = None) -> None:
        self.resumable = True
        self.ended = False
        self.at = 0
        self.size = size
        self.failures = {} if failures is None else failures
        self.is_open = True

    async def next(self) -> bytes | None:
        """The next piece, after a turn of the loop."""
        await asyncio.sleep(0)
        failure = self.failures.get(self.at)
        if failure is not None:
            if isinstance(failure, StoreUnavailable):
                del self.failures[self.at]
            raise failure
        piece = CONTENT[self.at : self.at + self.size]
        self.at += len(piece)
        return piece or None

    def close(self) -> None:
        """Remembers it."""
        self.is_open = False


class Desk:
    """Streams over `CONTENT`, with every stream that was ever begun."""

    def __init__(self, streams: Streams, size: int, failures: dict[int, Exception] | None) -> None:
        self.streams = streams
        self.size = size
        self.failures = failures
        self.begun: list[Letters] = []

    async def begin(self) -> Letters:
        """A new pass."""
        await asyncio.sleep(0)
        self.begun.append(Letters(self.size, self.failures))
        return self.begun[-1]

    async def read(self, span: Span, name: str = "file") -> bytes:
        """The bytes of *span*."""
        pieces: list[bytes] = await self.streams.read(name, span, BYTES, self.begin)
        return b"".join(pieces)


@asynccontextmanager
async def desk(
    *,
    budget: int = 50,
    moment: float = 0.0,
    size: int = 7,
    most: int = 16,
    idle: float = 60.0,
    failures: dict[int, Exception] | None = None,
) -> AsyncIterator[Desk]:
    """A desk whose streams are closed at the end, all of them."""
    streams = Streams(budget=budget, moment=moment, idle=idle, most=most)
    opened = Desk(streams, size, failures)
    try:
        yield opened
    finally:
        await streams.close()
    assert not any(letters.is_open for letters in opened.begun)
    assert (0, 0) == (streams.kept, streams.streams)


class TestOnePass:
    async def test_readers_side_by_side_share_a_pass(self) -> None:
        """20 chunks asked by 16 at once, the later ones first, cost one pass."""
        async with desk(budget=200, moment=0.01) as file:
            turns = asyncio.Semaphore(16)

            async def one(span: Span) -> None:
                async with turns:
                    assert CONTENT[slice(*span)] == await file.read(span)

            await asyncio.gather(*(one(span) for span in [*reversed(CHUNKS[:16]), *CHUNKS[16:]]))
            assert (1, 0) == (file.streams.opened, file.streams.kept)

    async def test_readers_that_are_cancelled_leave_nothing(self) -> None:
        """Half of the readers are killed in between: the others get their bytes, of the dead nobody is waited for."""
        async with desk() as file:
            readers = [asyncio.create_task(file.read(span)) for span in CHUNKS]
            for _ in range(5):
                await asyncio.sleep(0)
            for reader in readers[1::2]:
                reader.cancel()
            found = await asyncio.gather(*readers, return_exceptions=True)
            assert [CONTENT[slice(*span)] for span in CHUNKS[::2]] == found[::2]
            assert file.streams.kept <= 50
            assert not file.streams._open[0].waiting

    async def test_a_retry_has_a_pass_of_its_own(self) -> None:
        """A chunk that was handed out before is read again from the beginning; the others go on where they were."""
        async with desk() as file:
            for span in CHUNKS[:10]:
                await file.read(span)
            assert CONTENT[0:10] == await file.read((0, 10))
            assert CONTENT[10:20] == await file.read((10, 20))
            for span in CHUNKS[10:]:
                assert CONTENT[slice(*span)] == await file.read(span)
            assert 2 == file.streams.opened
            assert len(CONTENT) == file.begun[0].at

    async def test_twins_are_both_served(self) -> None:
        """The same chunk twice at once: the second one is no reader of the end of the file, but of another pass."""
        async with desk() as file:
            found = await asyncio.gather(*(file.read((30, 40)) for _ in range(3)))
            assert [CONTENT[30:40]] * 3 == found


class TestBounds:
    @settings(deadline=None, max_examples=150)
    @given(
        order=st.permutations(CHUNKS),
        side_by_side=st.integers(1, 16),
        budget=st.integers(0, 220),
        size=st.integers(1, 64),
        killed=st.sets(st.sampled_from(CHUNKS), max_size=6),
    )
    def test_any_order_gets_its_bytes(
        self, order: list[Span], side_by_side: int, budget: int, size: int, killed: set[Span]
    ) -> None:
        """Whatever the order, the budget and who gives up: each reader gets its bytes, and what is kept stays small."""

        async def read_all() -> None:
            async with desk(budget=budget, size=size) as file:
                turns = asyncio.Semaphore(side_by_side)

                async def one(span: Span) -> None:
                    async with turns:
                        reader = asyncio.create_task(file.read(span))
                        if span in killed:
                            await asyncio.sleep(0)
                            reader.cancel()
                            await asyncio.gather(reader, return_exceptions=True)
                            return
                        assert CONTENT[slice(*span)] == await reader

                await asyncio.gather(*(one(span) for span in order))
                await asyncio.sleep(0)
                assert file.streams.kept <= budget + 64 + CHUNK

        asyncio.run(asyncio.wait_for(read_all(), 20))

    async def test_streams_nobody_waits_for_are_closed(self) -> None:
        """Above the bound the one that was used longest ago goes."""
        async with desk(most=2) as files:
            for name in ("a", "b", "c"):
                await files.read((0, 10), name)
            assert 2 == files.streams.streams
            assert [False, True, True] == [letters.is_open for letters in files.begun]

    async def test_what_another_file_keeps_is_no_reason_to_wait(self) -> None:
        """A file nobody asks for any more makes room at once; the one that is read does not wait for its laggards."""
        async with desk(budget=60, size=64, moment=3600) as files:
            await files.read((0, 10), "old")
            assert 54 == files.streams.kept
            async with asyncio.timeout(10):
                found = await asyncio.gather(files.read((0, 10), "new"), files.read((64, 74), "new"))
            assert (CONTENT[:10], CONTENT[64:74]) == tuple(found)
            assert files.streams.kept <= 60

    async def test_laggards_are_waited_for(self) -> None:
        """Before a file forgets what it passed, who comes a little late is served; one pass is enough."""
        async with desk(budget=20, moment=3600) as file:
            ahead = asyncio.create_task(file.read((100, 110)))
            for _ in range(30):
                await asyncio.sleep(0)
            assert not ahead.done()
            assert CONTENT[:10] == await file.read((0, 10))
            assert (CONTENT[100:110], 1) == (await ahead, file.streams.opened)

    async def test_a_stream_without_chunks_is_forgotten(self) -> None:
        """After the idle time it is closed, and what it kept is gone."""
        async with desk(idle=0.02) as file:
            await file.read((50, 60))
            async with asyncio.timeout(10):
                while file.streams.streams:  # noqa: ASYNC110
                    await asyncio.sleep(0.01)
            assert 0 == file.streams.kept


class TestTrouble:
    async def test_a_store_that_comes_back_costs_no_second_pass(self) -> None:
        """Trouble that passes is told to who waits; the next attempt goes on where the stream was."""
        async with desk(failures={21: StoreUnavailable("busy")}) as file:
            assert CONTENT[:10] == await file.read((0, 10))
            with pytest.raises(StoreUnavailable):
                await file.read((20, 30))
            assert CONTENT[20:30] == await file.read((20, 30))
            assert 1 == file.streams.opened

    async def test_a_broken_stream_is_closed(self) -> None:
        """Everybody who waits hears why, and the stream is gone."""
        async with desk(failures={21: StoreRefused("no")}) as file:
            found = await asyncio.gather(*(file.read(span) for span in CHUNKS), return_exceptions=True)
            assert [CONTENT[:10], CONTENT[10:20]] == found[:2]
            assert all(isinstance(error, StoreRefused) for error in found[2:20])
            assert 0 == file.streams.streams

    async def test_a_span_beyond_the_end(self) -> None:
        """It is no wait without end: the file is not what was planned."""
        async with desk() as file:
            with pytest.raises(SpanMissing):
                await file.read((195, 205))

    async def test_closing_wakes_who_waits(self) -> None:
        """Whoever waits when everything is closed is told so."""
        async with desk() as file:
            reader = asyncio.create_task(file.read((190, 200)))
            for _ in range(4):
                await asyncio.sleep(0)
            await file.streams.close()
            with pytest.raises(StoreUnavailable):
                await reader
