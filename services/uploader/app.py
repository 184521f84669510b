"""uploader put together: read top to bottom. The only place that names concrete classes."""

import asyncio
import random
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import AsyncExitStack

import aiohttp

from connector.graph.client import GraphClient
from connector.kafka.broadcast import Broadcast
from connector.kafka.consumer import ConcurrentConsumer
from connector.kafka.consumer_config import Tuning
from connector.kafka.consumer_metrics import ConsumerMetrics
from connector.kafka.producer import EventProducer
from connector.kafka.record import Record
from connector.kafka.stuck import StuckRules
from connector.kafka.topics import CHUNKS, PROFILES
from connector.objects.stores import open_stores
from connector.runtime.identity import ServiceSigner
from connector.runtime.process import supervise
from connector.runtime.web import Health, application, serving
from connector.telemetry import Telemetry
from services.uploader.breakers import Breakers
from services.uploader.calls import Calls
from services.uploader.dead import DeadLetters
from services.uploader.delaying import Delays
from services.uploader.deliver import Deliverer
from services.uploader.doors import Doors
from services.uploader.fuse import Fuse
from services.uploader.governor import Governor
from services.uploader.leases import Leases
from services.uploader.line import Line
from services.uploader.producing import PatientProducer
from services.uploader.profiles import ProfileNews
from services.uploader.reading import ChunkReader
from services.uploader.settings import UploaderSettings
from services.uploader.settle import Settler
from services.uploader.tiers import tier_consumers
from services.uploader.upload import Uploads

NAME = "uploader"
GROUP = "fbc-uploader"
HANDLED_PER_CALL = 4
"""Records in hand for each call in flight: a throttled account's waiting chunks must not starve the others."""


async def serve(settings: UploaderSettings, stop: asyncio.Event) -> None:
    """Runs the uploader until *stop* is set, then drains, commits and closes in that order."""
    telemetry = Telemetry()
    chance = random.random
    async with AsyncExitStack() as stack:
        workers = stack.enter_context(ThreadPoolExecutor(settings.upload.workers, thread_name_prefix="prepare"))
        producer = await stack.enter_async_context(EventProducer(settings.kafka, NAME))
        stores = await stack.enter_async_context(open_stores(settings.stores))
        graph = await stack.enter_async_context(GraphClient(settings.graph, connections=settings.upload.concurrency))
        timeout = aiohttp.ClientTimeout(total=settings.auth.timeout, connect=5)
        session = await stack.enter_async_context(aiohttp.ClientSession(timeout=timeout))

        rows = settings.upload.removal_rows
        reader = await stack.enter_async_context(
            ChunkReader(stores, workers, telemetry, settings.reading, settings.files.limits, removal_rows=rows)
        )
        governor = Governor(settings.pace.speed)
        patient = PatientProducer(producer, telemetry, chance)
        prefix = settings.kafka.topic_prefix
        line = Line(Fuse(settings.fuse.bounds()), telemetry)
        settler = Settler(patient, DeadLetters(patient, prefix, line), line, prefix, telemetry)
        calls = Calls(
            graph=graph,
            governor=governor,
            telemetry=telemetry,
            version=settings.graph.version,
            chance=chance,
        )
        delays = Delays(patient, prefix, telemetry)
        doors = Doors(Breakers(), telemetry, stop)
        leases = Leases(session, settings.auth.url, ServiceSigner.from_settings(settings.identity), telemetry)
        deliverer = Deliverer(
            leases=leases,
            doors=doors,
            reader=reader,
            uploads=Uploads(calls),
            governor=governor,
            settler=settler,
            delays=delays,
            telemetry=telemetry,
            bounds=settings.upload,
            retry=settings.retry,
            stop=stop,
            chance=chance,
        )
        metrics = ConsumerMetrics(telemetry.registry)
        # A chunk is ten thousand people: what it has done is committed at once, so that a crash repeats little.
        tuning = Tuning(commit_after=1, stuck=StuckRules(head_age=settings.upload.stuck_after))
        chunks = ConcurrentConsumer(
            settings.kafka,
            topics=[CHUNKS.full_name(prefix)],
            group=GROUP,
            handler=deliverer.handle,
            lane_of=lane,
            # Beside the calls of an account some chunks are prepared, or each call would wait for its chunk first.
            lane_concurrency=settings.upload.lane_concurrency + settings.upload.workers,
            concurrency=settings.upload.concurrency * HANDLED_PER_CALL,
            on_defect=settler.defect,
            on_stuck=deliverer.put_aside,
            observer=metrics.observer(GROUP),
            tuning=tuning,
        )
        tiers = tier_consumers(
            settings.kafka,
            {tier.name: tier for tier in settings.retry.policy().tiers},
            group=GROUP,
            handler=deliverer.handle,
            on_defect=settler.defect,
            on_stuck=deliverer.put_aside,
            put_back=delays.put_back,
            lane_of=lane,
            concurrency=settings.retry.concurrency,
            tuning=tuning,
            observer=metrics.observer,
        )
        for consumer in (chunks, *tiers.values()):
            line.holds(consumer.hold)
        profiles = Broadcast(
            settings.kafka, PROFILES.full_name(prefix), f"{NAME}-profiles", ProfileNews(doors, leases).handle
        )
        app = application(_health([chunks, *tiers.values()], line), telemetry.registry)
        async with serving(app, settings.http):
            await supervise(
                stop,
                {
                    "chunks": chunks.run(stop),
                    **{f"tier {name}": tier.run(stop) for name, tier in tiers.items()},
                    "profiles": profiles.run(stop),
                },
            )


def lane(record: Record) -> str:
    """One lane per ad account, which is the key of the chunks topic."""
    return (record.key or b"").decode(errors="replace")


def _health(consumers: Sequence[ConcurrentConsumer], line: Line) -> Health:
    """Live while the poll loops turn; ready when the groups have given out their partitions and the line runs."""

    async def polling() -> bool:
        return all(consumer.polling for consumer in consumers)

    async def assigned() -> bool:
        return all(consumer.assignment_known for consumer in consumers)

    async def running() -> bool:
        return line.running

    return Health(live={"poll loops": polling}, ready={"assignments": assigned, "line": running})
