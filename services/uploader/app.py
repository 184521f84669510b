"""uploader put together: read top to bottom. The only place that names concrete classes."""

import asyncio
import random
from concurrent.futures import ThreadPoolExecutor
from contextlib import AsyncExitStack

import aiohttp

from connector.graph.client import GraphClient
from connector.kafka.consumer import ConcurrentConsumer
from connector.kafka.producer import EventProducer
from connector.kafka.record import Record
from connector.kafka.topics import CHUNKS
from connector.objects.stores import open_stores
from connector.runtime.identity import ServiceSigner
from connector.runtime.process import supervise
from connector.runtime.web import Health, application, serving
from connector.telemetry import Telemetry
from services.uploader.dead import DeadLetters
from services.uploader.deliver import Deliverer
from services.uploader.governor import Governor
from services.uploader.leases import Leases
from services.uploader.producing import PatientProducer
from services.uploader.reading import ChunkReader
from services.uploader.settings import UploaderSettings
from services.uploader.settle import Settler
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

        reader = await stack.enter_async_context(ChunkReader(stores, workers, telemetry, settings.reading))
        governor = Governor()
        patient = PatientProducer(producer, telemetry, chance)
        prefix = settings.kafka.topic_prefix
        settler = Settler(patient, DeadLetters(patient, prefix), prefix, telemetry)
        uploads = Uploads(
            graph=graph,
            governor=governor,
            telemetry=telemetry,
            workers=workers,
            version=settings.graph.version,
            chance=chance,
        )
        deliverer = Deliverer(
            leases=Leases(session, settings.auth.url, ServiceSigner.from_settings(settings.identity), telemetry),
            reader=reader,
            uploads=uploads,
            governor=governor,
            settler=settler,
            telemetry=telemetry,
            bounds=settings.upload,
            retry=settings.retry,
            stop=stop,
            chance=chance,
        )
        chunks = ConcurrentConsumer(
            settings.kafka,
            topics=[CHUNKS.full_name(prefix)],
            group=GROUP,
            handler=deliverer.handle,
            lane_of=lane,
            lane_concurrency=settings.upload.lane_concurrency,
            concurrency=settings.upload.concurrency * HANDLED_PER_CALL,
            on_defect=settler.defect,
        )
        app = application(_health(chunks), telemetry.registry)
        async with serving(app, settings.http):
            await supervise(stop, {"chunks": chunks.run(stop)})


def lane(record: Record) -> str:
    """One lane per ad account, which is the key of the chunks topic."""
    return (record.key or b"").decode(errors="replace")


def _health(chunks: ConcurrentConsumer) -> Health:
    """Live while the poll loop turns; ready when the group has given its partitions out, perhaps to other processes."""

    async def polling() -> bool:
        return chunks.polling

    async def assigned() -> bool:
        return chunks.assignment_known

    return Health(live={"poll loop": polling}, ready={"assignment": assigned})
