"""What the tests of ingest share: its parts around a real broker and ledger, and auth's contract spoken.

Every test draws revisions and profiles of its own, so all of them share one broker and one ledger.
"""

import asyncio
import itertools
import secrets
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any
from uuid import UUID, uuid4

import aiohttp
from aiohttp import web
from aiokafka import AIOKafkaConsumer, ConsumerRecord, TopicPartition
from pydantic import SecretStr
from sqlalchemy.engine import make_url
from sqlalchemy.ext.asyncio import AsyncEngine

import services.ingest
from connector.audience.preflight import Thresholds
from connector.database.migrations import Migrations
from connector.database.provision import ServiceRole, provision
from connector.files.limits import DEFAULT_LIMITS
from connector.kafka import topics
from connector.kafka.events import Encoded, encode
from connector.kafka.producer import EventProducer
from connector.kafka.topics import Topic
from connector.objects.stores import Stores
from connector.runtime.identity import ServiceSigner, ServiceVerifier, Unidentified
from connector.runtime.settings import DatabaseSettings, KafkaSettings
from connector.telemetry import Telemetry
from embedded.postgres import Postgres
from schemas.events import (
    ChunkReady,
    DeliveryKind,
    DeliveryRequested,
    DeliveryStatusChanged,
    FileRef,
    ProfileChanged,
    ProfileStatus,
)
from schemas.registry import PROFILE_CHANGED
from services.auth.questions import ResolveDestination, read
from services.auth.refusals import Code, Refusal
from services.auth.routes import RESOLVERS, refused
from services.ingest import accounting, deliveries
from services.ingest.accept import Acceptor
from services.ingest.clock import utc_now
from services.ingest.deadletters import DeadLetters
from services.ingest.deliveries import Delivery
from services.ingest.destinations import Destinations
from services.ingest.emission import Emission
from services.ingest.holding import Holding
from services.ingest.intake import Intake
from services.ingest.outcomes import OutcomeIntake
from services.ingest.patience import Patience
from services.ingest.planning import Planner
from services.ingest.preflighting import PreflightLook
from services.ingest.releasing import ProfileIntake, Releaser
from services.ingest.settling import Settler
from services.ingest.states import FileFacts
from services.ingest.status import StatusPublisher
from services.ingest.stream import StreamRecord

MIGRATIONS = Path(services.ingest.__file__).parent / "migrations"
USED = (
    topics.DELIVERIES,
    topics.DELIVERIES_DLQ,
    topics.CHUNKS,
    topics.OUTCOMES,
    topics.OUTCOMES_DLQ,
    topics.DELIVERY_STATUS,
    topics.PROFILES,
    topics.PROFILES_DLQ,
)
IMPATIENT = Patience(base=0.01, cap=0.05, attempts=3, seconds=0)
revisions = itertools.count(1)


@dataclass
class FakeAuth:
    """Auth's `POST /internal/v1/destinations` over a real socket: checks the caller and the question, then answers.

    Every profile resolves to its own audience of one ad account, unless it is refused.
    """

    verifier: ServiceVerifier
    refusals: dict[UUID, Refusal] = field(default_factory=dict)
    asked: list[ResolveDestination] = field(default_factory=list)
    was_asked: asyncio.Event = field(default_factory=asyncio.Event)
    url: str = ""

    def refuse(self, profile: UUID, code: str) -> None:
        """From now on *profile* is refused, as auth refuses with *code*."""
        self.refusals[profile] = Refusal(Code(code), f"{code} it is", "do this")

    async def destinations(self, request: web.Request) -> web.Response:
        """The route: identity, question and refusals are read and written by auth's own code."""
        try:
            caller = self.verifier.caller(request.headers.get("Authorization"))
            asked = read(ResolveDestination, await request.read())
        except Unidentified as error:
            return refused(Refusal(Code.UNIDENTIFIED, str(error)))
        except Refusal as refusal:
            return refused(refusal)
        if caller not in RESOLVERS:
            return refused(Refusal(Code.CALLER_REFUSED, caller))
        self.asked.append(asked)
        self.was_asked.set()
        if asked.profile_id in self.refusals:
            return refused(self.refusals[asked.profile_id])
        return web.json_response(destination_of(asked.profile_id))


def destination_of(profile: UUID) -> dict[str, Any]:
    """What auth answers about *profile* on a good day."""
    return {
        "profile_id": str(profile),
        "ad_account_id": f"act_{profile.int % 10**9}",
        "audience_id": str(profile.int % 10**15),
        "audience_name": "Connection Audience",
        "created": False,
    }


def changed(profile: UUID, status: ProfileStatus = ProfileStatus.CONNECTED, sequence: int = 1) -> Encoded:
    """Auth's event about a profile."""
    now = utc_now()
    event = ProfileChanged(profile_id=profile, company_id=1, status=status, sequence=sequence, changed_at=now)
    return encode(
        PROFILE_CHANGED,
        event,
        key=str(profile),
        identity=(profile, sequence),
        source="auth",
        subject=str(profile),
        now=now,
    )


def migrated(server: Postgres) -> DatabaseSettings:
    """Gives *server* ingest's role, schema and tables; the address of that role."""
    own = make_url(server.dsn).set(username="fbc_ingest", password=secrets.token_hex(8))
    dsn = SecretStr(own.render_as_string(hide_password=False))
    provision(SecretStr(server.dsn), [ServiceRole.of(dsn, "ingest")])
    Migrations("ingest", MIGRATIONS).upgrade(dsn)
    return DatabaseSettings(dsn=dsn, pool_size=10)


@dataclass
class Rig:
    """ingest in one process, taken apart: each test puts together what it needs, with real parts."""

    kafka: KafkaSettings
    database: DatabaseSettings
    engine: AsyncEngine
    producer: EventProducer
    stores: Stores
    folder: Path
    auth: FakeAuth
    signer: ServiceSigner
    session: aiohttp.ClientSession
    telemetry: Telemetry = field(default_factory=Telemetry)
    stop: asyncio.Event = field(default_factory=asyncio.Event)

    @property
    def acceptor(self) -> Acceptor:
        """Deliveries into the ledger."""
        return Acceptor(self.engine, self.telemetry, utc_now)

    @property
    def status(self) -> StatusPublisher:
        """States to upstream."""
        return StatusPublisher(self.engine, self.producer, "ingest", self.telemetry, utc_now)

    def emission(self, producer: EventProducer | None = None) -> Emission:
        """Chunks to the uploader, through *producer* if given."""
        return Emission(self.engine, producer or self.producer, self.telemetry, utc_now, batch=50)

    def planner(self, *, producer: EventProducer | None = None, stores: Stores | None = None) -> Planner:
        """A planner, perhaps with a part that is about to fail."""
        return Planner(
            engine=self.engine,
            destinations=Destinations(self.session, self.auth.url, self.signer),
            stores=stores or self.stores,
            emission=self.emission(producer),
            status=self.status,
            telemetry=self.telemetry,
            clock=utc_now,
            stop=self.stop,
            batch=50,
            look=PreflightLook(records=1_000, thresholds=Thresholds(), limits=DEFAULT_LIMITS),
        )

    @property
    def dead_letters(self) -> DeadLetters:
        """Where records end that nobody can process."""
        return DeadLetters(self.producer, self.kafka.topic_prefix, self.telemetry, utc_now, self.stop)

    def holding(self, during: str) -> Holding:
        """Steps held while the database is away."""
        return Holding(during, IMPATIENT, self.telemetry, self.stop)

    def intake(self, *, planner: Planner | None = None, patience: Patience = IMPATIENT) -> Intake:
        """The handler of the deliveries topic."""
        return Intake(
            acceptor=self.acceptor,
            planner=planner or self.planner(),
            dead_letters=self.dead_letters,
            holding=self.holding("intake"),
            patience=patience,
            telemetry=self.telemetry,
            stop=self.stop,
            places=4,
        )

    @property
    def settler(self) -> Settler:
        """Outcomes into the ledger."""
        return Settler(self.engine, self.emission(), self.status, self.telemetry, utc_now)

    @property
    def outcomes(self) -> OutcomeIntake:
        """The handler of the outcomes topic."""
        return OutcomeIntake(self.settler, self.dead_letters, self.holding("progress"), self.stop)

    @property
    def releaser(self) -> Releaser:
        """What lets waiting things go on."""
        return Releaser(
            engine=self.engine,
            producer=self.producer,
            emission=self.emission(),
            status=self.status,
            telemetry=self.telemetry,
            clock=utc_now,
        )

    @property
    def profiles(self) -> ProfileIntake:
        """The handler of the profiles topic."""
        return ProfileIntake(
            releaser=self.releaser,
            dead_letters=self.dead_letters,
            holding=self.holding("profiles"),
            patience=IMPATIENT,
            stop=self.stop,
        )

    def write(self, lines: int, *, name: str | None = None) -> FileRef:
        """A file of so many records in the store."""
        key = name or f"{uuid4()}.ndjson"
        with (self.folder / key).open("w") as out:
            out.writelines(
                f'{{"unique_id": {{"type": "sha256_email", "value": "{number:064d}"}}}}\n' for number in range(lines)
            )
        return FileRef(name=key, store="local", key=key)

    def event(self, *files: FileRef, **changes: Any) -> DeliveryRequested:
        """A delivery of *files* with a revision and a profile of its own."""
        document: dict[str, Any] = {
            "revision": next(revisions),
            "kind": DeliveryKind.SNAPSHOT_APPENDED,
            "company_id": 1,
            "profile_id": uuid4(),
            "connection_id": uuid4(),
            "files": files,
            **changes,
        }
        return DeliveryRequested(**document)

    async def planned(self, event: DeliveryRequested) -> Delivery:
        """The delivery after it was accepted and planned."""
        await self.acceptor.accept(event, via="topic")
        await self.planner().plan(event.revision)
        return await self.delivery(event.revision)

    async def delivery(self, revision: int) -> Delivery:
        """The delivery as the ledger has it."""
        async with self.engine.connect() as connection:
            found = await deliveries.find(connection, revision)
        assert found is not None
        return found

    async def facts(self, revision: int) -> list[FileFacts]:
        """What the ledger counts for each file."""
        async with self.engine.connect() as connection:
            counted = await accounting.file_facts(connection, [revision])
        return [fact for _, fact in sorted(counted[revision].items())]

    async def records(self, topic: Topic) -> list[ConsumerRecord[bytes | None, bytes | None]]:
        """Everything on a topic at this moment, read without a group."""
        return await read_all(self.kafka, topic)

    async def chunks(self, revision: int) -> list[tuple[str, ChunkReady]]:
        """The chunk events of a delivery with their `ce_id`, in the order they were written."""
        found = [
            (dict(record.headers)["ce_id"].decode(), record.key, ChunkReady.model_validate_json(record.value or b""))
            for record in await self.records(topics.CHUNKS)
        ]
        assert all(key == ready.ad_account_id.encode() for _, key, ready in found), "keyed by the ad account"
        return [(ce_id, ready) for ce_id, _, ready in found if ready.revision == revision]

    async def states(self, revision: int) -> list[DeliveryStatusChanged]:
        """The status events of a delivery, in the order they were written."""
        found = [
            DeliveryStatusChanged.model_validate_json(record.value or b"")
            for record in await self.records(topics.DELIVERY_STATUS)
        ]
        return [changed for changed in found if changed.revision == revision]

    async def put(self, topic: Topic, event: Encoded) -> StreamRecord:
        """Writes a record to a topic; the record as a consumer gets it."""
        return await self.put_bytes(topic, event.key, event.value, event.headers)

    async def put_bytes(
        self, topic: Topic, key: bytes | None, value: bytes | None, headers: tuple[tuple[str, bytes], ...] = ()
    ) -> StreamRecord:
        """Writes bytes to a topic; the record as a consumer gets it. *value* is unique in the tests that use this."""
        await self.producer.send(topic.full_name(self.kafka.topic_prefix), key, value, headers)
        record = next(one for one in reversed(await self.records(topic)) if (one.key, one.value) == (key, value))
        return StreamRecord(
            record.topic,
            record.partition,
            record.offset,
            record.timestamp,
            record.key,
            record.value,
            tuple(record.headers),
        )

    async def letter_of(self, record: StreamRecord, dlq: Topic) -> ConsumerRecord[bytes | None, bytes | None] | None:
        """The dead letter of *record*, or None."""
        way_back = {
            "origin-topic": record.topic.encode(),
            "origin-partition": str(record.partition).encode(),
            "origin-offset": str(record.offset).encode(),
        }
        letters = await self.records(dlq)
        return next((letter for letter in letters if way_back.items() <= dict(letter.headers).items()), None)


async def read_all(settings: KafkaSettings, topic: Topic) -> list[ConsumerRecord[bytes | None, bytes | None]]:
    """All records of a topic up to its present end, ordered by the time they were written."""
    name = topic.full_name(settings.topic_prefix)
    consumer: AIOKafkaConsumer = AIOKafkaConsumer(bootstrap_servers=settings.bootstrap, auto_offset_reset="earliest")
    await consumer.start()
    try:
        partitions = [TopicPartition(name, number) for number in range(topic.partitions)]
        consumer.assign(partitions)
        ends = await consumer.end_offsets(partitions)
        records: list[ConsumerRecord[bytes | None, bytes | None]] = []
        async with asyncio.timeout(20):
            for partition in partitions:
                while await consumer.position(partition) < ends[partition]:
                    for batch in (await consumer.getmany(timeout_ms=200)).values():
                        records += batch
    finally:
        await consumer.stop()
    return sorted(records, key=lambda record: (record.timestamp, record.offset))


@asynccontextmanager
async def serving_route(
    path: str, handler: Callable[[web.Request], Awaitable[web.StreamResponse]]
) -> AsyncIterator[str]:
    """Serves one POST route on a free port of the loopback while the block runs; yields the base URL."""
    app = web.Application()
    app.router.add_post(path, handler)
    runner = web.AppRunner(app)
    await runner.setup()
    try:
        await web.TCPSite(runner, "127.0.0.1", 0).start()
        host, port = runner.addresses[0][:2]
        yield f"http://{host}:{port}"
    finally:
        await runner.cleanup()
