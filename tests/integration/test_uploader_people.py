"""What waits for a person: one call finds out, everybody waits, and goes on when it is mended."""

import asyncio
from datetime import timedelta

import pytest
from structlog.testing import capture_logs

from connector.kafka.record import Record
from schemas.events import Waiting
from tests.integration.uploader_parts import PROFILE, Bench
from tests.integration.uploader_records import lines

pytest_plugins = ("tests.integration.uploader_fixtures",)


class TestPeople:
    async def test_a_dead_token_waits(self, bench: Bench) -> None:
        """One call for all its chunks: each waits for the profile's token, and the person is told once."""
        bench.fail(code=190, subcode=463)

        with capture_logs() as logged:
            for _ in range(3):
                await bench.handle(await bench.chunk(lines(10)))

        for waiting in bench.outbox.outcomes:
            assert isinstance(waiting.outcome, Waiting)
            assert ("token_expired", f"token:{PROFILE}") == (waiting.outcome.cause, waiting.outcome.scope)
        assert [1, 0, 0] == [waiting.calls for waiting in bench.outbox.outcomes]
        assert (1, 1) == (bench.graph.calls, [line["event"] for line in logged].count("scope.opened"))

    async def test_those_who_wait_for_their_turn_when_it_dies_are_not_called_for(self, bench: Bench) -> None:
        """All are past the door when the first one is refused: the others burn no call, and ask for no lease."""
        bench.fail(code=190, subcode=463, delay_ms=200)
        chunks = [await bench.chunk(lines(1, start=number)) for number in range(24)]

        await asyncio.gather(*(bench.handle(chunk) for chunk in chunks))

        assert {"waiting"} == {outcome.outcome.kind for outcome in bench.outbox.outcomes}
        assert (24, 1, 1) == (len(bench.outbox.outcomes), bench.graph.calls, len(bench.desk.asked))

    async def test_a_mended_token_goes_on_by_one_probe(self, bench: Bench) -> None:
        """Connected again, of eight chunks one finds out with a new lease while the others hold on; all arrive."""
        bench.fail(code=190, subcode=463)
        await bench.handle(await bench.chunk(lines(1)))
        chunks = [await bench.chunk(lines(1, start=number)) for number in range(8)]
        bench.fail(delay_ms=200)

        bench.connected()
        handling = [asyncio.create_task(bench.handle(chunk)) for chunk in chunks]
        bench.graph.called.clear()
        await bench.graph.called.wait()
        assert 1 == bench.graph.in_flight
        await asyncio.gather(*handling)

        assert (8, 2) == (bench.count(), len(bench.desk.asked))

    async def test_a_probe_that_is_refused_waits_again(self, bench: Bench) -> None:
        """Connected with the wrong permissions: one more call, and everybody waits again."""
        for _ in range(2):
            bench.fail(code=190, subcode=463)
        await bench.handle(await bench.chunk(lines(1)))
        bench.connected()

        chunks = [await bench.chunk(lines(1, start=number)) for number in range(4)]
        await asyncio.gather(*(bench.handle(chunk) for chunk in chunks))

        assert (5, 2) == (len(bench.outbox.outcomes), bench.graph.calls)
        assert {"waiting"} == {outcome.outcome.kind for outcome in bench.outbox.outcomes}

    async def test_a_released_chunk_is_its_own_probe(self, bench: Bench) -> None:
        """An operator released it after the breaker had opened; one that was released before waits on."""
        bench.fail(code=100, subcode=1713230)
        waiting = await bench.chunk(lines(5))
        await bench.handle(waiting)
        opened = bench.outbox.outcome.settled_at
        released = {"emission": 2, "released_at": opened - timedelta(seconds=1)}

        await bench.handle(waiting.model_copy(update=released))
        await bench.handle(waiting.model_copy(update=released | {"released_at": opened + timedelta(seconds=1)}))

        assert ["waiting", "waiting", "delivered"] == [one.outcome.kind for one in bench.outbox.outcomes]
        assert (2, 5) == (bench.graph.calls, bench.count())

    async def test_a_probe_that_fails_otherwise_leaves_it_to_the_next(self, bench: Bench) -> None:
        """A hiccup of the probe proves nothing: the next attempt is the probe."""
        bench.fail(code=190)
        await bench.handle(await bench.chunk(lines(1)))
        bench.connected()
        bench.fail(code=2, transient=True)

        await bench.handle(await bench.chunk(lines(3)))

        assert (3, "delivered") == (bench.count(), bench.outbox.outcomes[1].outcome.kind)

    async def test_another_customers_chunks_go_on(self, bench: Bench) -> None:
        """A dead token holds up its own profile, and nobody else's account or audience."""
        bench.fail(code=190)
        await bench.handle(await bench.chunk(lines(1)))

        await bench.handle(await bench.chunk(lines(4), profile_id="7f1c2a52-7c4e-4c61-9a7a-0c1f4e9b5a10"))

        assert 4 == bench.count()

    async def test_unreadable_news_is_passed_over(self, bench: Bench) -> None:
        """A tombstone or rubbish on the profiles topic breaks nothing."""
        for value in (None, b"", b"{}", b"\xff"):
            bench.news.handle(Record("fbc.profiles.v1", 0, 1, 0, b"p", value, ()))

    @pytest.mark.parametrize(
        ("code", "subcode", "scope"),
        [(200, 1870090, "account:{account}"), (100, 1713230, "audience:{audience}")],
    )
    async def test_scopes_are_named(self, bench: Bench, code: int, subcode: int, scope: str) -> None:
        """Terms hold up the account, a flag the audience, and nothing else."""
        bench.fail(code=code, subcode=subcode)

        await bench.handle(await bench.chunk(lines(1)))

        outcome = bench.outbox.outcome.outcome
        assert isinstance(outcome, Waiting)
        assert scope.format(account=bench.account, audience=bench.audience) == outcome.scope
