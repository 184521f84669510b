"""From the broker through lanes to handlers: order, defects, back-pressure, health."""

import asyncio

import pytest

from connector.kafka.consumer import Record
from connector.kafka.consumer_facts import Completed, Held, Paused, Polled, Resumed
from connector.kafka.pressure import Marks, Watermarks
from connector.kafka.workers import Backoff
from connector.runtime.settings import KafkaSettings
from tests.integration.conftest import TopicFactory
from tests.integration.consumer_parts import Gate, Membership, Watch, produce, produce_numbers, running


@pytest.fixture
async def group(kafka_settings: KafkaSettings, topic_factory: TopicFactory) -> Membership:
    """A group on a topic of one partition, with a lane per key."""
    return Membership(
        kafka_settings, await topic_factory(), lane_of=lambda record: (record.key or b"").decode(), concurrency=4
    )


class TestLanes:
    async def test_a_slow_lane_does_not_block_the_others(self, group: Membership) -> None:
        """In one partition: while one key's record is in its handler, fifty of another key pass."""
        slow = [(0, b"slow", b"") for _ in range(10)]
        await produce(group.settings, group.topic, [*slow, *((0, b"quick", b"") for _ in range(50))])
        watch = Watch()
        gate = Gate(watch, *range(10, 60))
        async with running(group, gate, watch):
            await watch.until(lambda: len(watch.told(Completed)) == 50)
            assert [0, *range(10, 60)] == sorted(offset for _, offset in watch.handled)
            assert [*range(10, 60)] == [offset for _, offset in watch.handled if offset >= 10]
            await gate.let(*range(10))
            await group.commits(watch, 60)

    async def test_a_record_that_has_no_lane_reaches_its_handler(self, group: Membership) -> None:
        """A poison record must not end the consumer, which would read it again after each restart."""
        await produce(group.settings, group.topic, [(0, b"\xff\xfe", b"poison"), (0, b"fine", b"")])
        watch = Watch()
        async with running(group, Gate(watch, 0, 1), watch):
            await group.commits(watch, 2)
        assert [(0, 0), (0, 1)] == sorted(watch.handled)


class TestDefects:
    async def test_the_original_bytes_go_to_the_defect_handler_then_the_offset_completes(
        self, group: Membership
    ) -> None:
        """What the handler stumbled over is handed on unchanged, headers and all."""
        await produce(group.settings, group.topic, [(0, b"key", b"\x00\xffpoison")])
        watch = Watch()
        buried: list[tuple[Record, str]] = []

        async def broken(_record: Record) -> None:
            raise ValueError("no")

        async def bury(record: Record, error: Exception) -> None:
            buried.append((record, str(error)))

        group.on_defect = bury
        async with running(group, broken, watch):
            await group.commits(watch, 1)
        (record, error) = buried[0]
        assert (group.topic, 0, 0) == (record.topic, record.partition, record.offset)
        assert (b"key", b"\x00\xffpoison", (), "no") == (record.key, record.value, record.headers, error)

    async def test_a_record_that_cannot_be_buried_is_held(self, group: Membership) -> None:
        """Its offset stays uncommitted while others pass, and completes when dead letters can be written again."""
        await produce_numbers(group.settings, group.topic, 3)
        watch = Watch()
        writable = asyncio.Event()

        async def broken(record: Record) -> None:
            if record.offset == 0:
                raise ValueError("no")

        async def bury(_record: Record, _error: Exception) -> None:
            if not writable.is_set():
                raise OSError("dead letters cannot be written")

        group.on_defect = bury
        async with running(group.tuned(held=Backoff(0.02, 0.05)), broken, watch) as member:
            await watch.until(lambda: len(watch.told(Held)) >= 2)
            await group.commits(watch, 0, 0b11)
            assert 1 == member.consumer.in_flight
            writable.set()
            await group.commits(watch, 3)


class TestPressure:
    async def test_stops_fetching_when_full_and_goes_on_when_there_is_room(self, group: Membership) -> None:
        """Held records stay near the high mark while handlers stand still; polling goes on; then all come through."""
        total, per_poll = 300, 10
        marks = Watermarks(partition=Marks(high=40, low=15))
        await produce_numbers(group.settings, group.topic, total)
        watch = Watch()
        gate = Gate(watch)
        async with running(group.tuned(marks=marks, poll_records=per_poll, poll=0.02), gate, watch) as member:
            await watch.until(lambda: bool(watch.told(Paused)))
            paused_at = member.consumer.last_poll_at
            assert paused_at is not None
            async with asyncio.timeout(10):
                while (member.consumer.last_poll_at or 0) < paused_at + 0.2:  # noqa: ASYNC110 -- a poll has no event
                    await asyncio.sleep(0.02)
            assert 40 <= sum(fact.records for fact in watch.told(Polled)) < 40 + per_poll
            assert [] == watch.told(Resumed)
            await gate.let(*range(total))
            await group.commits(watch, total)
        assert watch.told(Resumed)
        assert [(0, offset) for offset in range(total)] == sorted(watch.handled)

    async def test_a_large_value_counts_by_its_bytes(self, group: Membership) -> None:
        """Few records can fill the room, too."""
        marks = Watermarks(size=Marks(high=300_000, low=100_000))
        await produce(group.settings, group.topic, [(0, b"k", b"x" * 100_000) for _ in range(12)])
        watch = Watch()
        gate = Gate(watch)
        async with running(group.tuned(marks=marks, poll_records=1), gate, watch):
            await watch.until(lambda: bool(watch.told(Paused)))
            assert 3 == sum(fact.records for fact in watch.told(Polled))
            await gate.let(*range(12))
            await group.commits(watch, 12)


class TestHealth:
    async def test_tells_what_it_is_doing(self, group: Membership) -> None:
        """Not ready before the assignment and after the end; in flight, lag and polling in between."""
        await produce_numbers(group.settings, group.topic, 3)
        watch = Watch()
        gate = Gate(watch, 0)
        async with running(group, gate, watch) as member:
            consumer = member.consumer
            assert (False, None, None) == (consumer.assignment_known, consumer.assigned, consumer.last_poll_at)
            await watch.until(lambda: consumer.in_flight == 2 and len(watch.told(Completed)) == 1)
            assert (True, True, 2) == (consumer.assignment_known, consumer.polling, consumer.lag)
            assert consumer.assigned is not None
            assert [(group.topic, 0)] == sorted(consumer.assigned)
            await gate.let(1, 2)
            await group.commits(watch, 3)
        assert (False, 0) == (consumer.assignment_known, consumer.in_flight)
