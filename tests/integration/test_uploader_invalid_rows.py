"""Rows that Meta takes and calls invalid: found, counted, told by record and line."""

from pathlib import Path

import orjson

from schemas.events import Dead
from tests.integration.auth_parts import Emulator
from tests.integration.uploader_parts import Bench, put_together
from tests.integration.uploader_records import WHO, invalid_reply, lines, twins
from tests.records import digest

pytest_plugins = ("tests.integration.uploader_fixtures",)


class TestInvalidRows:
    async def test_rows_meta_refuses_are_named(self, bench: Bench) -> None:
        """A sample leads to the record and line; the others are accepted."""
        row = orjson.dumps([digest(f"{WHO}-1@example.com")]).decode()
        bench.fail(status=200, body=invalid_reply(bench, 3, 1, {row: "malformed"}))

        await bench.handle(await bench.chunk(lines(3)))

        outcome = bench.outbox.outcome
        assert (2, 1) == (outcome.counts.accepted, outcome.counts.invalid)
        assert [(2, 2, "meta_invalid")] == [(one.record, one.line, one.reason) for one in outcome.rejects]
        assert {"meta_invalid": 1} == outcome.reject_reasons

    async def test_rows_meta_does_not_name_are_counted(self, bench: Bench) -> None:
        """Its samples are capped, its count is not."""
        bench.fail(status=200, body=invalid_reply(bench, 3, 2, {}))

        await bench.handle(await bench.chunk(lines(3)))

        assert (1, 2) == (bench.outbox.outcome.counts.accepted, bench.outbox.outcome.counts.invalid)

    async def test_a_row_meta_counts_and_does_not_name_is_found(self, graph_emulator: Emulator, tmp_path: Path) -> None:
        """Parts are sent again and counted until it stands alone; nobody is doubled by that."""
        async with put_together(graph_emulator, tmp_path) as bench:
            bench.graph.unnamed = digest(f"{WHO}-77@example.com")

            await bench.handle(await bench.chunk(lines(1_000)))

            outcome = bench.outbox.outcome
            assert (999, 1) == (outcome.counts.accepted, outcome.counts.invalid)
            assert [78] == [reject.record for reject in outcome.rejects]
            assert bench.graph.calls <= 1 + 11

    async def test_rows_are_not_searched_for_at_any_price(self, graph_emulator: Emulator, tmp_path: Path) -> None:
        """Calls deliver: after the first search the next ones wait until there were fifty times as many."""
        async with put_together(graph_emulator, tmp_path) as bench:
            bench.graph.unnamed = digest(f"{WHO}-7@example.com")
            for _ in range(4):
                await bench.handle(await bench.chunk(lines(100)))

            assert [1, 1, 1, 1] == [outcome.counts.invalid for outcome in bench.outbox.outcomes]
            assert [1, 0, 0, 0] == [len(outcome.rejects) for outcome in bench.outbox.outcomes]

    async def test_after_a_refused_batch_the_chunk_goes_on(self, graph_emulator: Emulator, tmp_path: Path) -> None:
        """The batches after it are in the chunk's own session, counted as before."""
        bad = "00000007-aaaa-4aaa-8aaa-aaaaaaaaaaaa"
        async with put_together(graph_emulator, tmp_path, bad=[bad]) as bench:
            await bench.handle(await bench.chunk(twins(6_000)))

            assert (6_000, 11_999, 1) == (
                bench.outbox.outcome.counts.accepted,
                bench.count(),
                bench.outbox.outcome.attempts,
            )

    async def test_a_refused_batch_gives_up_one_row(self, graph_emulator: Emulator, tmp_path: Path) -> None:
        """One bad row in 10,000 is found alone within 29 calls; 9,999 people are in the audience."""
        async with put_together(graph_emulator, tmp_path, bad=[digest(f"{WHO}-7777@example.com")]) as bench:
            await bench.handle(await bench.chunk(lines(10_000)))

            counts = bench.outbox.outcome.counts
            assert (9_999, 1, 9_999) == (counts.accepted, counts.invalid, bench.count())
            assert [7_778] == [reject.record for reject in bench.outbox.outcome.rejects]
            assert bench.graph.calls <= 29

    async def test_a_batch_refused_in_every_half_ends(self, graph_emulator: Emulator, tmp_path: Path) -> None:
        """It has another problem: it is given up within the cap and not sent row by row."""
        async with put_together(graph_emulator, tmp_path, bad=['"data"']) as bench:
            await bench.handle(await bench.chunk(lines(1_000)))

            outcome = bench.outbox.outcome.outcome
            assert isinstance(outcome, Dead)
            assert ("split_exhausted", 21) == (outcome.reason, bench.graph.calls)
