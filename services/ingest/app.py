"""ingest put together: read top to bottom. The only place that names concrete classes."""

import asyncio
import time
from contextlib import AsyncExitStack

import aiohttp
from sqlalchemy.ext.asyncio import AsyncEngine

from connector.database import engine as database
from connector.kafka.consumer import ConcurrentConsumer, Record
from connector.kafka.consumer_metrics import ConsumerMetrics
from connector.kafka.producer import EventProducer
from connector.kafka.topics import DELIVERIES, PROFILES
from connector.objects.stores import open_stores
from connector.runtime.identity import ServiceSigner
from connector.runtime.process import supervise
from connector.runtime.web import Health, application, serving
from connector.telemetry import Telemetry
from services.ingest.accept import Acceptor
from services.ingest.clock import utc_now
from services.ingest.deadletters import DeadLetters
from services.ingest.destinations import Destinations
from services.ingest.emission import Emission
from services.ingest.holding import Holding
from services.ingest.intake import Intake
from services.ingest.patience import Patience
from services.ingest.planning import Planner
from services.ingest.preflighting import PreflightLook
from services.ingest.releasing import ProfileIntake, Releaser
from services.ingest.routes import DeliveryApi
from services.ingest.settings import IngestSettings, PlanningSettings
from services.ingest.status import StatusPublisher
from services.ingest.sweeping import Sweep

NAME = "ingest"
DELIVERIES_GROUP = "fbc-ingest-deliveries"
PROFILES_GROUP = "fbc-ingest-profiles"
PROFILES_IN_FLIGHT = 8
POLL_SILENCE = 60.0
"""Seconds without a poll after which a consumer is not alive any more."""


async def serve(settings: IngestSettings, stop: asyncio.Event) -> None:
    """Runs ingest until *stop* is set, then stops in order: HTTP, consumers, producer, database."""
    telemetry = Telemetry()
    async with AsyncExitStack() as stack:
        engine = database.create(settings.database, "fbc-ingest")
        stack.push_async_callback(engine.dispose)
        producer = await stack.enter_async_context(EventProducer(settings.kafka, NAME))
        stores = await stack.enter_async_context(open_stores(settings.stores))
        timeout = aiohttp.ClientTimeout(total=settings.auth.timeout, connect=10)
        session = await stack.enter_async_context(aiohttp.ClientSession(timeout=timeout))
        destinations = Destinations(session, settings.auth.url, ServiceSigner.from_settings(settings.identity))

        patience = _patience(settings.planning)
        acceptor = Acceptor(engine, telemetry, utc_now)
        status = StatusPublisher(engine, producer, NAME, telemetry, utc_now)
        emission = Emission(engine, producer, telemetry, utc_now, batch=settings.planning.batch)
        planner = Planner(
            engine=engine,
            destinations=destinations,
            stores=stores,
            emission=emission,
            status=status,
            telemetry=telemetry,
            clock=utc_now,
            stop=stop,
            batch=settings.planning.batch,
            look=PreflightLook(
                records=settings.preflight.records,
                thresholds=settings.preflight.thresholds,
                limits=settings.files.limits,
            ),
            limits=settings.files.limits,
        )
        dead_letters = DeadLetters(producer, settings.kafka.topic_prefix, telemetry, utc_now, stop)
        intake = Intake(
            acceptor=acceptor,
            planner=planner,
            dead_letters=dead_letters,
            holding=Holding("intake", patience, telemetry, stop),
            patience=patience,
            telemetry=telemetry,
            stop=stop,
            places=settings.planning.concurrency,
        )
        releaser = Releaser(
            engine=engine,
            producer=producer,
            emission=emission,
            status=status,
            telemetry=telemetry,
            clock=utc_now,
        )
        profile_intake = ProfileIntake(
            releaser=releaser,
            dead_letters=dead_letters,
            holding=Holding("profiles", patience, telemetry, stop),
            patience=patience,
            stop=stop,
        )
        api = DeliveryApi(
            engine=engine,
            acceptor=acceptor,
            producer=producer,
            releaser=releaser,
            clock=utc_now,
            publish_timeout=settings.publish_timeout,
        )

        prefix = settings.kafka.topic_prefix
        metrics = ConsumerMetrics(telemetry.registry)
        deliveries = ConcurrentConsumer(
            settings.kafka,
            topics=[DELIVERIES.full_name(prefix)],
            group=DELIVERIES_GROUP,
            handler=intake.handle,
            lane_of=lane,
            lane_concurrency=1,
            concurrency=settings.planning.in_flight,
            on_defect=intake.bury_defect,
            observer=metrics.observer(DELIVERIES_GROUP),
        )
        profiles = ConcurrentConsumer(
            settings.kafka,
            topics=[PROFILES.full_name(prefix)],
            group=PROFILES_GROUP,
            handler=profile_intake.handle,
            lane_of=lane,
            lane_concurrency=1,
            concurrency=PROFILES_IN_FLIGHT,
            on_defect=profile_intake.bury_defect,
            observer=metrics.observer(PROFILES_GROUP),
        )

        app = application(_health(engine, deliveries, profiles), telemetry.registry)
        api.add_to(app)
        async with serving(app, settings.http):
            await supervise(
                stop,
                {
                    "deliveries": deliveries.run(stop),
                    "profiles": profiles.run(stop),
                    "sweep": Sweep(status, releaser, settings.sweep, telemetry, clock=utc_now).run(stop),
                },
            )


def lane(record: Record) -> str:
    """Records of one key are handled in order: a connection's deliveries, a profile's changes."""
    return (record.key or b"").decode(errors="replace")


def _patience(settings: PlanningSettings) -> Patience:
    return Patience(
        base=settings.retry_base,
        cap=settings.retry_cap,
        attempts=settings.give_up_attempts,
        seconds=settings.give_up_seconds,
    )


def _health(engine: AsyncEngine, *consumers: ConcurrentConsumer) -> Health:
    """Alive while both poll loops turn; ready when the ledger answers and both groups have been joined."""

    async def polling() -> bool:
        oldest = time.monotonic() - POLL_SILENCE
        return all(consumer.last_poll_at is None or consumer.last_poll_at > oldest for consumer in consumers)

    async def assigned() -> bool:
        return all(consumer.assigned is not None for consumer in consumers)

    async def ledger() -> bool:
        return await database.answers(engine)

    return Health(live={"poll loops": polling}, ready={"assignments": assigned, "ledger": ledger})
