"""What the consumer costs: chunk events to a handler that does nothing, beside aiokafka's bare `getone` loop.

Both read the same topic of a real broker, which has the other cores for itself. Ours decodes each event, keeps account
of its offset, gives it its turn in its account's lane, moves the metrics and commits, as in the uploader; the bare loop
takes records and counts them, without a group and without commits. Joining the group is not in the figures: the clock
runs from the first records to the last.
"""

import asyncio
import itertools
import logging
import os
import secrets
import sys
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import UTC, datetime
from pathlib import Path
from time import perf_counter

from aiokafka import AIOKafkaConsumer, AIOKafkaProducer
from aiokafka.admin import AIOKafkaAdminClient, NewTopic
from prometheus_client import CollectorRegistry

from bench.measuring import Figure, told
from connector.kafka.consumer import ConcurrentConsumer, Record
from connector.kafka.consumer_config import Tuning
from connector.kafka.consumer_facts import Completed, ConsumerFact, Polled
from connector.kafka.consumer_metrics import ConsumerMetrics
from connector.kafka.events import Encoded, decode, encode
from connector.runtime.settings import KafkaSettings
from embedded.kafka import KafkaCluster
from schemas.events import ByteRange, ChunkReady, Layout, Operation
from schemas.registry import CHUNK_READY

GETONE = "aiokafka getone"
PARTITIONS, ACCOUNTS = 12, 50
LANE_CONCURRENCY, CONCURRENCY = 16, 64
"""As the uploader's defaults are."""


def measure(*, events: int = 60_000, rounds: int = 3) -> list[Figure]:
    """Events per second of both, on a broker that is started for it."""
    logging.getLogger("aiokafka").setLevel(logging.CRITICAL)
    with asyncio.Runner() as runner, tempfile.TemporaryDirectory() as folder:
        cluster = KafkaCluster(folder=Path(folder))
        with _all_cores():
            runner.run(cluster.__aenter__())
        try:
            return measure_on(runner, KafkaSettings(bootstrap=cluster.bootstrap, replication=1), events, rounds)
        finally:
            runner.run(cluster.__aexit__(None, None, None))


def measure_on(runner: asyncio.Runner, settings: KafkaSettings, events: int, rounds: int) -> list[Figure]:
    """The same on a broker that runs."""
    topic = f"bench-{secrets.token_hex(6)}"
    runner.run(_fill(settings, topic, events))
    contenders = {
        "ours": lambda: runner.run(our_seconds(settings, topic, events)),
        GETONE: lambda: runner.run(bare_seconds(settings, topic, events)),
    }
    took = told(contenders, rounds=rounds)
    return [Figure("consumer", "events/s", events / took["ours"], {GETONE: events / took[GETONE]})]


async def our_seconds(settings: KafkaSettings, topic: str, events: int) -> float:
    """From the first records that are polled to the last that is completed."""
    stop, group = asyncio.Event(), f"bench-{secrets.token_hex(6)}"
    left, began, ended = events, 0.0, 0.0

    def watch(fact: ConsumerFact) -> None:
        nonlocal left, began, ended
        if isinstance(fact, Completed):
            left -= 1
            if left == 0:
                ended = perf_counter()
                stop.set()
        elif isinstance(fact, Polled) and not began:
            began = perf_counter()

    consumer = ConcurrentConsumer(
        settings,
        topics=[topic],
        group=group,
        handler=_decode_only,
        lane_of=_account,
        lane_concurrency=LANE_CONCURRENCY,
        concurrency=CONCURRENCY,
        on_defect=_no_defect,
        observer=ConsumerMetrics(CollectorRegistry()).observer(group, watch),
        tuning=Tuning(commit_after=1),  # as the uploader: what is done is committed at once
    )
    await consumer.run(stop)
    return ended - began


async def bare_seconds(settings: KafkaSettings, topic: str, events: int) -> float:
    """From the first record to the last."""
    client = AIOKafkaConsumer(topic, bootstrap_servers=settings.bootstrap, auto_offset_reset="earliest")
    await client.start()
    try:
        await client.getone()
        began = perf_counter()
        for _ in range(events - 1):
            await client.getone()
        return perf_counter() - began
    finally:
        await client.stop()


async def _decode_only(record: Record) -> None:
    decode(CHUNK_READY, ChunkReady, record.value, record.headers)


def _account(record: Record) -> str:
    return (record.key or b"").decode()


async def _no_defect(_record: Record, error: Exception) -> None:
    raise RuntimeError("a generated event is not valid") from error


async def _fill(settings: KafkaSettings, topic: str, events: int) -> None:
    admin = AIOKafkaAdminClient(bootstrap_servers=settings.bootstrap)
    await admin.start()
    await admin.create_topics([NewTopic(topic, num_partitions=PARTITIONS, replication_factor=1)])
    await admin.close()
    producer = AIOKafkaProducer(bootstrap_servers=settings.bootstrap, acks="all", linger_ms=5, max_batch_size=131_072)
    await producer.start()
    try:
        chunks = map(_chunk, range(events))
        while some := list(itertools.islice(chunks, 5_000)):
            sent = [await producer.send(topic, one.value, one.key, headers=list(one.headers)) for one in some]
            await asyncio.gather(*sent)
    finally:
        await producer.stop()


def _chunk(number: int) -> Encoded:
    """The event of a chunk, as ingest writes it."""
    account = f"act_{1_000_000 + number % ACCOUNTS}"
    chunk = ChunkReady(
        revision=number // 100 + 1,
        file_index=0,
        chunk_index=number % 100,
        company_id=42,
        profile_id="0b4f2d6e-4a2b-5c66-9d1a-6b0f6f0c1a11",
        ad_account_id=account,
        audience_id="23851234567890123",
        operation=Operation.ADD,
        layout=Layout.NARRATIVE_DATASET,
        file_name="part-00000.ndjson",
        store="s3",
        key="deliveries/2026/11/25/part-00000.ndjson",
        etag="9e107d9d372bb6826bd81d3542a419d6",
        range=ByteRange(start=2_800_000 * number, end=2_800_000 * (number + 1)),
        records=10_000,
        first_record=1,
        first_line=1,
    )
    return encode(
        CHUNK_READY,
        chunk,
        key=account,
        identity=(number,),
        source="bench",
        subject=chunk.chunk_id,
        now=datetime(2026, 11, 25, tzinfo=UTC),
    )


@contextmanager
def _all_cores() -> Iterator[None]:
    """The figures are per core of ours; the broker, which inherits what it is started with, gets all."""
    if sys.platform != "linux":
        yield
        return
    ours = os.sched_getaffinity(0)
    os.sched_setaffinity(0, range(os.cpu_count() or 1))
    try:
        yield
    finally:
        os.sched_setaffinity(0, ours)
