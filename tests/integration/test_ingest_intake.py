"""The topics ingest reads: what is no event, what conflicts and what we break on is put aside, byte by byte."""

import asyncio
from typing import Any
from uuid import uuid4

import pytest

from connector.kafka import topics
from connector.kafka.events import decode
from schemas.events import DeliveryState, ProfileChanged, ProfileStatus
from schemas.registry import PROFILE_CHANGED
from services.ingest.clock import utc_now
from services.ingest.patience import Patience
from services.ingest.publication import delivery_record
from services.ingest.stream import StreamRecord
from tests.integration.ingest_parts import Rig, changed

pytest_plugins = ("tests.integration.ingest_fixtures",)

POISON = [
    (b"\x00\xff not json \xfe", "not_json"),
    (b'{"revision": "four"}', "schema"),
    (b"", "empty_value"),
]
HANDLERS = {
    "deliveries": (topics.DELIVERIES, topics.DELIVERIES_DLQ),
    "outcomes": (topics.OUTCOMES, topics.OUTCOMES_DLQ),
    "profiles": (topics.PROFILES, topics.PROFILES_DLQ),
}


async def handle(rig: Rig, which: str, record: Any) -> None:
    """Gives *record* to the handler of that topic."""
    match which:
        case "deliveries":
            await rig.intake().handle(record)
        case "outcomes":
            assert await rig.outcomes.handle(record)
        case _:
            await rig.profiles.handle(record)


class TestPoison:
    @pytest.mark.parametrize("which", HANDLERS)
    @pytest.mark.parametrize(("value", "code"), POISON, ids=[code for _, code in POISON])
    async def test_the_letter_has_the_original_bytes_and_the_way_back(
        self, rig: Rig, which: str, value: bytes, code: str
    ) -> None:
        """Same key, value and headers, where it came from, and why it is here."""
        topic, dlq = HANDLERS[which]
        key = uuid4().bytes
        record = await rig.put_bytes(topic, key, value, (("mine", b"\xffkept"), ("mine", b"twice")))

        await handle(rig, which, record)

        letter = await rig.letter_of(record, dlq)
        assert letter is not None
        headers = dict(letter.headers)
        assert (key, value) == (letter.key, letter.value)
        assert [("mine", b"\xffkept"), ("mine", b"twice")] == list(letter.headers)[:2]
        assert (b"poison", code.encode()) == (headers["failure-kind"], headers["error-code"])

    @pytest.mark.parametrize("which", HANDLERS)
    async def test_a_record_of_another_type_is_put_aside(self, rig: Rig, which: str) -> None:
        """What says that it is something else is not read as what we expect."""
        topic, dlq = HANDLERS[which]
        record = await rig.put_bytes(topic, uuid4().bytes, b"{}", (("ce_type", b"fbc.chunk-ready.v1"),))
        await handle(rig, which, record)
        letter = await rig.letter_of(record, dlq)
        assert letter is not None
        assert b"wrong_type" == dict(letter.headers)["error-code"]

    async def test_a_record_at_kafkas_limit_leaves_a_letter_that_points_back(self, rig: Rig) -> None:
        """With its reasons it would not fit; holding it for ever would stop its partition."""
        value = b"{" + uuid4().hex.encode() + b"x" * 1_048_000
        record = await rig.put_bytes(topics.DELIVERIES, b"big", value)
        huge = (*record.headers, ("padding", b"y" * 2_000))
        record = type(record)(**{**vars(record), "headers": huge})

        await rig.intake().handle(record)

        letter = await rig.letter_of(record, topics.DELIVERIES_DLQ)
        assert letter is not None
        assert letter.value is None
        assert str(len(value)).encode() == dict(letter.headers)["value-omitted"]

    async def test_what_the_ledger_cannot_hold_is_poison(self, rig: Rig) -> None:
        """A NUL in a name would be refused by the database for ever: it is put aside, not held."""
        file = rig.write(1).model_copy(update={"name": "a\x00b"})
        record = await rig.put(topics.DELIVERIES, delivery_record(rig.event(file), now=utc_now(), traceparent=None))
        await rig.intake().handle(record)
        letter = await rig.letter_of(record, topics.DELIVERIES_DLQ)
        assert letter is not None
        assert b"unrecordable" == dict(letter.headers)["error-code"]

    async def test_a_tombstone_of_a_profile_is_no_poison(self, rig: Rig) -> None:
        """The topic is compacted: no value means that the profile is gone."""
        record = await rig.put_bytes(topics.PROFILES, uuid4().bytes, None)
        await rig.profiles.handle(record)
        assert await rig.letter_of(record, topics.PROFILES_DLQ) is None


class TestDeliveries:
    async def test_a_delivery_is_planned_and_repeated_without_effect(self, rig: Rig) -> None:
        """Written twice by upstream: one plan, no letter."""
        event = rig.event(rig.write(5))
        records = [
            await rig.put(topics.DELIVERIES, delivery_record(event, now=utc_now(), traceparent=None)) for _ in "12"
        ]

        for record in records:
            await rig.intake().handle(record)

        assert 1 == len(await rig.chunks(event.revision))
        assert [None, None] == [await rig.letter_of(record, topics.DELIVERIES_DLQ) for record in records]

    async def test_a_revision_with_other_content_is_put_aside_and_the_first_goes_on(self, rig: Rig) -> None:
        """Refused loudly, and not lost."""
        event = rig.event(rig.write(5))
        other = event.model_copy(update={"files": (rig.write(7),)})
        await rig.intake().handle(
            await rig.put(topics.DELIVERIES, delivery_record(event, now=utc_now(), traceparent=None))
        )

        record = await rig.put(topics.DELIVERIES, delivery_record(other, now=utc_now(), traceparent=None))
        await rig.intake().handle(record)

        letter = await rig.letter_of(record, topics.DELIVERIES_DLQ)
        assert letter is not None
        headers = dict(letter.headers)
        assert (record.value, b"conflict", b"revision_conflict") == (
            letter.value,
            headers["failure-kind"],
            headers["error-code"],
        )
        (facts,) = await rig.facts(event.revision)
        assert 5 == facts.totals.records

    async def test_the_trace_of_the_publisher_goes_on(self, rig: Rig) -> None:
        """Delivery, chunks and states share one trace."""
        trace = f"00-{'ab' * 16}-{'cd' * 8}-01"
        event = rig.event(rig.write(1))
        await rig.intake().handle(
            await rig.put(topics.DELIVERIES, delivery_record(event, now=utc_now(), traceparent=trace))
        )
        written = await rig.records(topics.CHUNKS) + await rig.records(topics.DELIVERY_STATUS)
        mine = [dict(record.headers) for record in written if str(event.revision) in _subject(record)]
        assert len(mine) >= 3
        assert {"ab" * 16} == {headers["traceparent"].decode().split("-")[1] for headers in mine}

    async def test_told_to_stop_it_leaves_the_record_for_the_next(self, rig: Rig) -> None:
        """A back-off ends at once; the record is not done with."""
        event = rig.event(rig.write(1))
        rig.auth.refuse(event.profile_id, "throttled")
        record = await rig.put(topics.DELIVERIES, delivery_record(event, now=utc_now(), traceparent=None))
        work = asyncio.create_task(rig.intake(patience=Patience(base=60)).handle(record))
        async with asyncio.timeout(5):
            await rig.auth.was_asked.wait()
        rig.stop.set()

        async with asyncio.timeout(5):
            with pytest.raises(asyncio.CancelledError):
                await work
        assert DeliveryState.ACCEPTED == (await rig.delivery(event.revision)).state

    async def test_a_defect_of_ours_is_put_aside_without_its_text(self, rig: Rig) -> None:
        """The error's text may quote data; its name is enough to find it in the log."""
        record = await rig.put_bytes(topics.DELIVERIES, b"k", uuid4().bytes)
        await rig.intake().bury_defect(record, KeyError("somebody@example.com"))
        letter = await rig.letter_of(record, topics.DELIVERIES_DLQ)
        assert letter is not None
        assert b"KeyError" == dict(letter.headers)["error-code"]
        assert b"example.com" not in b"".join(value for _, value in letter.headers)


def _subject(record: Any) -> set[str]:
    return set(dict(record.headers)["ce_subject"].decode().split("/")[:1])


class TestReleased:
    async def test_a_delivery_that_waited_for_its_profile_is_planned_again(self, rig: Rig) -> None:
        """Reconnected: the delivery takes its road from the beginning, and nobody has to publish it again."""
        event = rig.event(rig.write(5))
        rig.auth.refuse(event.profile_id, "token_dead")
        waiting = await rig.planned(event)
        del rig.auth.refusals[event.profile_id]

        await rig.profiles.handle(await rig.put(topics.PROFILES, changed(event.profile_id)))

        again = [record for record in await rig.records(topics.DELIVERIES) if _is_of(record, event.revision)]
        assert DeliveryState.WAITING == waiting.state
        assert 1 == len(again)
        await rig.intake().handle(_stream_record(again[0]))
        assert DeliveryState.UPLOADING == (await rig.delivery(event.revision)).state
        assert 1 == len(await rig.chunks(event.revision))

    @pytest.mark.parametrize("status", [one for one in ProfileStatus if one is not ProfileStatus.CONNECTED])
    async def test_only_a_connected_profile_releases(self, rig: Rig, status: ProfileStatus) -> None:
        """Bad news about a profile sends nothing."""
        event = rig.event(rig.write(5))
        rig.auth.refuse(event.profile_id, "token_dead")
        await rig.planned(event)
        await rig.profiles.handle(await rig.put(topics.PROFILES, changed(event.profile_id, status)))
        assert [] == [one for one in await rig.records(topics.DELIVERIES) if _is_of(one, event.revision)]

    async def test_what_began_to_wait_too_late_is_found_by_the_sweep_once(self, rig: Rig) -> None:
        """The profile's event was read before the delivery came to wait; it does not wait for the next one."""
        event = rig.event(rig.write(5))
        rig.auth.refuse(event.profile_id, "token_dead")
        await rig.planned(event)
        released = await rig.put(topics.PROFILES, changed(event.profile_id))
        await rig.releaser.remember(decode(PROFILE_CHANGED, ProfileChanged, released.value, released.headers))

        await rig.releaser.sweep()
        await rig.releaser.sweep()

        assert 1 == len([one for one in await rig.records(topics.DELIVERIES) if _is_of(one, event.revision)])


def _is_of(record: Any, revision: int) -> bool:
    return dict(record.headers).get("ce_subject") == str(revision).encode()


def _stream_record(record: Any) -> Any:
    return StreamRecord(
        record.topic,
        record.partition,
        record.offset,
        record.timestamp,
        record.key,
        record.value,
        tuple(record.headers),
    )
