"""What stands in the way: a record that never ends, a line that is to stand still, a member that only restarts."""

import asyncio

import pytest

from connector.kafka.consumer import Record
from connector.kafka.consumer_facts import Assigned, Completed, Held, LineHeld, Revoked, Stuck
from connector.kafka.producer import EventProducer
from connector.kafka.stuck import StuckRules
from connector.kafka.workers import Backoff
from connector.runtime.settings import KafkaSettings
from tests.integration.conftest import TopicFactory
from tests.integration.consumer_parts import Gate, Membership, Watch, produce_numbers, running


@pytest.fixture
async def group(kafka_settings: KafkaSettings, topic_factory: TopicFactory) -> Membership:
    """A group on a topic of one partition."""
    return Membership(kafka_settings, await topic_factory(), concurrency=4)


class TestStuckHead:
    async def test_is_put_into_the_delay_topic_and_the_partition_goes_on(
        self, group: Membership, topic_factory: TopicFactory
    ) -> None:
        """Its handler hangs for ever: it is cancelled, its bytes are acknowledged elsewhere, its offset completes."""
        await produce_numbers(group.settings, group.topic, 5)
        tier = await topic_factory()
        watch, cancelled = Watch(), asyncio.Event()

        async def hang(record: Record) -> None:
            watch.begun(record)
            if record.offset == 0:
                try:
                    await asyncio.Event().wait()
                finally:
                    cancelled.set()

        async with EventProducer(group.settings, "test") as producer:

            async def postpone(record: Record) -> None:
                await producer.send(tier, record.key, record.value, record.headers)

            group.on_stuck = postpone
            tuned = group.tuned(stuck=StuckRules(head_age=0.3))
            async with running(tuned, hang, watch):
                await group.commits(watch, 5)
        assert cancelled.is_set()
        assert [(0, offset) for offset in range(5)] == sorted(watch.handled)
        assert [0] == [fact.record.offset for fact in watch.told(Stuck)]

        seen: list[bytes | None] = []
        again = Membership(group.settings, tier)
        later = Watch()

        async def handle(record: Record) -> None:
            seen.append(record.value)

        async with running(again, handle, later):
            await again.commits(later, 1)
        assert [b"0"] == seen

    async def test_that_nobody_takes_is_held(self, group: Membership) -> None:
        """While the delay topic cannot be written its offset stays uncommitted, and what is behind it is finished."""
        await produce_numbers(group.settings, group.topic, 3)
        watch = Watch()
        writable = asyncio.Event()

        async def postpone(_record: Record) -> None:
            if not writable.is_set():
                raise OSError("the delay topic cannot be written")

        group.on_stuck = postpone
        tuned = group.tuned(stuck=StuckRules(head_age=0.1), held=Backoff(0.02, 0.05))
        async with running(tuned, Gate(watch, 1, 2), watch) as member:
            await watch.until(lambda: len(watch.told(Held)) >= 2)
            await group.commits(watch, 0, 0b11)
            assert 1 == member.consumer.in_flight
            writable.set()
            await group.commits(watch, 3)
        assert 1 == len(watch.told(Stuck))

    async def test_that_is_merely_slow_is_left_alone(self, group: Membership) -> None:
        """Nothing else is wrong with the partition: its head may take its time."""
        await produce_numbers(group.settings, group.topic, 3)
        watch = Watch()

        async def postpone(_record: Record) -> None:
            raise AssertionError("a slow record was evicted")

        group.on_stuck = postpone
        gate = Gate(watch, 1, 2)
        async with running(group.tuned(stuck=StuckRules(head_age=60, young=0)), gate, watch):
            await group.commits(watch, 0, 0b11)
            await gate.let(0)
            await group.commits(watch, 3)
        assert [] == watch.told(Stuck)


class TestLine:
    async def test_held_it_begins_nothing_commits_what_ends_and_stays_in_its_group(self, group: Membership) -> None:
        """Polling goes on meanwhile, for longer than a member may go without; released, everything is handled once."""
        await produce_numbers(group.settings, group.topic, 40)
        watch = Watch()
        gate = Gate(watch, *range(4, 40))
        async with running(group.tuned(max_poll_interval=0.5), gate, watch) as member:
            await watch.until(lambda: len(watch.handled) == 4)
            member.consumer.hold("100 dead letters in a row")
            member.consumer.hold("a second reason")
            await gate.let(*range(4))
            await group.commits(watch, 4)
            held_at = member.consumer.last_poll_at or 0
            await produce_numbers(group.settings, group.topic, 10)
            async with asyncio.timeout(10):
                while (member.consumer.last_poll_at or 0) < held_at + 1.2:  # noqa: ASYNC110 -- a poll has no event
                    await asyncio.sleep(0.02)
            assert (4, "100 dead letters in a row", 0) == (
                len(watch.handled),
                member.consumer.held,
                member.consumer.in_flight,
            )
            assert (True, 1) == (member.consumer.assignment_known, len(watch.told(Assigned)))
            await gate.let(*range(40, 50))
            member.consumer.release()
            await group.commits(watch, 50)
            assert member.consumer.held is None
        assert [(0, offset) for offset in range(50)] == sorted(watch.handled)
        assert ["100 dead letters in a row", None] == [fact.why for fact in watch.told(LineHeld)]

    async def test_held_before_it_runs_it_joins_and_waits(self, group: Membership) -> None:
        """And a rebalance meanwhile does not set it going."""
        await produce_numbers(group.settings, group.topic, 3)
        watch, other = Watch(), Watch()
        member = group.member(Gate(watch, 0, 1, 2), watch)
        member.consumer.hold("nobody has looked yet")
        await watch.assigned()
        second = group.member(Gate(other, 0, 1, 2), other)
        second.consumer.hold("neither here")
        await other.assigned()
        await second.stop()
        await watch.assigned(3)
        assert ([], []) == (watch.handled, other.handled)
        member.consumer.release()
        await watch.until(lambda: len(watch.told(Completed)) == 3)
        await member.stop()


class TestStaticMember:
    async def test_comes_back_to_its_partitions_without_a_rebalance(
        self, kafka_settings: KafkaSettings, topic_factory: TopicFactory
    ) -> None:
        """Restarted within the session time-out, it goes on where it stopped and the other member hears nothing."""
        topic = await topic_factory(4)
        one, two = (
            Membership(kafka_settings.model_copy(update={"group_instance_id": name}), topic) for name in ("one", "two")
        )
        await produce_numbers(kafka_settings, topic, 40, 4)
        stays, leaves, returns = Watch(), Watch(), Watch()
        everything = range(20)
        async with running(one, Gate(stays, *everything), stays):
            await stays.assigned()
            async with running(two, Gate(leaves, *everything), leaves):
                await leaves.assigned()
                await stays.assigned(2)
                await stays.until(lambda: len(stays.told(Completed)) + len(leaves.told(Completed)) >= 40)
            ours = leaves.told(Assigned)[-1].partitions
            heard = len(stays.told(Revoked))
            await produce_numbers(kafka_settings, topic, 40, 4)
            async with running(two, Gate(returns, *everything), returns):
                await returns.until(lambda: len(returns.told(Completed)) == 10 * len(ours))
                assert ours == returns.told(Assigned)[-1].partitions
                await stays.until(lambda: len(stays.handled) + len(leaves.handled) + len(returns.handled) >= 80)
            assert heard == len(stays.told(Revoked))
        handled = [*stays.handled, *leaves.handled, *returns.handled]
        assert 80 == len(handled) == len(set(handled))
