"""One chunk from event to outcome, against the emulator and a folder: what arrives, and what is said."""

import asyncio
from pathlib import Path

import orjson
import pytest
from structlog.testing import capture_logs

from connector.graph.protocol import UsersReply
from schemas.events import Dead, Delivered, Operation, Waiting
from tests.integration.auth_parts import Emulator
from tests.integration.uploader_parts import PROFILE, Bench, put_together
from tests.integration.uploader_records import WHO, invalid_reply, lines, twins
from tests.records import digest, emails, line

pytest_plugins = ("tests.integration.uploader_fixtures",)


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
        bench.emulator.tell("PUT", "/limits", {"latency_ms": 100})
        try:
            await asyncio.gather(*(bench.handle(chunk) for chunk in chunks))
        finally:
            bench.emulator.tell("PUT", "/limits", {"latency_ms": 0})

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
