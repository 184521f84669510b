"""Fixtures of the tests of ingest: a real broker, a real database, files in a real folder.

A plugin: a test module says `pytest_plugins = ("tests.integration.ingest_fixtures",)`.
"""

import secrets
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack
from pathlib import Path

import aiohttp
import pytest
import pytest_asyncio
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat

from connector.database import engine as database
from connector.kafka.admin import ensure
from connector.kafka.producer import EventProducer
from connector.objects.config import FolderStore
from connector.objects.stores import open_stores
from connector.runtime.identity import ServiceSigner, ServiceVerifier
from connector.runtime.settings import DatabaseSettings, KafkaSettings
from embedded.postgres import Postgres
from tests.integration.ingest_parts import USED, FakeAuth, Rig, migrated, serving_route


@pytest_asyncio.fixture(scope="session", loop_scope="session")
async def ingest_database(tmp_path_factory: pytest.TempPathFactory) -> AsyncIterator[DatabaseSettings]:
    """A PostgreSQL with ingest's role, schema and tables; the address of that role."""
    async with Postgres(tmp_path_factory.mktemp("ingest-db")) as server:
        yield migrated(server)


@pytest_asyncio.fixture(scope="session", loop_scope="session")
async def ingest_kafka(kafka_bootstrap: str) -> KafkaSettings:
    """This ring's broker, with our topics under a prefix of this run."""
    prefix = f"i{secrets.token_hex(4)}."
    settings = KafkaSettings(bootstrap=kafka_bootstrap, topic_prefix=prefix, replication=1, request_timeout=10)
    await ensure(settings, USED)
    return settings


@pytest.fixture
async def rig(ingest_database: DatabaseSettings, ingest_kafka: KafkaSettings, tmp_path: Path) -> AsyncIterator[Rig]:
    """Ingest's parts for one test."""
    key = Ed25519PrivateKey.generate()
    public = key.public_key().public_bytes(Encoding.PEM, PublicFormat.SubjectPublicKeyInfo).decode()
    auth = FakeAuth(ServiceVerifier("auth", {"ingest": public}))
    async with AsyncExitStack() as stack:
        auth.url = await stack.enter_async_context(serving_route("/internal/v1/destinations", auth.destinations))
        engine = database.create(ingest_database, "ingest-test")
        stack.push_async_callback(engine.dispose)
        yield Rig(
            kafka=ingest_kafka,
            database=ingest_database,
            engine=engine,
            producer=await stack.enter_async_context(EventProducer(ingest_kafka, "ingest-test")),
            stores=await stack.enter_async_context(open_stores({"local": FolderStore(root=tmp_path)})),
            folder=tmp_path,
            auth=auth,
            signer=ServiceSigner("ingest", key),
            session=await stack.enter_async_context(aiohttp.ClientSession()),
        )
