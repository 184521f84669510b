"""Trouble that passes: tried again here, or later from a delay topic."""

import asyncio
from pathlib import Path

import orjson
import pytest

from connector.kafka.headers import text
from schemas.events import Dead, Operation
from services.uploader.settings import RetrySettings
from tests.integration.auth_parts import Emulator
from tests.integration.uploader_parts import Bench, put_together, record_of
from tests.integration.uploader_records import WHO, invalid_reply, lines
from tests.records import emails

pytest_plugins = ("tests.integration.uploader_fixtures",)


class TestPassingTrouble:
    @pytest.mark.parametrize(
        "fault",
        [
            {"status": 503, "body": "<html>Sorry</html>", "headers": {"Content-Type": "text/html"}},
            {"reset": "before"},
            {"reset": "after"},
            {"truncate": 30},
            {"code": 2, "transient": True},
            {"status": 200, "code": 1},
            {"status": 200, "body": {"success": True}},
            {"status": 200, "body": "", "headers": {"Content-Type": "application/json"}},
        ],
        ids=str,
    )
    async def test_is_tried_again(self, bench: Bench, fault: dict[str, object]) -> None:
        """Every kind of broken answer costs one attempt; all people arrive, once."""
        bench.fail(**fault)

        await bench.handle(await bench.chunk(lines(10)))

        assert (10, 10) == (bench.contains(emails(WHO, range(10))), bench.count())
        outcome = bench.outbox.outcome
        assert (10, 2, 2) == (outcome.counts.accepted, outcome.attempts, outcome.calls)

    async def test_a_hung_call_is_left(self, graph_emulator: Emulator, tmp_path: Path) -> None:
        """The deadline ends it, another attempt follows."""
        async with put_together(graph_emulator, tmp_path, total_timeout=0.4) as bench:
            bench.fail(hang=True)

            await bench.handle(await bench.chunk(lines(10)))

            assert (10, 2) == (bench.count(), bench.outbox.outcome.attempts)

    async def test_rows_lost_on_the_way_are_sent_again(self, bench: Bench) -> None:
        """A 200 that counts fewer rows than were sent is no success."""
        bench.fail(status=200, body=invalid_reply(bench, 9, 0, {}))

        await bench.handle(await bench.chunk(lines(10)))

        assert (10, 2) == (bench.count(), bench.outbox.outcome.attempts)

    async def test_an_unknown_error_is_halved_after_three_times(self, graph_emulator: Emulator, tmp_path: Path) -> None:
        """Code 1 is also what Meta says to what is too large: the halves arrive."""
        retry = RetrySettings(short=(0.01, 0.01, 0.01))
        async with put_together(graph_emulator, tmp_path, retry=retry) as bench:
            for _ in range(4):
                bench.fail(code=1)

            await bench.handle(await bench.chunk(lines(10)))

            assert (10, 4, 6) == (bench.count(), bench.outbox.outcome.attempts, bench.outbox.outcome.calls)

    async def test_an_unknown_error_that_stays_condemns_nobody(self, graph_emulator: Emulator, tmp_path: Path) -> None:
        """An outage that answers code 1 to everything is waited for; no row is at fault for it."""
        retry = RetrySettings(short=(0.01, 0.01, 0.01))
        async with put_together(graph_emulator, tmp_path, retry=retry) as bench:
            for _ in range(9):
                bench.fail(code=1)

            await bench.handle(await bench.chunk(lines(10)))

            assert ([], "1") == (
                bench.outbox.outcomes,
                text(bench.outbox.postponed("30s").headers, "error-code"),
            )

    async def test_what_arrived_before_a_throttle_is_not_sent_again(self, bench: Bench) -> None:
        """Three calls, the second throttled: it goes on there."""
        match = {"path": "/users", "audience": bench.audience}
        headers = {"Retry-After": "1", "x-business-use-case-usage": "{}"}
        answer = {"code": 80003, "subcode": 2446079, "headers": headers}
        bench.emulator.tell("POST", "/faults", {"match": match, "after": 1, "answer": answer})

        await bench.handle(await bench.chunk(lines(2_500), operation=Operation.REMOVE))

        assert [1_000, 1_000, 500] == [call["rows"] for call in bench.calls() if call["status"] == 200]
        assert (2_500, 4, 1) == (
            bench.outbox.outcome.counts.accepted,
            bench.outbox.outcome.calls,
            bench.outbox.outcome.attempts,
        )

    async def test_exhausted_it_is_a_dead_letter(self, bench: Bench) -> None:
        """Three attempts, then the letter with the original bytes, then the outcome that speaks of it."""
        for _ in range(3):
            bench.fail(status=503, body="<html>Sorry</html>", headers={"Content-Type": "text/html"})
        chunk = await bench.chunk(lines(10))

        await bench.handle(chunk)

        outcome, letter = bench.outbox.outcome, bench.outbox.letter
        assert isinstance(outcome.outcome, Dead)
        assert (10, 3, "http_503") == (outcome.counts.dead, outcome.attempts, outcome.outcome.code)
        assert record_of(chunk).value == letter.value
        assert ["fbc.chunks.v1.dlq", "fbc.outcomes.v1"] == [one.topic for one in bench.outbox.written]
        assert ("fbc.chunks.v1", "3", "17", "transient", "3") == tuple(
            letter.header(name)
            for name in ("origin-topic", "origin-partition", "origin-offset", "failure-kind", "attempt")
        )

    async def test_a_short_throttle_is_waited_for(self, bench: Bench) -> None:
        """The account pauses for the stated second and goes on; no attempt is spent."""
        bench.fail(code=80003, subcode=2446079, headers={"Retry-After": "1", "x-business-use-case-usage": "{}"})

        await bench.handle(await bench.chunk(lines(10)))

        first, second = bench.calls()
        assert second["time"] - first["time"] >= 1
        assert (10, 1) == (bench.count(), bench.outbox.outcome.attempts)


class TestDelays:
    async def test_after_the_short_retries_it_waits_in_tiers(self, graph_emulator: Emulator, tmp_path: Path) -> None:
        """30 s, then 5 min: each hop keeps where it began and counts on; then it arrives."""
        retry = RetrySettings(short=(0.01,), attempts=6)
        async with put_together(graph_emulator, tmp_path, retry=retry) as bench:
            for _ in range(3):
                bench.fail(code=2, transient=True)
            await bench.handle(await bench.chunk(lines(10)))
            first = bench.outbox.postponed("30s")
            await bench.deliverer.handle(first)
            second = bench.outbox.postponed("5m")
            await bench.deliverer.handle(second)

            told = [
                [text(one.headers, name) for name in ("attempt", "failure-kind", "error-code", "origin-topic")]
                for one in (first, second)
            ]
            assert [[n, "transient", "2", "fbc.chunks.v1"] for n in ("2", "3")] == told
            assert text(first.headers, "first-failure-at") == text(second.headers, "first-failure-at")
            assert "a" * 32 in (text(second.headers, "traceparent") or "")
            assert (10, 4, 10) == (bench.count(), bench.outbox.outcome.attempts, bench.outbox.outcome.counts.accepted)

    async def test_a_long_throttle_goes_to_the_tier_that_is_long_enough(self, bench: Bench) -> None:
        """Due when Meta said, no attempt spent, no failure noted, and no call made until then."""
        bench.fail(code=80003, subcode=2446079, headers={"Retry-After": "100", "x-business-use-case-usage": "{}"})

        await bench.handle(await bench.chunk(lines(10)))
        await bench.handle(await bench.chunk(lines(10)))

        first, second = bench.outbox.of("fbc.chunks.v1.retry.5m")
        past = {name: first.header(name) for name in ("attempt", "failure-kind", "first-failure-at")}
        assert {"attempt": "0", "failure-kind": "throttled", "first-failure-at": None} == past
        assert 90_000 < int(first.header("due-at") or 0) - int(first.header("last-failure-at") or 0) <= 110_000
        assert ("throttled", 1) == (second.header("failure-kind"), bench.graph.calls)

    async def test_a_budget_that_is_spent_is_waited_for_in_a_tier(self, bench: Bench) -> None:
        """At 99 % nobody is throttled, and the next turn is minutes away: no handler is held, no attempt spent."""
        number = bench.account.removeprefix("act_")
        used = {number: [{"type": "custom_audience", "call_count": 99, "total_time": 1, "total_cputime": 1}]}
        bench.fail(headers={"x-business-use-case-usage": orjson.dumps(used).decode()})

        await bench.handle(await bench.chunk(lines(10)))
        await bench.handle(await bench.chunk(lines(10)))

        [letter] = bench.outbox.of("fbc.chunks.v1.retry.5m")
        told = [letter.header(name) for name in ("failure-kind", "error-code", "attempt", "first-failure-at")]
        assert (["throttled", "budget", "0", None], 1) == (told, bench.graph.calls)

    async def test_a_throttled_accounts_chunks_do_not_fill_the_places(self, bench: Bench) -> None:
        """Four wait in memory for the second Meta asked for, the others make room for other accounts."""
        bench.fail(code=80003, subcode=2446079, headers={"Retry-After": "1", "x-business-use-case-usage": "{}"})
        await bench.handle(await bench.chunk(lines(1), records=2))  # a dead letter: nothing of it was called for
        throttled = asyncio.create_task(bench.handle(await bench.chunk(lines(1))))
        await bench.graph.called.wait()
        chunks = [await bench.chunk(lines(1, start=number)) for number in range(1, 10)]

        await asyncio.gather(throttled, *(bench.handle(chunk) for chunk in chunks))

        waited = len(bench.outbox.outcomes) - 1
        assert (4, 6) == (waited, len(bench.outbox.of("fbc.chunks.v1.retry.30s")))

    async def test_a_copy_that_is_not_acknowledged_is_written_again(
        self, graph_emulator: Emulator, tmp_path: Path
    ) -> None:
        """The record is held until Kafka has its copy: a retry is never lost between two topics."""
        async with put_together(graph_emulator, tmp_path, retry=RetrySettings(short=())) as bench:
            bench.fail(code=2, transient=True)
            bench.outbox.refusing = 1

            await bench.handle(await bench.chunk(lines(10)))

            assert ["fbc.chunks.v1.retry.30s"] == [one.topic for one in bench.outbox.written]
