"""Outcomes: applied once in any order, never backwards, contradictions put aside; states told in sequence."""

import asyncio
import itertools
import random
from collections.abc import Sequence
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from typing_extensions import override

from connector.kafka import topics
from connector.kafka.events import Encoded, encode
from connector.kafka.producer import EventProducer, ProduceError
from connector.kafka.topics import Topic
from schemas.events import (
    REPLACE_RESTART,
    ChunkCounts,
    ChunkReady,
    ChunkSettled,
    Dead,
    Delivered,
    DeliveryState,
    FileRef,
    Outcome,
    Reject,
    ReplaceBatch,
    Totals,
    Waiting,
)
from schemas.registry import CHUNK_SETTLED
from services.ingest import accounting, deliveries, rejects
from services.ingest.clock import utc_now
from services.ingest.holding import Stopped
from services.ingest.settling import Applied, Contradiction, Repeated, Settler
from services.ingest.states import total
from services.ingest.status import StatusPublisher
from tests.integration.ingest_parts import Rig, changed

pytest_plugins = ("tests.integration.ingest_fixtures",)

MOMENT = datetime(2026, 11, 24, 12, 0, tzinfo=UTC)
moments = (MOMENT + timedelta(seconds=second) for second in itertools.count())
TOKEN = Waiting(cause="token_dead", scope="profile", advice="reconnect the profile")
GIVEN_UP = Dead(reason="object_changed", message="the object is not the one that was planned")


PLACES = ("accepted", "invalid", "rejected")


def settled(ready: ChunkReady, outcome: Outcome | None = None, **changes: Any) -> ChunkSettled:
    """The uploader's word on a chunk: all of its records in one place, unless *changes* says otherwise.

    Places (`accepted`, `invalid`, `rejected`) are the chunk's counts, other names are fields of the event.
    """
    outcome = outcome or Delivered()
    whole = {"delivered": "accepted", "waiting": "waiting", "dead": "dead"}[outcome.kind]
    places: dict[str, int] = {name: changes.pop(name) for name in PLACES if name in changes}
    document: dict[str, Any] = {
        "revision": ready.revision,
        "file_index": ready.file_index,
        "chunk_index": ready.chunk_index,
        "ad_account_id": ready.ad_account_id,
        "audience_id": ready.audience_id,
        "outcome": outcome,
        "counts": ChunkCounts(records=ready.records, **(places or {whole: ready.records})),
        "calls": 1,
        "emission": ready.emission,
        "settled_at": next(moments),
        **changes,
    }
    return ChunkSettled(**document)


def outcome_record(event: ChunkSettled) -> Encoded:
    """*event* as the uploader writes it."""
    return encode(
        CHUNK_SETTLED,
        event,
        key=str(event.revision),
        identity=(event.chunk_id, event.settled_at),
        source="uploader",
        subject=event.chunk_id,
        now=utc_now(),
    )


async def uploading(rig: Rig, *lines: int, **changes: Any) -> tuple[int, list[ChunkReady]]:
    """A planned delivery with a file of each so many *lines*, and its chunks."""
    delivery = await rig.planned(rig.event(*map(rig.write, lines or (25_000,)), **changes))
    return delivery.revision, [ready for _, ready in await rig.chunks(delivery.revision)]


async def totals(rig: Rig, revision: int) -> Totals:
    """Where the delivery's records are."""
    return total([file.totals for file in await rig.facts(revision)])


class TestApplied:
    @pytest.mark.parametrize("seed", range(4))
    async def test_any_order_and_any_repetition_end_the_same(self, rig: Rig, seed: int) -> None:
        """Outcomes shuffled and written up to three times: every record is counted once."""
        revision, (first, second, third) = await uploading(rig)
        outcomes = [
            settled(first),
            settled(second, accepted=9_990, invalid=4, rejected=6, reject_reasons={"no_identifier": 6}),
            settled(third, GIVEN_UP),
        ]
        order = random.Random(seed)
        written = outcomes * 3
        order.shuffle(written)

        results = [await rig.settler.apply(event) for event in written]

        assert 3 == sum(isinstance(result, Applied) for result in results)
        assert 6 == results.count(Repeated())
        assert Totals(records=25_000, accepted=19_990, invalid=4, rejected=6, waiting=0, dead=5_000) == await totals(
            rig, revision
        )
        delivery = await rig.delivery(revision)
        assert delivery.reason is not None
        assert (DeliveryState.PARTLY_DELIVERED, "object_changed") == (delivery.state, delivery.reason.code)
        assert delivery.ended_at is not None

    async def test_the_last_outcome_ends_the_delivery_and_no_earlier_one(self, rig: Rig) -> None:
        """Uploading until every chunk is settled, then delivered."""
        revision, chunks = await uploading(rig)
        states = []
        for ready in chunks:
            await rig.settler.apply(settled(ready))
            states.append((await rig.delivery(revision)).state)
        assert [DeliveryState.UPLOADING, DeliveryState.UPLOADING, DeliveryState.DELIVERED] == states

    async def test_outcomes_and_the_end_of_planning_may_come_at_once(self, rig: Rig) -> None:
        """Two processes, each with one half of what ends a delivery: none overlooks the other's half."""
        event = rig.event(rig.write(40_000), rig.write(3).model_copy(update={"key": "gone"}))
        await rig.acceptor.accept(event, via="topic")
        rig.stop.set()
        with pytest.raises(Stopped):
            await rig.planner().plan(event.revision)
        rig.stop.clear()
        sent = [ready for _, ready in await rig.chunks(event.revision)]

        await asyncio.gather(rig.planner().plan(event.revision), *(rig.settler.apply(settled(one)) for one in sent))
        rest = [ready for _, ready in await rig.chunks(event.revision) if ready not in sent]
        await asyncio.gather(*(rig.settler.apply(settled(ready)) for ready in rest))

        assert 4 == len(sent) + len(rest)
        assert DeliveryState.PARTLY_DELIVERED == (await rig.delivery(event.revision)).state

    async def test_two_that_change_one_delivery_take_turns(self, rig: Rig) -> None:
        """While somebody works on the delivery's row, an outcome waits; then it is applied to what that one left."""
        revision, (ready,) = await uploading(rig, 10)
        event = settled(ready)
        async with rig.engine.begin() as connection:
            await deliveries.locked(connection, revision)
            with pytest.raises(TimeoutError):
                async with asyncio.timeout(0.3):
                    await rig.settler.apply(event)
        assert isinstance(await rig.settler.apply(event), Applied)

    async def test_a_chunk_may_settle_before_planning_ends(self, rig: Rig) -> None:
        """The uploader may be quicker than planning: nothing ends before the plan does."""
        event = rig.event(rig.write(20_000), rig.write(7))
        await rig.acceptor.accept(event, via="topic")
        rig.stop.set()  # the planner stops after the first stretch of the first file
        with pytest.raises(Stopped):
            await rig.planner().plan(event.revision)
        rig.stop.clear()

        for _, ready in await rig.chunks(event.revision):
            await rig.settler.apply(settled(ready))
        early = await rig.delivery(event.revision)
        await rig.planner().plan(event.revision)

        assert DeliveryState.PLANNING == early.state
        assert DeliveryState.UPLOADING == (await rig.delivery(event.revision)).state

    async def test_rejects_are_kept_by_number_and_reason_at_most_a_hundred(self, rig: Rig) -> None:
        """A file full of errors does not fill the ledger; its counts stay complete."""
        revision, chunks = await uploading(rig)
        for ready in chunks:
            samples = tuple(
                Reject(record=ready.first_record + n, line=ready.first_line + n, reason="malformed_json")
                for n in range(60)
            )
            await rig.settler.apply(
                settled(
                    ready,
                    accepted=ready.records - 60,
                    rejected=60,
                    reject_reasons={"malformed_json": 60},
                    rejects=samples,
                )
            )
        async with rig.engine.connect() as connection:
            kept = (await rejects.of_delivery(connection, revision))[0]
            reasons = await accounting.reject_reasons(connection, revision)
        assert 100 == len(kept)
        assert 1 == kept[0].record
        assert {0: {"malformed_json": 180}} == reasons


class TestStop:
    async def test_a_stop_finishes_the_record_at_hand_and_begins_no_other(self, rig: Rig) -> None:
        """What was begun is committed and told; what was not is left for the next process."""
        revision, (first, second, _) = await uploading(rig)
        records = [await rig.put(topics.OUTCOMES, outcome_record(settled(ready))) for ready in (first, second)]
        outcomes = rig.outcomes
        async with rig.engine.begin() as connection:
            await deliveries.locked(connection, revision)  # keeps the first record at hand
            begun = asyncio.create_task(outcomes.handle(records[0]))
            await asyncio.sleep(0)
            rig.stop.set()
            finished = asyncio.create_task(outcomes.finished())
            await asyncio.sleep(0)
            assert not finished.done()

        assert await begun
        await finished
        assert not await outcomes.handle(records[1])
        assert 10_000 == (await totals(rig, revision)).accepted


class TestNotApplied:
    async def test_what_was_delivered_never_goes_back(self, rig: Rig) -> None:
        """A late wait or death of a delivered chunk changes nothing."""
        revision, (ready,) = await uploading(rig, 10)
        await rig.settler.apply(settled(ready))
        for late in (TOKEN, GIVEN_UP, Delivered()):
            assert Repeated() == await rig.settler.apply(settled(ready, late))
        assert 10 == (await totals(rig, revision)).accepted

    @pytest.mark.parametrize(
        ("change", "code"),
        [
            ({"chunk_index": 99}, "unknown_chunk"),
            ({"revision": 2**61}, "unknown_chunk"),
            ({"audience_id": "1"}, "wrong_destination"),
            ({"counts": ChunkCounts(records=9, accepted=9)}, "records_mismatch"),
        ],
    )
    async def test_a_contradiction_is_put_aside_and_changes_nothing(
        self, rig: Rig, change: dict[str, Any], code: str
    ) -> None:
        """Another chunk, another audience, other sums than were planned: never believed."""
        revision, (ready,) = await uploading(rig, 10)
        event = settled(ready).model_copy(update=change)
        record = await rig.put(topics.OUTCOMES, outcome_record(event))

        assert await rig.outcomes.handle(record)

        letter = await rig.letter_of(record, topics.OUTCOMES_DLQ)
        assert letter is not None
        assert code.encode() == dict(letter.headers)["error-code"]
        assert record.value == letter.value
        assert DeliveryState.UPLOADING == (await rig.delivery(revision)).state

    async def test_a_contradiction_says_what_it_contradicts(self, rig: Rig) -> None:
        """Chunk and numbers, for whoever reads the letter."""
        _, (ready,) = await uploading(rig, 10)
        result = await rig.settler.apply(settled(ready, counts=ChunkCounts(records=9, accepted=9)))
        assert isinstance(result, Contradiction)
        assert ready.chunk_id in result.message


class TestWaiting:
    async def test_waiting_chunks_keep_the_delivery_waiting_and_go_on_when_released(self, rig: Rig) -> None:
        """The profile is connected again: what waited is sent once more under new ids, and the delivery ends."""
        revision, chunks = await uploading(rig)
        await rig.settler.apply(settled(chunks[0]))
        repeated = [settled(ready, TOKEN) for ready in chunks[1:]]
        for event in repeated:
            await rig.settler.apply(event)
        waiting = await rig.delivery(revision)
        assert waiting.reason is not None
        assert (DeliveryState.WAITING, "token_dead") == (waiting.state, waiting.reason.code)
        assert 15_000 == (await totals(rig, revision)).waiting

        profile = waiting.event.profile_id
        await rig.profiles.handle(await rig.put(topics.PROFILES, changed(profile)))

        sent = await rig.chunks(revision)
        again = [ready for _, ready in sent[3:]]
        assert [ready.chunk_id for ready in chunks[1:]] == [ready.chunk_id for ready in again]
        assert 5 == len({ce_id for ce_id, _ in sent})
        assert DeliveryState.UPLOADING == (await rig.delivery(revision)).state
        for event in repeated:
            assert Repeated() == await rig.settler.apply(event), "an old outcome read again changes nothing"
        for ready in again:
            await rig.settler.apply(settled(ready))
        assert DeliveryState.DELIVERED == (await rig.delivery(revision)).state
        assert Totals(records=25_000, accepted=25_000) == await totals(rig, revision)

    async def test_an_old_word_on_a_chunk_that_was_sent_again_is_not_its_last(self, rig: Rig) -> None:
        """The first sending, read again, waits or dies: the second one is still open. Delivered is delivered."""
        revision, (ready,) = await uploading(rig, 10)
        await rig.settler.apply(settled(ready, TOKEN))
        profile = (await rig.delivery(revision)).event.profile_id
        await rig.profiles.handle(await rig.put(topics.PROFILES, changed(profile)))

        for outcome in (TOKEN, GIVEN_UP):
            assert Repeated() == await rig.settler.apply(settled(ready, outcome))
        assert DeliveryState.UPLOADING == (await rig.delivery(revision)).state
        await rig.settler.apply(settled(ready))
        assert DeliveryState.DELIVERED == (await rig.delivery(revision)).state

    async def test_a_release_read_twice_sends_once(self, rig: Rig) -> None:
        """The profile's event is redelivered after a crash: nothing waits any more."""
        revision, (ready,) = await uploading(rig, 10)
        await rig.settler.apply(settled(ready, TOKEN))
        profile = (await rig.delivery(revision)).event.profile_id
        record = await rig.put(topics.PROFILES, changed(profile))
        await rig.profiles.handle(record)
        await rig.profiles.handle(record)
        assert 2 == len(await rig.chunks(revision))


def too_late(ready: ChunkReady) -> ChunkSettled:
    """The uploader's word that the replacement's session is over."""
    return settled(ready, Waiting(cause=REPLACE_RESTART, scope=f"audience:{ready.audience_id}", advice="none"))


class TestReplacing:
    async def test_the_first_alone_then_the_others_then_the_last(self, rig: Rig) -> None:
        """Five chunks of two files: 1, then 2 to 4, then 5, each with its place; the end is a delivered delivery."""
        revision, first = await uploading(rig, 20_001, 20_000, operation="replace")
        assert [(1, 5)] == [(one.replace.number, one.replace.total) for one in first if one.replace]

        await rig.settler.apply(settled(first[0]))
        middle = [ready for _, ready in (await rig.chunks(revision))[1:]]
        assert [2, 3, 4] == [ready.replace.number for ready in middle if ready.replace]
        for ready in middle:
            assert 4 == len(await rig.chunks(revision))
            await rig.settler.apply(settled(ready))
        last = (await rig.chunks(revision))[4][1]
        assert last.replace == ReplaceBatch(number=5, total=5)
        await rig.settler.apply(settled(last))

        assert DeliveryState.DELIVERED == (await rig.delivery(revision)).state
        assert 40_001 == (await totals(rig, revision)).accepted

    async def test_a_file_that_is_missing_stops_all_of_it(self, rig: Rig) -> None:
        """The people in it would be taken out: nothing is sent, the audience stays as it was."""
        event = rig.event(rig.write(10), FileRef(name="gone", store="local", key="gone.ndjson"), operation="replace")
        delivery = await rig.planned(event)

        assert (DeliveryState.FAILED, []) == (delivery.state, await rig.chunks(event.revision))
        assert Totals(records=10, dead=10) == await totals(rig, event.revision)

    async def test_without_a_record_nothing_is_replaced(self, rig: Rig) -> None:
        """An empty file is a mistake upstream, and would empty the audience."""
        event = rig.event(rig.write(0), operation="replace")

        assert DeliveryState.FAILED == (await rig.planned(event)).state
        assert [] == await rig.chunks(event.revision)

    async def test_a_session_that_is_over_begins_all_again(self, rig: Rig) -> None:
        """All chunks in a new emission, the first alone again; what is still said of the old one counts no more."""
        revision, first = await uploading(rig, 30_000, operation="replace")
        await rig.settler.apply(settled(first[0]))
        middle = (await rig.chunks(revision))[1][1]

        await rig.settler.apply(too_late(middle))

        again = [ready for _, ready in await rig.chunks(revision)][2:]
        assert [(first[0].chunk_id, 2)] == [(ready.chunk_id, ready.emission) for ready in again]
        assert Totals(records=30_000) == await totals(rig, revision)
        assert Repeated() == await rig.settler.apply(settled(middle))
        await rig.settler.apply(settled(again[0]))
        second = (await rig.chunks(revision))[3][1]
        assert (2, ReplaceBatch(number=2, total=3)) == (second.emission, second.replace)

    async def test_it_does_not_begin_again_for_ever(self, rig: Rig) -> None:
        """After five sessions it is given up, with the reason of that."""
        revision, _ = await uploading(rig, 20_000, operation="replace")
        for _ in range(5):
            ready = (await rig.chunks(revision))[-1][1]
            await rig.settler.apply(too_late(ready))

        delivery = await rig.delivery(revision)
        assert delivery.reason is not None
        assert (DeliveryState.FAILED, "replace_restarts_exhausted") == (delivery.state, delivery.reason.code)
        assert (5, 20_000) == (len(await rig.chunks(revision)), (await totals(rig, revision)).dead)

    async def test_a_part_given_up_breaks_it(self, rig: Rig) -> None:
        """The others are not sent after it: half a replacement is worse than none."""
        revision, first = await uploading(rig, 30_000, operation="replace")

        await rig.settler.apply(settled(first[0], GIVEN_UP))

        assert DeliveryState.FAILED == (await rig.delivery(revision)).state
        assert (1, 30_000) == (len(await rig.chunks(revision)), (await totals(rig, revision)).dead)

    async def test_released_it_begins_again_as_a_whole(self, rig: Rig) -> None:
        """A part that waited for a person comes too late for its session, so all of it is sent again."""
        revision, first = await uploading(rig, 20_000, operation="replace")
        await rig.settler.apply(settled(first[0]))
        last = (await rig.chunks(revision))[1][1]
        await rig.settler.apply(settled(last, TOKEN))

        assert 2 == await rig.releaser.release_delivery(revision)

        sent = (await rig.chunks(revision))[2:]
        assert [(first[0].chunk_id, 2)] == [(ready.chunk_id, ready.emission) for _, ready in sent]

    async def test_what_a_crash_left_unsent_is_sent_by_the_sweep(self, rig: Rig) -> None:
        """The first chunk is delivered and nobody lived to send the others."""

        class Mute(EventProducer):
            """A producer whose broker does not acknowledge."""

            @override
            async def publish_all(self, topic: Topic, events: Sequence[Encoded]) -> None:
                """Refuses."""
                raise ProduceError(f"{topic.name} did not acknowledge {len(events)} events")

        revision, first = await uploading(rig, 30_000, operation="replace")
        mute = rig.emission(Mute(rig.kafka, "mute"))
        await Settler(rig.engine, mute, rig.status, rig.telemetry, utc_now).apply(settled(first[0]))
        assert 1 == len(await rig.chunks(revision))

        for _ in range(2):
            await rig.releaser.send_unsent(before=utc_now(), limit=100)

        assert 2 == len(await rig.chunks(revision))


class TestStatus:
    async def test_every_change_is_told_in_sequence(self, rig: Rig) -> None:
        """Accepted, planning, uploading, delivered; the last one with all sums."""
        revision, (ready,) = await uploading(rig, 10)
        await rig.settler.apply(settled(ready))

        told = await rig.states(revision)

        assert ["accepted", "planning", "uploading", "delivered"] == [one.state for one in told]
        assert [1, 2, 3, 4] == [one.sequence for one in told]
        assert Totals(records=10, accepted=10) == told[-1].totals
        assert ready.audience_id == told[-1].audience_id

    async def test_what_a_crash_left_untold_is_told_by_the_sweep_once(self, rig: Rig) -> None:
        """The commit happened and the event did not: the sweep finds it, and then nothing more."""

        class Mute(EventProducer):
            """A producer whose broker does not acknowledge."""

            @override
            async def publish(self, topic: Topic, event: Encoded) -> None:
                """Refuses."""
                raise ProduceError(f"{topic.name} did not acknowledge {len(event.value)} bytes")

        revision, (ready,) = await uploading(rig, 10)
        mute = StatusPublisher(rig.engine, Mute(rig.kafka, "mute"), "progress", rig.telemetry, utc_now)
        await Settler(rig.engine, rig.emission(), mute, rig.telemetry, utc_now).apply(settled(ready))
        assert "uploading" == (await rig.states(revision))[-1].state

        while await rig.status.sweep(age=0, limit=10):
            pass

        assert ["uploading", "delivered"] == [one.state for one in (await rig.states(revision))[-2:]]
        assert 0 == await rig.status.sweep(age=0, limit=10)

    async def test_an_older_state_is_never_published_as_a_newer_one(self, rig: Rig) -> None:
        """Publishing again what is published writes nothing."""
        revision, _ = await uploading(rig, 10)
        before = len(await rig.states(revision))
        await rig.status.publish(revision)
        assert before == len(await rig.states(revision))
