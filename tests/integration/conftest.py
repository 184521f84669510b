"""What the tests of this ring share: one real broker for the session, and topics of their own for each test."""

import os
import secrets
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import AsyncExitStack

import pytest
import pytest_asyncio
from aiokafka.admin import AIOKafkaAdminClient, NewTopic

from connector.runtime.settings import KafkaSettings
from embedded.kafka import KafkaCluster

TopicFactory = Callable[..., Awaitable[str]]


@pytest_asyncio.fixture(scope="session", loop_scope="session")
async def kafka_bootstrap(tmp_path_factory: pytest.TempPathFactory) -> AsyncIterator[str]:
    """A broker, or the one KAFKA_BOOTSTRAP names."""
    async with AsyncExitStack() as stack:
        bootstrap = os.environ.get("KAFKA_BOOTSTRAP")
        if bootstrap is None:
            cluster = KafkaCluster(folder=tmp_path_factory.mktemp("kafka"))
            bootstrap = (await stack.enter_async_context(cluster)).bootstrap
        yield bootstrap


@pytest.fixture
def kafka_settings(kafka_bootstrap: str) -> KafkaSettings:
    """The broker as our code gets it, with waits that suit a test."""
    return KafkaSettings(
        bootstrap=kafka_bootstrap, replication=1, request_timeout=10, session_timeout=6, drain_deadline=5
    )


@pytest.fixture
def topic_factory(kafka_bootstrap: str) -> TopicFactory:
    """Makes topics nobody else uses, with so many partitions, and returns the name."""

    async def make(partitions: int = 1) -> str:
        name = f"test-{secrets.token_hex(6)}"
        admin = AIOKafkaAdminClient(bootstrap_servers=kafka_bootstrap)
        await admin.start()
        try:
            await admin.create_topics([NewTopic(name, num_partitions=partitions, replication_factor=1)])
            while name not in await admin.list_topics():  # the controller answers before the broker has it
                pass
        finally:
            await admin.close()
        return name

    return make
