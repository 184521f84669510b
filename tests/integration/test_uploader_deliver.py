"""One chunk from event to outcome, against the emulator and a folder: what arrives, and what is said."""

import asyncio
import os
from datetime import UTC, datetime, timedelta
from pathlib import Path

import orjson
import pytest
from structlog.testing import capture_logs

from connector.graph.protocol import UsersReply
from connector.kafka.headers import text
from connector.kafka.record import Record
from schemas.events import REPLACE_RESTART, ChunkReady, Dead, Delivered, Operation, ReplaceBatch, Waiting
from services.uploader.settings import RetrySettings
from tests.integration.auth_parts import Emulator
from tests.integration.uploader_parts import PROFILE, Bench, put_together, record_of
from tests.records import digest, emails, line

pytest_plugins = ("tests.integration.uploader_fixtures",)

WHO = "watermark"


def lines(count: int, start: int = 0) -> list[str]:
    """Records of *count* people."""
    return [line(WHO, number) for number in range(start, start + count)]


def twins(count: int) -> list[str]:
    """Records with two devices each: two rows."""
    return [
        orjson.dumps(
            {
                "android_advertising_id": {"value": f"{number:08x}-aaaa-4aaa-8aaa-aaaaaaaaaaaa"},
                "apple_idfa": {"value": f"{number:08x}-bbbb-4bbb-8bbb-bbbbbbbbbbbb"},
            }
        ).decode()
        for number in range(count)
    ]


def invalid_reply(bench: Bench, sent: int, invalid: int, samples: dict[str, str]) -> dict[str, object]:
    """A users reply that refuses rows."""
    return {
        "audience_id": bench.audience,
        "session_id": "1",
        "num_received": sent,
        "num_invalid_entries": invalid,
        "invalid_entry_samples": samples,
    }


class TestArriving:
    async def test_everybody_arrives(self, bench: Bench) -> None:
        """All records of the chunk are members, in one call, and the outcome says so."""
        await bench.handle(await bench.chunk(lines(50)))

        outcome = bench.outbox.outcome
        assert (50, 50) == (bench.contains(emails(WHO, range(50))), bench.count())
        assert isinstance(outcome.outcome, Delivered)
        assert (50, 50, 1, 1) == (outcome.counts.records, outcome.counts.accepted, outcome.calls, outcome.attempts)

    async def test_the_outcome_is_found_by_its_delivery(self, bench: Bench) -> None:
        """Keyed by the revision, in the trace of the chunk, with the id Meta's support asks for."""
        await bench.handle(await bench.chunk(lines(1)))

        (written,) = bench.outbox.written
        assert (b"1", "fbc.chunk-settled.v1") == (written.key, written.header("ce_type"))
        assert "a" * 32 in (written.header("traceparent") or "")
        assert bench.outbox.outcome.fbtrace_id

    async def test_unusable_records_are_rejected_by_number(self, bench: Bench) -> None:
        """A malformed line and a person without an identifier stay; the others leave."""
        chunk = await bench.chunk([line(WHO, 0), "{broken", "{}", line(WHO, 3)], first_record=101, first_line=201)

        await bench.handle(chunk)

        outcome = bench.outbox.outcome
        assert (4, 2, 2) == (outcome.counts.records, outcome.counts.accepted, outcome.counts.rejected)
        assert [(102, 202, "malformed_json"), (103, 203, "no_identifier")] == [
            (reject.record, reject.line, reject.reason) for reject in outcome.rejects
        ]

    async def test_values_that_are_left_out_are_counted(self, bench: Bench) -> None:
        """The record leaves without them; the outcome says of which key, why, and how many."""
        whole = {**orjson.loads(line(WHO, 0)), "hl7_gender": {"gender": "neuter"}, "iso_3166_1_country": 5}

        await bench.handle(await bench.chunk([orjson.dumps(whole).decode(), line(WHO, 1)]))

        outcome = bench.outbox.outcome
        assert (2, {"GEN:unknown_gender": 1, "COUNTRY:wrong_type": 1}) == (
            outcome.counts.accepted,
            outcome.cell_rejects,
        )

    async def test_without_a_usable_record_no_call_is_made(self, bench: Bench) -> None:
        """Nothing is sent, and the chunk is settled all the same."""
        await bench.handle(await bench.chunk(["{}", "{}"]))

        assert (0, 2, 0) == (len(bench.calls()), bench.outbox.outcome.counts.rejected, bench.outbox.outcome.calls)

    async def test_people_are_removed(self, bench: Bench) -> None:
        """The same records with `remove` empty the audience."""
        await bench.handle(await bench.chunk(lines(20)))

        await bench.handle(await bench.chunk(lines(15), operation=Operation.REMOVE))

        assert 5 == bench.count()
        assert ["POST", "DELETE"] == [call["method"] for call in bench.calls()]

    async def test_removals_are_sent_in_smaller_calls(self, bench: Bench) -> None:
        """2,500 people: three calls of one session, the payload in the body."""
        await bench.handle(await bench.chunk(lines(2_500)))

        await bench.handle(await bench.chunk(lines(2_500), operation=Operation.REMOVE))

        removals = [call for call in bench.calls() if call["method"] == "DELETE"]
        assert [1_000, 1_000, 500] == [call["rows"] for call in removals]
        assert (1, 0) == (len({call["session"] for call in removals}), bench.count())
        assert 2_500 == bench.outbox.outcomes[1].counts.accepted

    async def test_more_rows_than_a_call_takes_are_one_session(self, bench: Bench) -> None:
        """6,000 people with two devices each: two calls of one session, nobody twice."""
        await bench.handle(await bench.chunk(twins(6_000)))

        calls = bench.calls()
        assert (12_000, 12_000) == (sum(call["rows"] for call in calls), bench.count())
        assert (2, 1) == (len(calls), len({call["session"] for call in calls}))
        assert (6_000, 2) == (bench.outbox.outcome.counts.accepted, bench.outbox.outcome.calls)

    async def test_the_same_chunk_again_changes_nothing(self, bench: Bench) -> None:
        """A redelivered record repeats its session, and the outcome has the same id."""
        chunk = await bench.chunk(lines(30))

        await bench.handle(chunk)
        await bench.handle(chunk)

        first, second = bench.outbox.written
        assert (30, 1) == (bench.count(), len({call["session"] for call in bench.calls()}))
        assert first.header("ce_id") == second.header("ce_id")
        assert [30, 30] == [outcome.counts.accepted for outcome in bench.outbox.outcomes]


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


class TestEnds:
    async def test_an_unknown_answer_is_never_delivered(self, bench: Bench) -> None:
        """One slow attempt more, from a tier, then a dead letter that names the code, though attempts are left."""
        for _ in range(2):
            bench.fail(code=987654, subcode=12)

        await bench.handle(await bench.chunk(lines(10)))
        await bench.deliverer.handle(bench.outbox.postponed("5m"))

        outcome = bench.outbox.outcome
        assert isinstance(outcome.outcome, Dead)
        assert ("unknown_answer", "987654/12") == (outcome.outcome.reason, outcome.outcome.code)
        assert (2, "unknown", 0) == (outcome.attempts, bench.outbox.letter.header("failure-kind"), bench.count())

    async def test_a_removal_that_leaves_too_few_ends_with_its_reason(self, bench: Bench) -> None:
        """Meta keeps the audience as it is: once asked, no loop, and the owner reads why."""
        bench.fail(code=200, subcode=1870047)

        await bench.handle(await bench.chunk(lines(10), operation=Operation.REMOVE))

        outcome = bench.outbox.outcome.outcome
        assert isinstance(outcome, Dead)
        assert ("audience_too_small", "200/1870047", 1) == (outcome.reason, outcome.code, bench.graph.calls)

    async def test_a_reply_about_another_audience_is_a_breach(self, bench: Bench) -> None:
        """It is given up at once and not tried again: something is wrong that must not go on."""
        bench.fail(status=200, body={**invalid_reply(bench, 10, 0, {}), "audience_id": "99"})

        await bench.handle(await bench.chunk(lines(10)))

        outcome = bench.outbox.outcome.outcome
        assert isinstance(outcome, Dead)
        assert ("wrong_audience", 1) == (outcome.reason, bench.graph.calls)

    async def test_too_many_dead_letters_in_a_row_stop_the_line(self, bench: Bench) -> None:
        """After the third the consumers are held, once, with the reason; an arrival before had begun a new row."""
        held: list[str] = []
        bench.line.holds(held.append)
        for records in (11, 11, 10, 11, 11):
            await bench.handle(await bench.chunk(lines(10), records=records))
        assert ([], True) == (held, bench.line.running)

        for _ in "12":
            await bench.handle(await bench.chunk(lines(10), records=11))

        assert (1, False) == (len(held), bench.line.running)

    async def test_a_chunk_that_hangs_is_put_aside(self, bench: Bench) -> None:
        """It goes to a delay topic as an attempt that failed: with its bytes, its origin and the word for it."""
        chunk = await bench.chunk(lines(10))
        record = record_of(chunk)

        await bench.deliverer.put_aside(record)

        letter = bench.outbox.postponed("5m")
        assert (record.key, record.value) == (letter.key, letter.value)
        assert ("stuck", "1", record.topic) == tuple(
            text(letter.headers, name) for name in ("error-code", "attempt", "origin-topic")
        )

    async def test_a_changed_file_is_not_sent(self, bench: Bench) -> None:
        """What was planned is not what lies there now."""
        chunk = await bench.chunk(lines(10))
        (bench.folder / chunk.key).write_text("\n".join(lines(10, start=100)) + "\n")

        await bench.handle(chunk)

        assert "object_changed" == self.reason(bench)

    async def test_a_missing_file_is_not_sent(self, bench: Bench) -> None:
        """Named as missing."""
        chunk = await bench.chunk(lines(10))
        (bench.folder / chunk.key).unlink()

        await bench.handle(chunk)

        assert "object_missing" == self.reason(bench)

    async def test_an_unknown_store_is_named(self, bench: Bench) -> None:
        """The settings of this process do not know it."""
        await bench.handle(await bench.chunk(lines(10), store="elsewhere"))

        assert "unknown_store" == self.reason(bench)

    async def test_another_number_of_records_is_not_sent(self, bench: Bench) -> None:
        """A range that does not hold what was planned is somebody else's: nothing of it leaves."""
        await bench.handle(await bench.chunk(lines(10), records=11))

        assert "records_mismatch" == self.reason(bench)

    @staticmethod
    def reason(bench: Bench) -> str:
        """Why the only chunk is dead, nothing of it having been sent."""
        assert 0 == bench.graph.calls
        outcome = bench.outbox.outcome.outcome
        assert isinstance(outcome, Dead)
        assert bench.outbox.letter.value
        return outcome.reason

    @pytest.mark.parametrize("value", [b"", b"\xff\x00", b"{}", b'{"revision":"x"}', b"[1]"])
    async def test_poison_is_buried_with_its_bytes(self, bench: Bench, value: bytes) -> None:
        """What is no chunk event goes to the dead letters as it came; there is no chunk to settle."""
        record = record_of(await bench.chunk(lines(1)), value or None)
        poison = type(record)(**{name: getattr(record, name) for name in record.__slots__} | {"value": value})

        await bench.deliverer.handle(poison)

        assert (value, "poison") == (bench.outbox.letter.value, bench.outbox.letter.header("failure-kind"))
        assert [] == bench.outbox.outcomes

    async def test_a_defect_of_ours_ends_the_chunk(self, bench: Bench) -> None:
        """Its delivery would never end otherwise; the error's text, which may quote data, stays out."""
        record = record_of(await bench.chunk(lines(10)))

        await bench.settler.defect(record, RuntimeError("ada@example.com"))

        outcome = bench.outbox.outcome
        assert isinstance(outcome.outcome, Dead)
        assert ("defect", "RuntimeError", 10) == (outcome.outcome.reason, outcome.outcome.code, outcome.counts.dead)
        assert all(b"ada@" not in (one.value or b"") + repr(one.headers).encode() for one in bench.outbox.written)


class TestLeases:
    async def test_a_burst_asks_once(self, bench: Bench) -> None:
        """Twenty chunks of one destination share a lease."""
        bench.desk.delay = 0.05
        chunks = [await bench.chunk(lines(1, start=number)) for number in range(20)]

        await asyncio.gather(*(bench.handle(chunk) for chunk in chunks))

        assert (1, 20) == (len(bench.desk.asked), bench.count())

    async def test_a_lease_about_to_end_is_not_used_again(self, bench: Bench) -> None:
        """A call that begins must end within it."""
        bench.desk.lifetime = 10

        for number in range(2):
            await bench.handle(await bench.chunk(lines(1, start=number)))

        assert 2 == len(bench.desk.asked)

    async def test_auth_is_told_what_for(self, bench: Bench) -> None:
        """Profile, company, ad account, audience and chunk: auth checks the binding and logs who asked."""
        chunk = await bench.chunk(lines(1))

        await bench.handle(chunk)

        expected = {
            "profile_id": str(PROFILE),
            "company_id": 42,
            "ad_account_id": bench.account,
            "audience_id": bench.audience,
            "chunk_id": chunk.chunk_id,
        }
        assert [expected] == bench.desk.asked

    @pytest.mark.parametrize(
        ("status", "code"), [(403, "binding_refused"), (404, "unknown_profile"), (422, "audience_not_found")]
    )
    async def test_a_refused_binding_is_a_dead_letter(self, bench: Bench, status: int, code: str) -> None:
        """Isolation: what auth does not vouch for is not sent, and not tried again."""
        bench.desk.script(status, code)

        await bench.handle(await bench.chunk(lines(1)))

        outcome = bench.outbox.outcome.outcome
        assert isinstance(outcome, Dead)
        assert (code, "refused", 0) == (outcome.reason, bench.outbox.letter.header("failure-kind"), bench.graph.calls)

    @pytest.mark.parametrize(("code", "scope"), [("token_dead", "token:"), ("terms_missing", "account:")])
    async def test_what_a_person_has_to_mend_waits(self, bench: Bench, code: str, scope: str) -> None:
        """Auth's advice reaches the outcome."""
        bench.desk.script(409, code)

        await bench.handle(await bench.chunk(lines(1)))

        outcome = bench.outbox.outcome.outcome
        assert isinstance(outcome, Waiting)
        assert (code, "what to do") == (outcome.cause, outcome.advice)
        assert outcome.scope.startswith(scope)

    @pytest.mark.parametrize(
        ("status", "body"),
        [(503, "graph_unavailable"), (401, "unidentified"), (403, "caller_refused"), (500, None), (200, {}), (200, [])],
    )
    async def test_trouble_of_auth_passes(self, bench: Bench, status: int, body: object) -> None:
        """Whatever auth says that is not about the chunk is tried again."""
        bench.desk.script(status, body)

        await bench.handle(await bench.chunk(lines(1)))

        assert (1, 2) == (bench.outbox.outcome.counts.accepted, bench.outbox.outcome.attempts)

    async def test_a_stated_time_is_waited_for(self, bench: Bench) -> None:
        """Retry-After of auth is obeyed."""
        bench.desk.script(503, "throttled", Retry_After="1")
        began = asyncio.get_running_loop().time()

        await bench.handle(await bench.chunk(lines(1)))

        assert asyncio.get_running_loop().time() - began >= 1


class TestBounds:
    async def test_calls_in_flight_are_bounded(self, bench: Bench) -> None:
        """However many chunks are in hand, at most four calls are."""
        chunks = [await bench.chunk(lines(5, start=5 * number)) for number in range(24)]

        await asyncio.gather(*(bench.handle(chunk) for chunk in chunks))

        assert (120, 24) == (bench.count(), bench.graph.calls)
        assert 1 < bench.graph.most_in_flight <= 4

    async def test_a_throttled_account_holds_nobody_up(self, graph_emulator: Emulator, tmp_path: Path) -> None:
        """With a single place, another account's chunk passes the one that waits."""
        async with put_together(graph_emulator, tmp_path, concurrency=1) as bench:
            headers = {"Retry-After": "5", "x-business-use-case-usage": "{}"}
            bench.fail(code=80003, subcode=2446079, headers=headers)
            throttled = asyncio.create_task(bench.handle(await bench.chunk(lines(1))))
            await bench.graph.called.wait()
            other = await bench.chunk(["{}"], ad_account_id="act_777")

            async with asyncio.timeout(3):
                await bench.handle(other)

            assert [1] == [outcome.counts.rejected for outcome in bench.outbox.outcomes]
            bench.stop.set()
            with pytest.raises(asyncio.CancelledError):
                await throttled

    async def test_a_stop_leaves_what_has_not_begun(self, bench: Bench) -> None:
        """It is read again by the next process: nothing is doubled, nothing is settled."""
        bench.stop.set()

        with pytest.raises(asyncio.CancelledError):
            await bench.handle(await bench.chunk(lines(1)))

        assert (0, []) == (bench.graph.calls, bench.outbox.written)

    async def test_a_stop_lets_a_call_end(self, bench: Bench) -> None:
        """What is under way is finished and settled: a clean stop duplicates nothing."""
        bench.fail(delay_ms=300)
        handling = asyncio.create_task(bench.handle(await bench.chunk(lines(5))))
        await bench.graph.called.wait()

        bench.stop.set()
        await handling

        assert (5, 5) == (bench.count(), bench.outbox.outcome.counts.accepted)

    async def test_an_outcome_that_is_not_acknowledged_is_written_again(self, bench: Bench) -> None:
        """The record is held until Kafka has its outcome."""
        bench.outbox.refusing = 1

        await bench.handle(await bench.chunk(lines(1)))

        assert 1 == bench.outbox.outcome.counts.accepted


@pytest.fixture
async def everything_said(bench: Bench) -> list[str]:
    """Every log line, before any redaction, and every record written in a run with all kinds of trouble, as text."""
    with capture_logs() as logged:
        row = orjson.dumps([digest(f"{WHO}-1@example.com")]).decode()
        message = f"quoting {bench.desk.token} and {digest(f'{WHO}-1@example.com')}"
        faults: list[dict[str, object]] = [
            {"status": 400, "body": {"error": {"code": 100, "message": message, "type": "x"}}},
            {"status": 200, "body": invalid_reply(bench, 3, 1, {row: "malformed"})},
            {"code": 190, "subcode": 460},
            {"reset": "after"},
        ]
        for fault in faults:
            bench.fail(**fault)
            await bench.handle(await bench.chunk(lines(3)))
    return [*map(str, logged), *(f"{one.value!r} {one.headers!r}" for one in bench.outbox.written)]


class TestPrivacy:
    async def test_no_token_and_no_hash_is_said(self, bench: Bench, everything_said: list[str]) -> None:
        """Not in a log line, an outcome or a dead letter, whatever Meta quotes back."""
        secrets = [bench.desk.token, *(digest(f"{WHO}-{number}@example.com") for number in range(3)), "@example.com"]

        assert len(everything_said) > 10
        assert [] == [(secret, text) for text in everything_said for secret in secrets if secret in text]

    async def test_no_repr_shows_a_row(self) -> None:
        """Replies hold hashed rows and do not show them."""
        assert "secret" not in repr(UsersReply("1", "2", 1, 1, ("secret",)))


class TestFiles:
    async def test_a_file_that_shrank_is_not_sent(self, bench: Bench) -> None:
        """It is not the planned object any more."""
        chunk = await bench.chunk(lines(10))
        os.truncate(bench.folder / chunk.key, 100)

        await bench.handle(chunk)

        assert "object_changed" == TestEnds.reason(bench)
