"""Members come and go, and the broker too: nothing is lost, and only what was in flight is repeated."""

import asyncio
import time
from collections import Counter
from pathlib import Path

import pytest
from aiokafka.admin import AIOKafkaAdminClient, NewTopic

from connector.kafka.consumer import ConsumerError, Record
from connector.kafka.consumer_facts import Assigned, CommitFailed, Completed, ConsumerFact, Drained, Revoked
from connector.runtime.settings import KafkaSettings
from embedded.kafka import KafkaCluster
from tests.integration.conftest import TopicFactory
from tests.integration.consumer_parts import Gate, Membership, Watch, produce_numbers, running

PARTITIONS = 6


@pytest.fixture
async def group(kafka_settings: KafkaSettings, topic_factory: TopicFactory) -> Membership:
    """A group on a topic of six partitions."""
    return Membership(kafka_settings, await topic_factory(PARTITIONS), concurrency=16)


def owned(watch: Watch) -> int:
    """How many partitions the last assignment brought."""
    assignments = watch.told(Assigned)
    return len(assignments[-1].partitions) if assignments else 0


class TestMembers:
    async def test_one_two_one_handles_everything_once(self, group: Membership) -> None:
        """While work goes on a second member comes and goes: with drains that end in time there is no duplicate."""
        handled: Counter[tuple[int, int]] = Counter()

        async def handle(record: Record) -> None:
            await asyncio.sleep(0.002)
            handled[record.partition, record.offset] += 1

        first, second = Watch(), Watch()
        written = 0
        async with running(group, handle, first):
            await first.assigned()
            await produce_numbers(group.settings, group.topic, 600, PARTITIONS)
            written += 600
            async with running(group, handle, second):
                await second.until(lambda: owned(second) == PARTITIONS // 2)
                await produce_numbers(group.settings, group.topic, 600, PARTITIONS)
                written += 600
                await second.until(lambda: len(second.told(Completed)) > 50)
            await first.until(lambda: owned(first) == PARTITIONS)
            await produce_numbers(group.settings, group.topic, 600, PARTITIONS)
            written += 600
            await first.until(lambda: len(handled) == written)
        assert {1} == set(handled.values())
        assert [0] * len(first.told(Drained)) == [drained.abandoned for drained in first.told(Drained)]

    async def test_a_record_that_outlasts_the_drain_is_repeated_by_its_next_owner(self, group: Membership) -> None:
        """It is cancelled, its result would be stale; records that were finished around it are not repeated."""
        group.settings = group.settings.model_copy(update={"drain_deadline": 0.3})
        await produce_numbers(group.settings, group.topic, 4 * PARTITIONS, PARTITIONS)
        first, both = Watch(), Watch()
        gate = Gate(first, 0, 2, 3)
        async with running(group, gate, first) as leaving:
            await first.until(lambda: len(first.told(Completed)) == 3 * PARTITIONS)
            async with running(group, Gate(both, *range(4)), both):
                await both.assigned()
                await leaving.kill()
                await both.until(lambda: len(both.told(Completed)) == PARTITIONS)
        assert [(partition, 1) for partition in range(PARTITIONS)] == sorted(both.handled)
        assert PARTITIONS == first.told(Drained)[1].abandoned

    async def test_a_long_handler_keeps_its_membership(
        self, kafka_settings: KafkaSettings, topic_factory: TopicFactory
    ) -> None:
        """Work that takes longer than the poll interval allows: polling goes on, so nobody takes the partition away."""
        group = Membership(kafka_settings, await topic_factory()).tuned(max_poll_interval=1.0)
        await produce_numbers(kafka_settings, group.topic, 1)
        watch = Watch()

        async def handle(record: Record) -> None:
            watch.begun(record)
            await asyncio.sleep(3)

        async with running(group, handle, watch):
            await group.commits(watch, 1)
            assert [(0, 0)] == watch.handled
            assert 1 == len(watch.told(Assigned))
            assert [] == watch.told(CommitFailed)

    async def test_a_member_thrown_out_comes_back_and_loses_nothing(
        self, kafka_settings: KafkaSettings, topic_factory: TopicFactory
    ) -> None:
        """The loop was blocked for longer than the session: the member joins again, all records are handled."""
        settings = kafka_settings.model_copy(update={"session_timeout": 1.0})
        group = Membership(settings, await topic_factory())
        await produce_numbers(settings, group.topic, 50)
        watch = Watch()

        async def handle(record: Record) -> None:
            watch.begun(record)
            if len(watch.handled) == 10:
                time.sleep(2.5)  # noqa: ASYNC251 -- the blocked loop is what is tested
            await asyncio.sleep(0)

        async with running(group, handle, watch):
            await watch.assigned(2)
            await group.commits(watch, 50)
            assert set(watch.handled) == {(0, offset) for offset in range(50)}
        assert (50, "") == await group.committed()


class TestBroker:
    async def test_a_crash_of_the_broker_loses_nothing(self, tmp_path: Path) -> None:
        """SIGKILL in the middle of the work and back again: all records are handled, all offsets committed."""
        async with KafkaCluster(folder=tmp_path) as kafka:
            settings = KafkaSettings(bootstrap=kafka.bootstrap, replication=1, session_timeout=6, drain_deadline=5)
            admin = AIOKafkaAdminClient(bootstrap_servers=kafka.bootstrap)
            await admin.start()
            await admin.create_topics([NewTopic("t", num_partitions=PARTITIONS, replication_factor=1)])
            await admin.close()
            group = Membership(settings, "t", concurrency=4)
            await produce_numbers(settings, "t", 300, PARTITIONS)
            watch = Watch()

            async def handle(record: Record) -> None:
                watch.begun(record)
                await asyncio.sleep(0.005)

            async with running(group, handle, watch):
                await watch.until(lambda: len(watch.handled) > 100)
                await kafka.kill()
                await kafka.start()
                await produce_numbers(settings, "t", 300, PARTITIONS)
                await watch.until(lambda: len(set(watch.handled)) == 600)
            assert [(100, "")] * PARTITIONS == [await group.committed(number) for number in range(PARTITIONS)]


class TestBreaking:
    async def test_a_part_that_breaks_ends_the_run_with_its_error(self, group: Membership) -> None:
        """Nothing inside dies silently, not even in the client's callbacks, which swallow what they raise."""

        def deaf(fact: ConsumerFact) -> None:
            if isinstance(fact, Assigned):
                raise ZeroDivisionError

        watch = Watch()
        watch.fact = deaf  # type: ignore[method-assign]
        member = group.member(Gate(watch), watch)
        with pytest.raises(ZeroDivisionError):
            await asyncio.wait_for(member.running, 20)

    async def test_a_missing_topic_is_named(self, group: Membership) -> None:
        """Who forgot to create topics is told which, and how."""
        group.topic = "nobody-made-this"
        member = group.tuned(join=1.0).member(Gate(Watch()), Watch())
        with pytest.raises(ConsumerError, match=r"nobody-made-this.*fbc topics ensure"):
            await asyncio.wait_for(member.running, 20)

    async def test_stopped_while_joining_it_returns(self, group: Membership) -> None:
        """A stop is obeyed before the group was joined, too."""
        group.topic = "nobody-made-this-either"
        member = group.member(Gate(Watch()), Watch())
        await member.stop()

    async def test_revocation_is_told_after_the_drain(self, group: Membership) -> None:
        """The order an operator reads in the log: drained, revoked, assigned."""
        watch = Watch()
        async with running(group, Gate(watch), watch):
            await watch.assigned()
        kinds = [type(fact) for fact in watch.facts if isinstance(fact, Drained | Revoked | Assigned)]
        assert [Drained, Revoked, Assigned, Drained] == kinds
