"""What auth tells others about profiles, on a real broker."""

import asyncio
import secrets
from collections.abc import AsyncIterator
from typing import Any
from uuid import uuid4

import pytest
from aiokafka import AIOKafkaConsumer

from connector.kafka.admin import ensure
from connector.kafka.events import decode
from connector.kafka.headers import event_id, text
from connector.kafka.topics import PROFILES
from connector.runtime.settings import KafkaSettings
from embedded.kafka import KafkaCluster
from schemas.events import ProfileChanged
from schemas.registry import PROFILE_CHANGED
from tests.integration.auth_parts import Auth, Emulator, RunAuth

pytest_plugins = ("tests.integration.auth_fixtures",)


@pytest.fixture
async def kafka(tmp_path_factory: pytest.TempPathFactory) -> AsyncIterator[KafkaSettings]:
    """A broker with the topic of profiles."""
    async with KafkaCluster(folder=tmp_path_factory.mktemp("auth-kafka")) as cluster:
        settings = KafkaSettings(bootstrap=cluster.bootstrap, replication=1, topic_prefix=f"a{secrets.token_hex(3)}.")
        await ensure(settings, [PROFILES])
        yield settings


def variables(kafka: KafkaSettings) -> dict[str, str]:
    return {
        "FBC_KAFKA__BOOTSTRAP": kafka.bootstrap,
        "FBC_KAFKA__TOPIC_PREFIX": kafka.topic_prefix,
        "FBC_KAFKA__REPLICATION": "1",
    }


async def announced(consumer: Any, profile_id: str, sequence: int) -> tuple[list[ProfileChanged], list[str | None]]:
    """What was said about a profile up to *sequence*, and the ids of those events."""
    events: list[ProfileChanged] = []
    ids: list[str | None] = []
    async with asyncio.timeout(20):
        while not events or events[-1].sequence < sequence:
            record = await consumer.getone()
            event = decode(PROFILE_CHANGED, ProfileChanged, record.value, record.headers)
            if str(event.profile_id) == profile_id:
                assert profile_id == record.key.decode()
                events.append(event)
                ids.append(text(record.headers, "ce_id"))
    return events, ids


async def test_every_change_is_told(
    auth: Auth, auth_emulator: Emulator, run_auth: RunAuth, kafka: KafkaSettings
) -> None:
    """What happened while the broker was away is told when it is back; then each change, in order, without secrets."""
    token = auth_emulator.token()
    made = (await auth.connect(auth_emulator.account(), token)).json  # by the auth that has no broker
    consumer: Any = AIOKafkaConsumer(
        PROFILES.full_name(kafka.topic_prefix), bootstrap_servers=kafka.bootstrap, auto_offset_reset="earliest"
    )
    await consumer.start()
    try:
        with run_auth(**variables(kafka)) as (url, log):
            other = Auth(url, auth.keys, log, auth.session)
            swept, _ = await announced(consumer, made["id"], 1)
            auth_emulator.kill(token, 460)
            await other.resolve(made, f"connection:{uuid4()}")
            died, _ = await announced(consumer, made["id"], 2)
            again = auth_emulator.token()
            await other.connect(made["ad_account"]["id"], again, company_id=made["company_id"], name=made["name"])
            mended, ids = await announced(consumer, made["id"], 3)
    finally:
        await consumer.stop()

    assert [(1, "connected"), (2, "token_dead"), (3, "connected")] == [
        (event.sequence, event.status.value) for event in (swept[-1], died[-1], mended[-1])
    ]
    assert died[-1].reason is not None
    assert "token_dead" == died[-1].reason.code
    assert event_id(PROFILE_CHANGED.ce_type, made["id"], 3) == ids[-1]
    assert made["ad_account"]["id"] == mended[-1].ad_account_id
    assert token not in str((swept, died, mended))
