"""Producing against a real broker: acknowledged, in order, or an error within a bound."""

import asyncio
from datetime import UTC, datetime
from pathlib import Path

import pytest
from aiokafka import AIOKafkaConsumer
from aiokafka.admin import AIOKafkaAdminClient, NewTopic
from aiokafka.structs import ConsumerRecord, TopicPartition

from connector.kafka.events import Encoded
from connector.kafka.headers import Envelope
from connector.kafka.producer import EventProducer, ProduceError, RecordTooLarge
from connector.kafka.topics import Topic
from connector.runtime.settings import KafkaSettings
from embedded.kafka import KafkaCluster
from tests.integration.conftest import TopicFactory

HEADERS = Envelope(
    id="1",
    type="t.v1",
    source="test",
    subject="s",
    time=datetime(2026, 1, 1, tzinfo=UTC).isoformat(),
    dataschema="https://example.test/schema",
).headers()


async def stored(settings: KafkaSettings, topic: str) -> list[ConsumerRecord]:
    """All records of partition 0."""
    client = AIOKafkaConsumer(bootstrap_servers=settings.bootstrap, auto_offset_reset="earliest")
    await client.start()
    try:
        name = TopicPartition(topic, 0)
        client.assign([name])
        end = (await client.end_offsets([name]))[name]
        async with asyncio.timeout(10):
            return [await client.getone() for _ in range(end)]
    finally:
        await client.stop()


class TestAcknowledged:
    @pytest.mark.parametrize("compression", ["none", "lz4", "zstd"])
    async def test_bytes_and_headers_arrive_unchanged(
        self, kafka_settings: KafkaSettings, topic_factory: TopicFactory, compression: str
    ) -> None:
        """What a dead letter needs: nothing is interpreted, null stays null."""
        settings = kafka_settings.model_copy(update={"compression": compression})
        topic = await topic_factory()
        async with EventProducer(settings, "test") as producer:
            await producer.send(topic, b"key", b"\x00\xff", HEADERS)
            await producer.send(topic, b"key", None, ())
        first, second = await stored(settings, topic)
        assert (b"key", b"\x00\xff", HEADERS) == (first.key, first.value, tuple(first.headers))
        assert (b"key", None, ()) == (second.key, second.value, tuple(second.headers))

    async def test_a_record_without_key_and_value_can_be_put_aside(
        self, kafka_settings: KafkaSettings, topic_factory: TopicFactory
    ) -> None:
        """Poison with nothing in it gets a dead letter too, with its headers, instead of being held for ever."""
        topic = await topic_factory()
        async with EventProducer(kafka_settings, "test") as producer:
            await producer.send(topic, None, None, HEADERS)
        (record,) = await stored(kafka_settings, topic)
        assert (b"", None, HEADERS) == (record.key, record.value, tuple(record.headers))

    async def test_a_batch_keeps_its_order(self, kafka_settings: KafkaSettings, topic_factory: TopicFactory) -> None:
        """Events published together are stored as they were given, under the configured prefix."""
        topic = await topic_factory()
        settings = kafka_settings.model_copy(update={"topic_prefix": topic[:5]})
        events = [Encoded(b"one key", b"%d" % n, HEADERS) for n in range(500)]
        async with EventProducer(settings, "test") as producer:
            await producer.publish_all(Topic(topic[5:], "key", 1), events)
        assert [event.value for event in events] == [record.value for record in await stored(settings, topic)]


class TestRefused:
    async def test_a_record_that_is_too_large_is_told_apart(
        self, kafka_settings: KafkaSettings, topic_factory: TopicFactory
    ) -> None:
        """Trying again cannot help; the producer goes on with the next record."""
        topic = await topic_factory()
        async with EventProducer(kafka_settings, "test") as producer:
            with pytest.raises(RecordTooLarge, match=f"2000000 bytes is too large for {topic}"):
                await producer.send(topic, b"k", bytes(2_000_000), ())
            await producer.send(topic, b"k", b"small", ())
        assert [b"small"] == [record.value for record in await stored(kafka_settings, topic)]

    async def test_use_outside_its_block_is_a_mistake(self, kafka_settings: KafkaSettings) -> None:
        """A producer that was never started says so at once."""
        with pytest.raises(RuntimeError, match="async with"):
            await EventProducer(kafka_settings, "test").send("t", None, b"", ())


class TestBrokerDown:
    async def test_is_an_error_within_a_bound_and_passes(self, tmp_path: Path) -> None:
        """Unacknowledged in time raises; the same producer works when the broker is back."""
        async with KafkaCluster(folder=tmp_path) as kafka:
            settings = KafkaSettings(bootstrap=kafka.bootstrap, replication=1, request_timeout=2)
            admin = AIOKafkaAdminClient(bootstrap_servers=kafka.bootstrap)
            await admin.start()
            await admin.create_topics([NewTopic("t", num_partitions=1, replication_factor=1)])
            await admin.close()
            async with EventProducer(settings, "test") as producer:
                await producer.send("t", b"k", b"before", ())
                await kafka.kill()
                async with asyncio.timeout(12):
                    with pytest.raises(ProduceError, match="writing to t was not acknowledged"):
                        await producer.send("t", b"k", b"lost or late", ())
                await kafka.start()
                await producer.send("t", b"k", b"after", ())
            values = [record.value for record in await stored(settings, "t")]
        assert [b"before", b"after"] == [value for value in values if value != b"lost or late"]
