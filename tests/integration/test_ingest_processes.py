"""ingest and its progress stream as processes: what they were told to do is done, whoever is killed or away."""

import asyncio
import json
import os
import signal
import sys
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from aiokafka.admin import AIOKafkaAdminClient
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from cryptography.hazmat.primitives.serialization import Encoding, NoEncryption, PrivateFormat, PublicFormat

from connector.database import engine as database
from connector.kafka import topics
from connector.kafka.events import encode
from connector.runtime.identity import ServiceVerifier
from connector.runtime.settings import DatabaseSettings
from embedded.ports import free_ports
from embedded.postgres import Postgres
from schemas.events import ChunkCounts, ChunkReady, ChunkSettled, Delivered, DeliveryState
from schemas.registry import CHUNK_SETTLED
from services.ingest.clock import utc_now
from services.ingest.publication import delivery_record
from services.ingest.stream import GROUP
from tests.integration.ingest_parts import Rig, migrated

pytest_plugins = ("tests.integration.ingest_fixtures",)
pytestmark = pytest.mark.timeout(90)


class Service:
    """A child process of ours."""

    def __init__(self, process: asyncio.subprocess.Process, url: str, log: Path) -> None:
        self.process = process
        self.url = url
        self.log = log
        self.answer = "no answer"

    async def ready(self, rig: Rig) -> None:
        """Waits until it says so; a process that ended shows its log."""
        try:
            async with asyncio.timeout(30):
                while not await self._is_ready(rig):
                    assert self.process.returncode is None, self.log.read_text()
                    await asyncio.sleep(0.05)
        except TimeoutError:
            raise AssertionError(f"not ready: {self.answer}\n{self.log.read_text()}") from None

    async def _is_ready(self, rig: Rig) -> bool:
        try:
            async with rig.session.get(f"{self.url}/health/ready") as answer:
                self.answer = await answer.text()
                return answer.status == 200
        except OSError:
            return False

    async def stopped(self) -> int:
        """Told to stop; its exit code."""
        self.process.send_signal(signal.SIGTERM)
        async with asyncio.timeout(20):
            return await self.process.wait()

    def lines(self) -> list[dict[str, Any]]:
        """Its log; every line is one JSON object."""
        return [json.loads(line) for line in self.log.read_text().splitlines()]


@asynccontextmanager
async def running(rig: Rig, module: str, folder: Path, **variables: str) -> AsyncIterator[Service]:
    """`python -m module` with the environment of *rig*, ready; killed at the end if it still runs."""
    port = free_ports(1)[0]
    name = f"{module}-{port}"
    environment = {
        **{key: value for key, value in os.environ.items() if not key.startswith("FBC_")},
        "FBC_KAFKA__BOOTSTRAP": rig.kafka.bootstrap,
        "FBC_KAFKA__TOPIC_PREFIX": rig.kafka.topic_prefix,
        "FBC_DATABASE__DSN": rig.database.dsn.get_secret_value(),
        "FBC_HTTP__PORT": str(port),
        **variables,
    }
    log = folder / f"{name}.log"
    with log.open("wb") as out:
        process = await asyncio.create_subprocess_exec(sys.executable, "-m", module, env=environment, stderr=out)
    service = Service(process, f"http://127.0.0.1:{port}", log)
    try:
        await service.ready(rig)
        yield service
    finally:
        if process.returncode is None:
            process.kill()
            await process.wait()


def ingest_variables(rig: Rig) -> dict[str, str]:
    """What ingest needs besides: an identity auth trusts, auth, and the store."""
    key = Ed25519PrivateKey.generate()
    private, trusted = rig.folder / "ingest.pem", rig.folder / "trusted.json"
    private.write_bytes(key.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption()))
    public = key.public_key().public_bytes(Encoding.PEM, PublicFormat.SubjectPublicKeyInfo).decode()
    trusted.write_text(json.dumps({"ingest": public}))
    rig.auth.verifier = ServiceVerifier("auth", {"ingest": public})
    return {
        "FBC_AUTH__URL": rig.auth.url,
        "FBC_IDENTITY__SERVICE": "ingest",
        "FBC_IDENTITY__KEY_FILE": str(private),
        "FBC_IDENTITY__TRUSTED_FILE": str(trusted),
        "FBC_STORES": json.dumps({"local": {"kind": "folder", "root": str(rig.folder)}}),
    }


async def until(rig: Rig, revision: int, *states: DeliveryState) -> None:
    """Waits until the ledger says one of *states*."""
    async with asyncio.timeout(30):
        while (await rig.delivery(revision)).state not in states:  # noqa: ASYNC110 -- another process's ledger
            await asyncio.sleep(0.05)


async def outcome_of(rig: Rig, ready: ChunkReady) -> None:
    """Writes the uploader's word: all accepted."""
    event = ChunkSettled(
        revision=ready.revision,
        file_index=ready.file_index,
        chunk_index=ready.chunk_index,
        ad_account_id=ready.ad_account_id,
        audience_id=ready.audience_id,
        outcome=Delivered(),
        counts=ChunkCounts(records=ready.records, accepted=ready.records),
        settled_at=utc_now(),
    )
    record = encode(
        CHUNK_SETTLED,
        event,
        key=str(ready.revision),
        identity=(event.chunk_id, 1),
        source="uploader",
        subject=event.chunk_id,
        now=utc_now(),
    )
    await rig.producer.publish(topics.OUTCOMES, record)


async def held(service: Service) -> None:
    """Waits until the process says that it holds on to an outcome."""
    async with asyncio.timeout(20):
        while "ledger.unavailable" not in service.log.read_text():  # noqa: ASYNC110 -- another process's log
            await asyncio.sleep(0.05)


@asynccontextmanager
async def on_database(rig: Rig, settings: DatabaseSettings) -> AsyncIterator[Rig]:
    """*rig* on a ledger of its own, which may be hurt."""
    engine = database.create(settings, "ingest-test")
    try:
        yield replace(rig, database=settings, engine=engine)
    finally:
        await engine.dispose()


def _is_of(letter: Any, ready: ChunkReady) -> bool:
    return dict(letter.headers).get("ce_subject") == ready.chunk_id.encode()


async def unread(rig: Rig) -> int:
    """Outcomes that the next progress process would read."""
    client = AIOKafkaAdminClient(bootstrap_servers=rig.kafka.bootstrap)
    await client.start()
    try:
        committed = await client.list_consumer_group_offsets(GROUP)
    finally:
        await client.close()
    name = topics.OUTCOMES.full_name(rig.kafka.topic_prefix)
    done = {place.partition: offset.offset for place, offset in committed.items() if place.topic == name}
    return sum(record.offset >= done.get(record.partition, 0) for record in await rig.records(topics.OUTCOMES))


class TestIngest:
    async def test_a_delivery_published_over_http_is_planned_and_a_stop_is_clean(
        self, rig: Rig, tmp_path: Path
    ) -> None:
        """From POST to chunks; SIGTERM ends it with 0."""
        event = rig.event(rig.write(25_000))
        async with running(rig, "services.ingest", tmp_path, **ingest_variables(rig)) as service:
            async with rig.session.post(f"{service.url}/v1/deliveries", json=event.model_dump(mode="json")) as answer:
                assert 202 == answer.status
            await until(rig, event.revision, DeliveryState.UPLOADING)
            assert 0 == await service.stopped()
        assert 3 == len(await rig.chunks(event.revision))
        assert {"delivery.recorded", "file.planned"} <= {line["event"] for line in service.lines()}

    async def test_a_stop_while_a_delivery_waits_for_auth_loses_and_buries_nothing(
        self, rig: Rig, tmp_path: Path
    ) -> None:
        """Stopped in a back-off: quick, clean, and the next process plans it."""
        event = rig.event(rig.write(10))
        rig.auth.refuse(event.profile_id, "throttled")
        variables = ingest_variables(rig) | {"FBC_PLANNING__RETRY_BASE": "30"}
        record = await rig.put(topics.DELIVERIES, delivery_record(event, now=utc_now(), traceparent=None))
        async with running(rig, "services.ingest", tmp_path, **variables) as service:
            async with asyncio.timeout(20):
                await rig.auth.was_asked.wait()
            assert 0 == await service.stopped()
        del rig.auth.refusals[event.profile_id]

        async with running(rig, "services.ingest", tmp_path, **variables) as service:
            await until(rig, event.revision, DeliveryState.UPLOADING)
            assert 0 == await service.stopped()

        assert 1 == len(await rig.chunks(event.revision))
        assert await rig.letter_of(record, topics.DELIVERIES_DLQ) is None


class TestProgress:
    async def test_outcomes_end_a_delivery_and_a_stop_is_clean(self, rig: Rig, tmp_path: Path) -> None:
        """Faust reads, the ledger knows, upstream is told; poison in between is put aside; SIGTERM ends it with 0."""
        event = rig.event(rig.write(25_000))
        await rig.planned(event)
        chunks = [ready for _, ready in await rig.chunks(event.revision)]
        poison = await rig.put_bytes(topics.OUTCOMES, str(event.revision).encode(), b"\xff poison")
        async with running(rig, "services.ingest.progress", tmp_path) as service:
            for ready in chunks:
                await outcome_of(rig, ready)
            await until(rig, event.revision, DeliveryState.DELIVERED)
            assert 0 == await service.stopped()
        letter = await rig.letter_of(poison, topics.OUTCOMES_DLQ)
        assert letter is not None
        assert (poison.key, poison.value) == (letter.key, letter.value)
        assert "delivered" == (await rig.states(event.revision))[-1].state
        assert await unread(rig) == 0, "a clean stop repeats nothing"

    async def test_an_outcome_is_held_while_the_database_is_away(self, rig: Rig, tmp_path: Path) -> None:
        """The database dies: the outcome that comes meanwhile survives a stop of the process, and is applied after."""
        letters = len(await rig.records(topics.OUTCOMES_DLQ))
        async with Postgres(tmp_path / "postgres") as server, on_database(rig, migrated(server)) as own:
            event = own.event(own.write(20_000))
            await own.planned(event)
            first, second = [ready for _, ready in await own.chunks(event.revision)]
            async with running(own, "services.ingest.progress", tmp_path) as service:
                await server.kill()
                await outcome_of(own, first)
                await held(service)
                assert 0 == await service.stopped()
            await server.start()
            async with running(own, "services.ingest.progress", tmp_path) as service:
                async with asyncio.timeout(20):
                    while not (await own.facts(event.revision))[0].settled:  # noqa: ASYNC110 -- another process's ledger
                        await asyncio.sleep(0.05)
                await server.kill()
                await outcome_of(own, second)
                await held(service)
                await server.start()
                await until(own, event.revision, DeliveryState.DELIVERED)
                assert 0 == await service.stopped()
        # Outcomes of other tests' deliveries are unknown to this ledger; ours must not be among the letters.
        written = (await rig.records(topics.OUTCOMES_DLQ))[letters:]
        assert [] == [letter for letter in written if _is_of(letter, first) or _is_of(letter, second)]

    async def test_killed_in_the_middle_the_next_one_goes_on(self, rig: Rig, tmp_path: Path) -> None:
        """SIGKILL between outcomes: what was not acknowledged is read again, and counted once."""
        event = rig.event(rig.write(60_000))
        await rig.planned(event)
        chunks = [ready for _, ready in await rig.chunks(event.revision)]
        async with running(rig, "services.ingest.progress", tmp_path) as service:
            for ready in chunks:
                await outcome_of(rig, ready)
            service.process.kill()
            await service.process.wait()
        async with running(rig, "services.ingest.progress", tmp_path) as service:
            await until(rig, event.revision, DeliveryState.DELIVERED)
            assert 0 == await service.stopped()
        (facts,) = await rig.facts(event.revision)
        assert (60_000, 60_000) == (facts.totals.records, facts.totals.accepted)
