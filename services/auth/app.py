"""The composition root of auth: what is made of what, in order; the only place that names concrete classes."""

import asyncio
import time
from datetime import UTC, datetime, timedelta
from uuid import uuid4

from connector.database import engine as database
from connector.graph.client import GraphClient
from connector.runtime.identity import ServiceVerifier
from connector.runtime.process import supervise
from connector.runtime.web import Health, application, serving
from connector.telemetry.facts import Telemetry
from services.auth.announcing import Announcer
from services.auth.audiences import AudienceLedger, OneAtATime
from services.auth.connecting import Connecting
from services.auth.destinations import Destinations
from services.auth.issue import LeaseDesk
from services.auth.keys import LocalKeyProvider
from services.auth.meta import MetaApi
from services.auth.profiles import Profiles
from services.auth.routes import Routes
from services.auth.settings import Settings
from services.auth.vault import Vault

LOCK_SESSIONS = 4
"""Database sessions that hold or wait for the turn to work on a destination: creates at once, per process."""


def now() -> datetime:
    """The clock of this process."""
    return datetime.now(UTC)


async def serve(settings: Settings, stop: asyncio.Event) -> None:
    """Runs auth until *stop*."""
    telemetry = Telemetry()
    keys = LocalKeyProvider.from_file(settings.vault.key_file, settings.stage)
    vault = Vault(keys, clock=time.monotonic, ttl=settings.vault.cache_ttl, entries=settings.vault.cache_entries)
    engine = database.create(settings.database, "fbc-auth")
    lock_engine = database.create(settings.database.model_copy(update={"pool_size": LOCK_SESSIONS}), "fbc-auth-turns")
    try:
        async with GraphClient(settings.graph) as graph:
            meta = MetaApi(graph, settings.graph.app_id, settings.graph.app_secret, telemetry)
            profiles = Profiles(engine, vault, now)
            ledger = AudienceLedger(engine, now)
            announcer = Announcer(profiles, settings.kafka, telemetry, now)
            routes = Routes(
                verifier=ServiceVerifier.from_settings(settings.identity),
                profiles=profiles,
                connecting=Connecting(
                    meta,
                    profiles,
                    telemetry,
                    app_id=settings.graph.app_id,
                    clock=now,
                    changed=announcer.nudge,
                ),
                destinations=Destinations(
                    meta,
                    profiles,
                    ledger,
                    OneAtATime(lock_engine),
                    telemetry,
                    settle=timedelta(seconds=settings.destinations.settle),
                    clock=now,
                    changed=announcer.nudge,
                ),
                leases=LeaseDesk(
                    profiles,
                    ledger,
                    settings.graph.app_secret,
                    telemetry,
                    ttl=timedelta(seconds=settings.lease.ttl),
                    clock=now,
                    new_id=uuid4,
                ),
                telemetry=telemetry,
            )
            # Kafka is no part of readiness: leases do not need it, and without leases every uploader stands still.
            health = Health(ready={"database": lambda: database.answers(engine)})
            app = application(health, telemetry.registry)
            routes.add_to(app)
            async with serving(app, settings.http):
                await supervise(stop, {"announcer": announcer.run(stop), "server": _until(stop)})
    finally:
        await engine.dispose()
        await lock_engine.dispose()


async def _until(stop: asyncio.Event) -> None:
    """The server runs in the background; as a part it lasts until asked to stop."""
    await stop.wait()
