"""A consumer under test, with what it handled and what it told, and handlers that are steered record by record."""

import asyncio
from collections.abc import AsyncIterator, Callable, Iterable
from contextlib import asynccontextmanager, suppress
from dataclasses import dataclass, replace
from typing import Any, TypeVar

from aiokafka import AIOKafkaConsumer, AIOKafkaProducer
from aiokafka.structs import OffsetAndMetadata, TopicPartition

from connector.kafka.bitmap import encode
from connector.kafka.committed import committed_offsets
from connector.kafka.consumer import ConcurrentConsumer, Delay, Handler, OnDefect, PutAside, Record, Tuning
from connector.kafka.consumer_facts import Assigned, Committed, ConsumerFact
from connector.runtime.settings import KafkaSettings

WITHIN = 20.0
QUICK = Tuning(commit_every=0.05, commit_gap=0.01)

Kind = TypeVar("Kind")


class Watch:
    """A list of what happened, and waiting until it shows what one waits for."""

    def __init__(self) -> None:
        self.handled: list[tuple[int, int]] = []
        self.facts: list[ConsumerFact] = []
        self._happened = asyncio.Event()

    def fact(self, fact: ConsumerFact) -> None:
        """Takes note of a fact."""
        self.facts.append(fact)
        self._happened.set()

    def begun(self, record: Record) -> None:
        """Takes note of a record that came to a handler."""
        self.handled.append((record.partition, record.offset))
        self._happened.set()

    def told(self, kind: type[Kind]) -> list[Kind]:
        """The facts of a kind so far."""
        return [fact for fact in self.facts if isinstance(fact, kind)]

    async def until(self, condition: Callable[[], bool]) -> None:
        """Waits until *condition* holds, looking whenever something happened."""
        async with asyncio.timeout(WITHIN):
            while not condition():
                self._happened.clear()
                await self._happened.wait()

    async def offsets(self, *offsets: int) -> None:
        """Waits until these offsets of partition 0 came to a handler."""
        await self.until(lambda: {(0, offset) for offset in offsets} <= set(self.handled))

    async def assigned(self, count: int = 1) -> None:
        """Waits until partitions were assigned for the so-manieth time."""
        await self.until(lambda: len(self.told(Assigned)) >= count)


class Gate:
    """A handler whose records end when they are let through."""

    def __init__(self, watch: Watch, *open_offsets: int) -> None:
        self._watch = watch
        self._open = set(open_offsets)
        self._changed = asyncio.Condition()

    async def __call__(self, record: Record) -> None:
        """Handles *record*: waits for its offset."""
        self._watch.begun(record)
        async with self._changed:
            await self._changed.wait_for(lambda: record.offset in self._open)

    async def let(self, *offsets: int) -> None:
        """Lets these offsets end, of whichever partition."""
        async with self._changed:
            self._open.update(offsets)
            self._changed.notify_all()


async def no_defect(_record: Record, error: Exception) -> None:
    """The defect handler of tests without defects."""
    raise AssertionError("no defect was expected") from error


@dataclass
class Membership:
    """How members of a test's group are made."""

    settings: KafkaSettings
    topic: str
    tuning: Tuning = QUICK
    lane_of: Callable[[Record], str] = lambda record: f"{record.partition}/{record.offset}"
    lane_concurrency: int = 1
    concurrency: int = 64
    on_defect: OnDefect = no_defect
    on_stuck: PutAside | None = None
    delay: Delay | None = None

    def tuned(self, **changes: Any) -> "Membership":
        """The same with other tuning."""
        return replace(self, tuning=replace(self.tuning, **changes))

    def member(self, handler: Handler, watch: Watch) -> "Member":
        """A member that handles with *handler* and tells *watch*."""
        consumer = ConcurrentConsumer(
            self.settings,
            topics=[self.topic],
            group=f"group-of-{self.topic}",
            handler=handler,
            lane_of=self.lane_of,
            lane_concurrency=self.lane_concurrency,
            concurrency=self.concurrency,
            on_defect=self.on_defect,
            on_stuck=self.on_stuck,
            delay=self.delay,
            observer=watch.fact,
            tuning=self.tuning,
        )
        return Member(consumer)

    async def committed(self, partition: int = 0) -> OffsetAndMetadata | None:
        """What the group has committed, as Kafka tells it."""
        name = TopicPartition(self.topic, partition)
        found = await committed_offsets(self.settings, f"group-of-{self.topic}", [name], timeout_after=WITHIN)
        return found.get(name)

    async def commits(self, watch: Watch, offset: int, done: int = 0) -> None:
        """Waits until Kafka shows partition 0 committed at *offset* with the bits *done* above it."""
        wanted = (offset, encode(offset, done))
        async with asyncio.timeout(WITHIN):
            while True:
                seen = len(watch.told(Committed))
                if await self.committed() == wanted:
                    return
                await watch.until(lambda seen=seen: len(watch.told(Committed)) > seen)  # type: ignore[misc]

    async def commit_as_others_do(self, offset: int, metadata: str = "") -> None:
        """Commits for partition 0 without being a member, as operators' tools do."""
        client = AIOKafkaConsumer(
            bootstrap_servers=self.settings.bootstrap, group_id=f"group-of-{self.topic}", enable_auto_commit=False
        )
        await client.start()
        try:
            client.assign([TopicPartition(self.topic, 0)])
            await client.commit({TopicPartition(self.topic, 0): (offset, metadata)})
        finally:
            await client.stop()


class Member:
    """A running consumer: `stop` ends it cleanly, `kill` does not."""

    def __init__(self, consumer: ConcurrentConsumer) -> None:
        self.consumer = consumer
        self._stop = asyncio.Event()
        self.running = asyncio.create_task(consumer.run(self._stop))

    async def stop(self) -> None:
        """A clean stop; raises what `run` raised."""
        self._stop.set()
        async with asyncio.timeout(WITHIN):
            await self.running

    async def kill(self) -> None:
        """A crash: cancelled wherever it is."""
        self.running.cancel()
        with suppress(asyncio.CancelledError):
            await self.running


@asynccontextmanager
async def running(membership: Membership, handler: Handler, watch: Watch) -> AsyncIterator[Member]:
    """A member, stopped cleanly at the end if it still runs."""
    member = membership.member(handler, watch)
    try:
        yield member
        if not member.running.done():
            await member.stop()
    finally:
        await member.kill()


async def produce(settings: KafkaSettings, topic: str, records: Iterable[tuple[int, bytes, bytes]]) -> None:
    """Writes (partition, key, value) records, in order."""
    producer = AIOKafkaProducer(bootstrap_servers=settings.bootstrap, acks="all", linger_ms=2)
    await producer.start()
    try:
        sent = [await producer.send(topic, value, key, partition) for partition, key, value in records]
        await asyncio.gather(*sent)
    finally:
        await producer.stop()


async def produce_numbers(settings: KafkaSettings, topic: str, count: int, partitions: int = 1) -> None:
    """Writes *count* small records round the partitions."""
    await produce(settings, topic, ((n % partitions, b"key-%d" % (n % 7), b"%d" % n) for n in range(count)))
