"""Offsets against a real broker: what is committed, and what a restart repeats."""

import asyncio
from collections import Counter

import pytest
from aiokafka import AIOKafkaConsumer, AIOKafkaProducer
from aiokafka.structs import TopicPartition

from connector.kafka.bitmap import WINDOW, decode
from connector.kafka.committing import CommitResult, Committer
from connector.kafka.consumer import Record
from connector.kafka.consumer_facts import BitmapIgnored, Committed, Completed, Rewound
from connector.kafka.offsets import CommitPoint, PartitionTracker
from connector.kafka.pressure import Marks, Watermarks
from connector.runtime.settings import KafkaSettings
from tests.integration.conftest import TopicFactory
from tests.integration.consumer_parts import Gate, Membership, Watch, produce_numbers, running


@pytest.fixture
async def group(kafka_settings: KafkaSettings, topic_factory: TopicFactory) -> Membership:
    """A group on a topic of one partition."""
    return Membership(kafka_settings, await topic_factory())


async def completed(watch: Watch, count: int) -> None:
    """Waits until so many handlers ended."""
    await watch.until(lambda: len(watch.told(Completed)) >= count)


class TestLowWaterMark:
    async def test_out_of_order_completion_commits_up_to_the_first_unfinished(self, group: Membership) -> None:
        """The offset stays at the unfinished record, the metadata tells which ones above it are finished."""
        await produce_numbers(group.settings, group.topic, 5)
        watch = Watch()
        gate = Gate(watch, 1, 3)
        async with running(group, gate, watch):
            await group.commits(watch, 0, 0b101)
            await gate.let(0)
            await group.commits(watch, 2, 0b1)
            await gate.let(2, 4)
        assert (5, "") == await group.committed()

    async def test_transaction_markers_at_the_end_are_passed(self, group: Membership) -> None:
        """The commit reaches the end of the log, where a marker nobody ever sees holds the last offset."""
        producer = AIOKafkaProducer(bootstrap_servers=group.settings.bootstrap, transactional_id=f"tx-{group.topic}")
        await producer.start()
        try:
            async with producer.transaction():
                await producer.send_and_wait(group.topic, b"in a transaction")
        finally:
            await producer.stop()
        watch = Watch()
        async with running(group, Gate(watch, 0), watch) as member:
            await group.commits(watch, 2)
            assert member.consumer.lag == 0
        assert (2, "") == await group.committed()

    async def test_a_broker_with_a_smaller_limit_gets_the_offset_alone(self, group: Membership) -> None:
        """When the broker refuses the metadata for its size, the offset is committed without it."""

        class Wordy(PartitionTracker):
            def commit_point(self) -> CommitPoint:  # type: ignore[explicit-override]
                return CommitPoint(self.base, "x" * 4_097, 1)

        name = TopicPartition(group.topic, 0)
        tracker = Wordy(0, 1)
        tracker.admit(0)
        tracker.finish(0, 1)
        watch = Watch()
        client = AIOKafkaConsumer(
            bootstrap_servers=group.settings.bootstrap, group_id=f"group-of-{group.topic}", enable_auto_commit=False
        )
        await client.start()
        try:
            client.assign([name])
            assert CommitResult.DONE is await Committer(client, watch.fact).commit({name: tracker}, within=10)
        finally:
            await client.stop()
        assert [BitmapIgnored, Committed] == [type(fact) for fact in watch.facts]
        assert (1, "") == await group.committed()


class TestRestart:
    async def test_after_a_crash_only_what_was_not_committed_is_repeated(self, group: Membership) -> None:
        """Nothing is lost; of the finished records those of the last commit are not handled again."""
        await produce_numbers(group.settings, group.topic, 6)
        before = Watch()
        gate = Gate(before, 1, 3)
        crashing = group.tuned(commit_every=60, commit_after=2).member(gate, before)
        await group.commits(before, 0, 0b101)
        await gate.let(4)
        await completed(before, 3)
        await crashing.kill()

        after = Watch()
        async with running(group, Gate(after, *range(6)), after):
            await completed(after, 4)
        assert [0, 2, 4, 5] == sorted(offset for _, offset in after.handled)
        assert (6, "") == await group.committed()

    async def test_after_a_clean_stop_nothing_is_repeated(
        self, kafka_settings: KafkaSettings, topic_factory: TopicFactory
    ) -> None:
        """Stopped five times in the middle of its work: every record is handled exactly once."""
        total, partitions = 600, 3
        group = Membership(kafka_settings, await topic_factory(partitions), concurrency=8)
        await produce_numbers(kafka_settings, group.topic, total, partitions)
        watch = Watch()

        async def handle(record: Record) -> None:
            watch.begun(record)
            await asyncio.sleep(0.001 * (record.offset % 3))

        for stop_after in (50, 150, 250, 350, 450, total):
            async with running(group, handle, watch):
                await watch.until(lambda enough=stop_after: len(watch.handled) >= enough)  # type: ignore[misc]
        expected = [(n % partitions, n // partitions) for n in range(total)]
        assert sorted(expected) == sorted(watch.handled)

    async def test_hundreds_in_flight_are_not_repeated_either(
        self, kafka_settings: KafkaSettings, topic_factory: TopicFactory
    ) -> None:
        """Stopped with 400 records in their handlers: each comes to its end once, before the stop or after it."""
        total, partitions, at_once = 2_000, 4, 400
        group = Membership(kafka_settings, await topic_factory(partitions), concurrency=at_once)
        await produce_numbers(kafka_settings, group.topic, total, partitions)
        watch = Watch()
        let_go = asyncio.Event()

        async def handle(record: Record) -> None:
            watch.begun(record)
            await let_go.wait()
            await asyncio.sleep(0.0001 * (record.offset % 100))

        async with running(group, handle, watch) as member:
            await watch.until(lambda: member.consumer.in_flight == at_once)
            stopping = asyncio.create_task(member.stop())
            await asyncio.sleep(0)
            let_go.set()
            await stopping
        assert at_once <= len(watch.handled) == len(watch.told(Completed)) < total
        async with running(group, handle, watch):
            await completed(watch, total)
        assert {1} == set(Counter(watch.handled).values())
        assert total == len(watch.handled)

    async def test_a_full_window_out_of_order_repeats_none_of_it(self, group: Membership) -> None:
        """20,000 records finished behind one that is not, all that a commit can tell: that one alone is repeated."""
        marks = Watermarks(spread=Marks(WINDOW + 2, WINDOW))  # by default reading stops a few polls earlier
        group = group.tuned(marks=marks)
        await produce_numbers(group.settings, group.topic, WINDOW + 1)
        group.settings = group.settings.model_copy(update={"drain_deadline": 0.2})
        before = Watch()
        async with running(group, Gate(before, *range(1, WINDOW + 1)), before):
            await completed(before, WINDOW)
        stored = await group.committed()
        assert stored is not None
        assert (0, WINDOW) == (stored.offset, decode(stored.metadata, 0).bit_count())
        assert len(stored.metadata) < 4_096
        after = Watch()
        async with running(group, Gate(after, 0), after):
            await group.commits(after, WINDOW + 1)
        assert [(0, 0)] == after.handled

    async def test_a_record_that_outlasts_the_drain_is_repeated(self, group: Membership) -> None:
        """A clean stop is bounded: what does not end in time is cancelled, not completed, and comes again."""
        await produce_numbers(group.settings, group.topic, 2)
        group.settings = group.settings.model_copy(update={"drain_deadline": 0.2})
        before = Watch()
        async with running(group, Gate(before, 1), before):
            await before.offsets(0, 1)
        after = Watch()
        async with running(group, Gate(after, 0), after):
            await group.commits(after, 2)
        assert [(0, 0)] == after.handled


class TestStrangeCommits:
    async def test_other_softwares_metadata_is_ignored(self, group: Membership) -> None:
        """The offset holds, the text is not guessed at, the records above it are handled."""
        await produce_numbers(group.settings, group.topic, 4)
        await group.commit_as_others_do(2, "reset by hand")
        watch = Watch()
        async with running(group, Gate(watch, 2, 3), watch):
            await group.commits(watch, 4)
        assert [(0, 2), (0, 3)] == sorted(watch.handled)
        assert [TopicPartition(group.topic, 0)] == [fact.partition for fact in watch.told(BitmapIgnored)]

    async def test_a_commit_beyond_the_end_reads_the_log_from_its_start(self, group: Membership) -> None:
        """The log was made anew: its records are not taken for finished because their numbers are small."""
        await produce_numbers(group.settings, group.topic, 3)
        await group.commit_as_others_do(1_000)
        watch = Watch()
        async with running(group, Gate(watch, 0, 1, 2), watch):
            await group.commits(watch, 3)
        assert [(0, 0), (0, 1), (0, 2)] == sorted(watch.handled)
        assert [Rewound(TopicPartition(group.topic, 0), 1_000, 0)] == watch.told(Rewound)
