"""Delay topics on a real broker: nothing begins before it is due, nothing is lost while it waits."""

import time
from collections import Counter
from collections.abc import Iterable

import pytest
from aiokafka import AIOKafkaProducer

from connector.kafka.consumer import Delay, Record
from connector.kafka.consumer_facts import Assigned, CommitFailed, Completed, NotDue, Outcome, Standing
from connector.runtime.settings import KafkaSettings
from tests.integration.conftest import TopicFactory
from tests.integration.consumer_parts import Gate, Membership, Watch, running

PARTITIONS = 2


class Tier:
    """A delay topic, what was handled when, and what was put back."""

    def __init__(self, settings: KafkaSettings, topic: str, seconds: float) -> None:
        self.group = Membership(settings, topic, delay=Delay(seconds, self._put_back))
        self.watch = Watch()
        self.begun: dict[bytes, float] = {}
        self.times: Counter[bytes] = Counter()
        self.put_back: list[bytes] = []

    async def postpone(self, records: Iterable[tuple[int, bytes, float | None]]) -> None:
        """Writes (partition, value, due in epoch seconds or None) records."""
        producer = AIOKafkaProducer(bootstrap_servers=self.group.settings.bootstrap, acks="all")
        await producer.start()
        try:
            for partition, value, due in records:
                headers = [] if due is None else [("due-at", b"%d" % round(due * 1_000))]
                await producer.send_and_wait(self.group.topic, value, b"key", partition, headers=headers)
        finally:
            await producer.stop()

    async def handle(self, record: Record) -> None:
        """A handler that takes note of the moment."""
        assert record.value is not None
        self.begun[record.value] = time.time()
        self.times[record.value] += 1
        self.watch.begun(record)

    async def _put_back(self, record: Record) -> None:
        assert record.value is not None
        self.put_back.append(record.value)
        producer = AIOKafkaProducer(bootstrap_servers=self.group.settings.bootstrap, acks="all")
        await producer.start()
        try:
            await producer.send_and_wait(
                record.topic, record.value, record.key, record.partition, headers=list(record.headers)
            )
        finally:
            await producer.stop()

    async def handled(self, *values: bytes) -> None:
        """Waits until these were handled."""
        await self.watch.until(lambda: set(values) <= set(self.begun))


@pytest.fixture
async def tier(kafka_settings: KafkaSettings, topic_factory: TopicFactory) -> Tier:
    """A delay topic of two partitions whose tier is a minute, which a test need not wait for."""
    return Tier(kafka_settings, await topic_factory(PARTITIONS), 60.0)


class TestWaiting:
    async def test_a_partition_waits_for_its_head_and_polling_goes_on(self, tier: Tier) -> None:
        """The head begins when it is due and not before, what is behind it follows; the others do not wait for it.

        It waits for longer than a member may go without polling, and keeps its partitions.
        """
        due = time.time() + 1.5
        tier.group = tier.group.tuned(max_poll_interval=0.7)
        await tier.postpone([(0, b"head", due), (0, b"behind", None), (1, b"other", None), (1, b"past", due - 100)])
        async with running(tier.group, tier.handle, tier.watch) as member:
            await tier.handled(b"other", b"past")
            await tier.watch.until(lambda: bool(tier.watch.told(Standing)))
            assert set() == {b"head", b"behind"} & set(tier.begun)
            assert 0 == member.consumer.in_flight
            await tier.handled(b"head", b"behind")
            await tier.group.commits(tier.watch, 2)
        assert tier.begun[b"head"] >= due
        assert tier.begun[b"behind"] >= due
        assert ([], 1, 1) == (
            tier.watch.told(CommitFailed),
            len(tier.watch.told(Assigned)),
            len(tier.watch.told(NotDue)),
        )

    async def test_what_waits_is_told_with_its_age(self, tier: Tier) -> None:
        """A tier whose oldest record is older than its delay is one nobody reads: that is what is alerted on."""
        before = time.time()
        await tier.postpone([(0, b"head", time.time() + 50), (0, b"behind", None)])
        async with running(tier.group, tier.handle, tier.watch) as member:

            def standing() -> list[int]:
                told = [one for fact in tier.watch.told(Standing) for one in fact.partitions.values()]
                return [one.oldest_ms for one in told if one.lag == 2 and one.oldest_ms is not None]

            await tier.watch.until(lambda: bool(standing()))
            assert before - 1 <= standing()[0] / 1_000 <= time.time()
            assert 2 == member.consumer.lag

    async def test_a_stop_while_waiting_leaves_the_head_to_the_next_run(self, tier: Tier) -> None:
        """Nothing is committed past what waits; after the restart it begins once, when it is due."""
        due = time.time() + 1.2
        await tier.postpone([(0, b"first", None), (0, b"head", due), (0, b"behind", None)])
        async with running(tier.group, tier.handle, tier.watch):
            await tier.watch.until(lambda: bool(tier.watch.told(NotDue)))
            await tier.group.commits(tier.watch, 1)
        assert {b"first": 1} == tier.times
        async with running(tier.group, tier.handle, tier.watch):
            await tier.handled(b"head", b"behind")
            await tier.group.commits(tier.watch, 3)
        assert {1} == set(tier.times.values())
        assert tier.begun[b"head"] >= due

    async def test_a_rebalance_forgets_no_wait(self, tier: Tier) -> None:
        """A member comes and goes while both heads wait: whoever has them begins none early and each once."""
        due = time.time() + 3.0
        await tier.postpone([(partition, b"%d/%d" % (partition, n), due) for partition in (0, 1) for n in range(3)])
        other = Watch()
        async with running(tier.group, tier.handle, tier.watch):
            await tier.watch.until(lambda: len(tier.watch.told(NotDue)) == PARTITIONS)
            async with running(tier.group, tier.handle, other):
                await other.until(lambda: bool(other.told(NotDue)))
            await tier.watch.assigned(3)
            await tier.watch.until(lambda: len(tier.watch.told(Completed)) == 3 * PARTITIONS)
        assert min(tier.begun.values()) >= due
        assert ([1] * 6, 6) == (list(tier.times.values()), len(tier.begun))


class TestLaterThanItsTier:
    async def test_holds_up_others_for_the_tier_only_and_is_put_back(
        self, kafka_settings: KafkaSettings, topic_factory: TopicFactory
    ) -> None:
        """It goes to the end of the topic, as often as it takes, and is handled when it is due and not before."""
        tier = Tier(kafka_settings, await topic_factory(), 0.5)
        due = time.time() + 1.6
        await tier.postpone([(0, b"later", due), (0, b"behind", None)])
        async with running(tier.group, tier.handle, tier.watch):
            await tier.handled(b"later", b"behind")
            await tier.watch.until(lambda: len(tier.watch.told(Completed)) == len(tier.put_back) + 2)
        assert tier.begun[b"behind"] < due <= tier.begun[b"later"]
        assert {1} == set(tier.times.values())
        assert {b"later"} == set(tier.put_back)
        put_back = [fact for fact in tier.watch.told(Completed) if fact.outcome is Outcome.PUT_BACK]
        assert len(tier.put_back) == len(put_back)
        assert (2 + len(put_back), "") == await tier.group.committed()


class TestDamaged:
    async def test_a_time_nobody_can_read_is_now(self, tier: Tier) -> None:
        """Neither a damaged header nor a `due_at` that raises stops the partition."""

        def unreadable(record: Record) -> float | None:
            raise ValueError(record.offset)

        tier.group.delay = Delay(60.0, tier.group.delay.put_back, unreadable) if tier.group.delay else None
        await tier.postpone([(0, b"one", time.time() + 100), (0, b"two", None)])
        async with running(tier.group, Gate(tier.watch, 0, 1), tier.watch):
            await tier.group.commits(tier.watch, 2)
