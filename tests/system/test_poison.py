"""Poison on each topic: what nobody can read is kept with its original bytes, and the next record is not disturbed."""

import asyncio
import json
from pathlib import Path

import pytest
from aiokafka import AIOKafkaConsumer, AIOKafkaProducer, TopicPartition

from connector.kafka.topics import ALL as TOPICS
from tests.records import people
from tests.stack import Stack

pytestmark = pytest.mark.timeout(120)

POISON = {
    "not-json": b"\x00\xff not json \xfe",
    "wrong-schema": b'{"revision": "four"}',
}


@pytest.mark.parametrize("topic", ["fbc.deliveries.v1", "fbc.chunks.v1", "fbc.outcomes.v1", "fbc.profiles.v1"])
@pytest.mark.parametrize("kind", POISON)
async def test_poison_is_dead_lettered_with_its_original_bytes(
    stack: Stack, topic: str, kind: str, tmp_path: Path
) -> None:
    """The dead letter has the same key, value and headers, leads back to its origin, and names the reason."""
    bootstrap = json.loads((stack.home / "stack.json").read_text())["cli_env"]["FBC_KAFKA__BOOTSTRAP"]
    producer = AIOKafkaProducer(bootstrap_servers=bootstrap)
    await producer.start()
    try:
        written = await producer.send_and_wait(topic, POISON[kind], key=b"act_1", headers=[("mine", b"kept")])
    finally:
        await producer.stop()

    letter = await dead_letter(bootstrap, f"{topic}.dlq", written.partition, written.offset)

    headers = dict(letter.headers)
    assert (b"act_1", POISON[kind]) == (letter.key, letter.value)
    assert b"kept" == headers["mine"]
    assert topic.encode() == headers["origin-topic"]
    assert str(written.offset).encode() == headers["origin-offset"]
    assert b"poison" == headers["failure-kind"]
    assert headers["error-code"] in {b"not_json", b"schema"}
    stack.seed("poison")
    file = people(tmp_path / "p.ndjson", f"poison-{topic}-{kind}", range(10))
    assert 0 == (await asyncio.to_thread(stack.publish, str(file), "--profile", "poison")).code


async def dead_letter(bootstrap: str, topic: str, partition: int, offset: int):  # type: ignore[no-untyped-def] # noqa: ANN201 -- aiokafka's record
    """The dead letter of the record at *partition* and *offset* of the origin, read without a group."""
    consumer = AIOKafkaConsumer(bootstrap_servers=bootstrap, auto_offset_reset="earliest")
    await consumer.start()
    try:
        (declared,) = (one for one in TOPICS if one.full_name("fbc.") == topic)
        partitions = [TopicPartition(topic, number) for number in range(declared.partitions)]
        consumer.assign(partitions)
        await consumer.seek_to_beginning(*partitions)
        async with asyncio.timeout(30):
            async for record in consumer:
                headers = dict(record.headers)
                origin = (headers["origin-partition"], headers["origin-offset"])
                if origin == (str(partition).encode(), str(offset).encode()):
                    return record
    finally:
        await consumer.stop()
    raise AssertionError("unreachable")
