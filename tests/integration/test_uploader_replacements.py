"""A replacement: one session over all chunks of a delivery."""

from datetime import UTC, datetime
from pathlib import Path

import pytest

from schemas.events import REPLACE_RESTART, ChunkReady, Dead, Operation, ReplaceBatch, Waiting
from services.uploader.settings import RetrySettings
from tests.integration.auth_parts import Emulator
from tests.integration.uploader_parts import Bench, put_together
from tests.integration.uploader_records import WHO, lines
from tests.records import digest, emails

pytest_plugins = ("tests.integration.uploader_fixtures",)


class TestReplacing:
    @staticmethod
    async def part(bench: Bench, number: int, total: int, people: int = 5, **changes: object) -> ChunkReady:
        """Part *number* of a replacement, with people of its own."""
        place = ReplaceBatch(number=number, total=total)
        rows = lines(people, start=1_000 * number)
        return await bench.chunk(rows, operation=Operation.REPLACE, replace=place, **changes)

    async def test_the_audience_becomes_what_was_sent(self, bench: Bench) -> None:
        """Three parts in one session: who was there before is gone, nobody is missing."""
        await bench.handle(await bench.chunk(lines(7)))

        for number in (1, 2, 3):
            await bench.handle(await self.part(bench, number, 3))

        replaced = [call for call in bench.calls() if call["path"].endswith("usersreplace")]
        assert (3, 1) == (len(replaced), len({call["session"] for call in replaced}))
        assert (15, 0) == (bench.count(), bench.contains(emails(WHO, range(7))))
        assert [5, 5, 5] == [outcome.counts.accepted for outcome in bench.outbox.outcomes[1:]]

    async def test_a_first_part_whose_answer_was_lost_is_not_repeated_as_such(self, bench: Bench) -> None:
        """Meta may have seen it and takes it only once: its rows go again under another number."""
        bench.fail(reset="after")

        for number in (1, 2):
            await bench.handle(await self.part(bench, number, 2))

        assert (10, 2) == (bench.count(), bench.outbox.outcomes[0].attempts)

    async def test_a_first_part_that_never_arrived_is_sent_as_such(self, bench: Bench) -> None:
        """Asked under another number, Meta says that it has not seen the first: now it gets it."""
        bench.fail(reset="before")

        await bench.handle(await self.part(bench, 1, 1))

        assert (5, 3) == (bench.count(), bench.outbox.outcome.calls)

    async def test_a_first_part_read_twice_goes_on(self, bench: Bench) -> None:
        """The process died between the answer and the commit."""
        first = await self.part(bench, 1, 2)

        await bench.handle(first)
        await bench.handle(first)
        await bench.handle(await self.part(bench, 2, 2))

        assert (10, {"delivered"}) == (bench.count(), {one.outcome.kind for one in bench.outbox.outcomes})

    @pytest.mark.parametrize("subcode", [1870147, 1870158, 1870159])
    async def test_a_session_that_is_over_is_reported(self, bench: Bench, subcode: int) -> None:
        """Ingest begins the replacement again; nobody is asked to mend anything, and no breaker opens."""
        bench.fail(code=2650, subcode=subcode)
        await bench.handle(await self.part(bench, 2, 3))

        waiting = bench.outbox.outcome.outcome
        assert isinstance(waiting, Waiting)
        assert (REPLACE_RESTART, f"audience:{bench.audience}") == (waiting.cause, waiting.scope)
        await bench.handle(await self.part(bench, 1, 3, emission=2, released_at=datetime.now(UTC)))
        assert "delivered" == bench.outbox.outcomes[1].outcome.kind

    async def test_a_new_emission_is_a_new_session(self, bench: Bench) -> None:
        """It takes effect though the old one was finished."""
        await bench.handle(await self.part(bench, 1, 1))

        await bench.handle(await self.part(bench, 1, 1, people=3, emission=2, released_at=datetime.now(UTC)))

        assert 3 == bench.count()

    async def test_another_running_replacement_is_waited_for(self, graph_emulator: Emulator, tmp_path: Path) -> None:
        """Up to 90 minutes: in tiers, with nobody's place taken."""
        async with put_together(graph_emulator, tmp_path, retry=RetrySettings(short=())) as bench:
            await bench.handle(await self.part(bench, 1, 2, revision=5))

            await bench.handle(await self.part(bench, 1, 2, revision=6))
            await bench.handle(await bench.chunk(lines(1)))

            codes = [one.header("error-code") for one in bench.outbox.of("fbc.chunks.v1.retry.30s")]
            assert ["2650/1870145", "2650/1870145"] == codes

    async def test_a_refused_row_is_isolated_within_the_session(self, graph_emulator: Emulator, tmp_path: Path) -> None:
        """Halves are further batches of it; the last one of all closes it."""
        async with put_together(graph_emulator, tmp_path, bad=[digest(f"{WHO}-1003@example.com")]) as bench:
            await bench.handle(await self.part(bench, 1, 1, people=20))

            counts = bench.outbox.outcome.counts
            assert (19, 1, 19) == (counts.accepted, counts.invalid, bench.count())
            assert 1 == len({call["session"] for call in bench.calls() if call["session"]})

    async def test_a_size_meta_does_not_replace_ends_with_its_reason(self, bench: Bench) -> None:
        """And with what to do instead."""
        bench.fail(code=2650, subcode=1870144)

        await bench.handle(await self.part(bench, 1, 1))

        outcome = bench.outbox.outcome.outcome
        assert isinstance(outcome, Dead)
        assert "replace_too_large" == outcome.reason
        assert "add and remove" in outcome.message

    async def test_a_replacement_that_begins_empty_is_given_up(self, bench: Bench) -> None:
        """Not one usable record in its first part: something is wrong with the files, and the audience stays."""
        await bench.handle(await bench.chunk(lines(7)))
        place = ReplaceBatch(number=1, total=1)

        await bench.handle(await bench.chunk(["{}"], operation=Operation.REPLACE, replace=place))

        outcome = bench.outbox.outcomes[1].outcome
        assert isinstance(outcome, Dead)
        assert ("replace_begins_empty", 7) == (outcome.reason, bench.count())
