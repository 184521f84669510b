"""What the tests of the uploader work with: an auth desk over HTTP, an outbox, and an uploader put together."""

import asyncio
import hashlib
import hmac
import random
from collections import Counter
from collections.abc import AsyncIterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any
from uuid import UUID

import aiohttp
import orjson
from aiohttp import web
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat

from connector.graph.client import GraphClient
from connector.graph.errors import GraphError
from connector.graph.protocol import Answer, Credentials, GraphRequest, Meta, Once, Refusal, Success
from connector.graph.protocol import create_audience as creating
from connector.graph.usage import Usage
from connector.kafka.events import encode
from connector.kafka.headers import Headers, text
from connector.kafka.producer import ProduceError
from connector.kafka.record import Record
from connector.objects.config import FolderStore
from connector.objects.stores import Stores, open_stores
from connector.runtime.identity import ServiceSigner, ServiceVerifier
from connector.runtime.settings import GraphSettings
from connector.telemetry import Telemetry
from schemas.events import ByteRange, ChunkReady, ChunkSettled, Layout, Operation, ProfileChanged
from schemas.registry import CHUNK_READY, PROFILE_CHANGED
from services.uploader.breakers import Breakers
from services.uploader.calls import Calls, Graph
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
from services.uploader.settings import FuseSettings, ReadingSettings, RetrySettings, UploadSettings
from services.uploader.settle import Settler
from services.uploader.upload import Uploads
from tests.integration.auth_parts import Emulator

PROFILE = UUID("5b0f9c1e-7a44-4f0e-9f61-0d8b3f3f2c11")
NOW = datetime(2026, 11, 24, tzinfo=UTC)
OUTCOMES, LETTERS = "fbc.outcomes.v1", "fbc.chunks.v1.dlq"


class Desk:
    """The lease desk of auth, as a server: checks who asks, hands the emulator's token out, or says what it is told."""

    def __init__(self, seed: dict[str, Any], key: Ed25519PrivateKey) -> None:
        public = key.public_key().public_bytes(Encoding.PEM, PublicFormat.SubjectPublicKeyInfo).decode()
        self._verifier = ServiceVerifier("auth", {"uploader": public})
        self.token = str(seed["token"])
        self._secret = str(seed["app_secret"])
        self.lifetime = 300.0
        self.delay = 0.0
        self.asked: list[dict[str, Any]] = []
        self.scripted: list[tuple[int, object, dict[str, str]]] = []

    def script(self, status: int, body: object = None, **headers: str) -> None:
        """Says how the next question is answered; *body* may also be the code of an error."""
        if isinstance(body, str):
            body = {"error": {"code": body, "message": "a reason", "advice": "what to do"}}
        self.scripted.append((status, body, {name.replace("_", "-"): value for name, value in headers.items()}))

    async def answer(self, request: web.Request) -> web.Response:
        """`POST /internal/v1/leases`."""
        assert "uploader" == self._verifier.caller(request.headers.get("Authorization"))
        self.asked.append(await request.json())
        await asyncio.sleep(self.delay)
        if self.scripted:
            status, body, headers = self.scripted.pop(0)
            return web.Response(status=status, body=orjson.dumps(body), headers=headers)
        proof = hmac.new(self._secret.encode(), self.token.encode(), hashlib.sha256).hexdigest()
        ends = datetime.now(UTC) + timedelta(seconds=self.lifetime)
        lease = {"lease_id": "1", "token": self.token, "appsecret_proof": proof, "expires_at": ends.isoformat()}
        return web.json_response(lease)


@asynccontextmanager
async def served(desk: Desk) -> AsyncIterator[str]:
    """The desk's base URL while the block runs."""
    app = web.Application()
    app.router.add_post("/internal/v1/leases", desk.answer)
    runner = web.AppRunner(app, access_log=None)
    await runner.setup()
    try:
        await web.TCPSite(runner, "127.0.0.1", 0).start()
        yield "http://{}:{}".format(*runner.addresses[0][:2])
    finally:
        await runner.cleanup()


@dataclass(frozen=True)
class Written:
    """A record that was written."""

    topic: str
    key: bytes | None
    value: bytes | None
    headers: Headers

    def header(self, name: str) -> str | None:
        """A header as text."""
        return text(self.headers, name)


@dataclass
class Outbox:
    """Where outcomes and dead letters arrive; the first `refusing` writes are not acknowledged."""

    refusing: int = 0
    written: list[Written] = field(default_factory=list)

    async def send(self, topic: str, key: bytes | None, value: bytes | None, headers: Headers) -> None:
        """As `EventProducer.send`."""
        if self.refusing:
            self.refusing -= 1
            raise ProduceError(f"writing to {topic} was not acknowledged: KafkaTimeoutError")
        self.written.append(Written(topic, key, value, headers))

    def of(self, topic: str) -> list[Written]:
        """What was written to *topic*."""
        return [one for one in self.written if one.topic == topic]

    @property
    def outcomes(self) -> list[ChunkSettled]:
        """The outcomes."""
        return [ChunkSettled.model_validate_json(one.value or b"") for one in self.of(OUTCOMES)]

    @property
    def outcome(self) -> ChunkSettled:
        """The only outcome."""
        (one,) = self.outcomes
        return one

    def postponed(self, tier: str) -> Record:
        """The last record written to the delay topic *tier*, as its consumer reads it."""
        one = self.of(f"fbc.chunks.v1.retry.{tier}")[-1]
        return Record(one.topic, 3, 5, 1_700_000_000_000, one.key, one.value, one.headers)

    @property
    def letter(self) -> Written:
        """The only dead letter."""
        (one,) = self.of(LETTERS)
        return one


class Picky:
    """Graph with a flaw: refuses as a whole every batch that holds one of *bad* values. Counts calls in flight."""

    def __init__(self, graph: Graph, bad: Sequence[str] = ()) -> None:
        self._graph = graph
        self._bad = [value.encode() for value in bad]
        self.calls = 0
        self.called = asyncio.Event()
        self.in_flight = 0
        self.most_in_flight = 0
        self.unnamed: str | None = None
        """A value whose row is counted as invalid and not named."""

    async def send(self, request: GraphRequest, credentials: Credentials) -> Answer:
        """As `GraphClient.send`."""
        self.calls += 1
        self.called.set()
        self.in_flight += 1
        self.most_in_flight = max(self.most_in_flight, self.in_flight)
        try:
            if self._bad and "payload" in request.raw:
                payload = b"".join(request.raw["payload"].take())
                request = replace(request, raw={"payload": Once((payload,))})
                if not any(value in payload for value in self._bad):
                    return await self._graph.send(request, credentials)
                error = GraphError(1, 99, "OAuthException", is_transient=False, title="", message="no", fbtrace_id="t")
                return Refusal(error, Meta(500, Usage()))
            if self.unnamed is not None and "payload" in request.raw:
                payload = b"".join(request.raw["payload"].take())
                answer = await self._graph.send(replace(request, raw={"payload": Once((payload,))}), credentials)
                assert isinstance(answer, Success)
                invalid = int(self.unnamed.encode() in payload)
                return replace(answer, document={**answer.document, "num_invalid_entries": invalid})
            return await self._graph.send(request, credentials)
        finally:
            self.in_flight -= 1


@dataclass
class Bench:
    """An uploader put together on one audience, with everything around it within reach."""

    deliverer: Deliverer
    news: ProfileNews
    desk: Desk
    outbox: Outbox
    graph: Picky
    emulator: Emulator
    telemetry: Telemetry
    stop: asyncio.Event
    settler: Settler
    line: Line
    stores: Stores
    folder: Path
    account: str
    audience: str
    numbers: Counter[str] = field(default_factory=Counter)

    async def chunk(self, lines: Sequence[str], **changes: object) -> ChunkReady:
        """A chunk of a new file with these lines."""
        self.numbers["chunk"] += 1
        path = self.folder / f"file-{self.numbers['chunk']}.ndjson"
        path.write_text("".join(f"{line}\n" for line in lines))
        return await self.chunk_of(path, **{"records": len(lines), **changes})

    async def chunk_of(self, path: Path, **changes: object) -> ChunkReady:
        """A chunk that is all of *path*."""
        info = await self.stores.get("local").head(path.name)
        fields: dict[str, object] = {
            "revision": 1,
            "file_index": 0,
            "chunk_index": self.numbers["chunk"],
            "company_id": 42,
            "profile_id": PROFILE,
            "ad_account_id": self.account,
            "audience_id": self.audience,
            "operation": Operation.ADD,
            "layout": Layout.NARRATIVE_DATASET,
            "file_name": path.name,
            "store": "local",
            "key": path.name,
            "etag": info.etag,
            "range": ByteRange(start=0, end=info.size),
            "first_record": 1,
            "first_line": 1,
            **changes,
        }
        return ChunkReady.model_validate(fields)

    async def handle(self, chunk: ChunkReady) -> None:
        """Handles the chunk as a record of the topic."""
        await self.deliverer.handle(record_of(chunk))

    def connected(self, **changes: object) -> None:
        """Auth says that the profile is connected again, now."""
        fields = {"profile_id": PROFILE, "company_id": 42, "status": "connected", "sequence": 2, **changes}
        event = ProfileChanged.model_validate({"changed_at": datetime.now(UTC), **fields})
        record = encode(
            PROFILE_CHANGED, event, key="p", identity=(1,), source="/fbc/auth", subject="p", now=event.changed_at
        )
        self.news.handle(Record("fbc.profiles.v1", 0, 1, 0, record.key, record.value, record.headers))

    def contains(self, schema_and_data: dict[str, object]) -> int:
        """How many of these people are members."""
        return int(self.emulator.tell("POST", f"/audiences/{self.audience}/contains", schema_and_data)["members"])

    def count(self) -> int:
        """Members of the audience."""
        return int(self.emulator.tell("GET", f"/audiences/{self.audience}/count")["count"])

    def calls(self) -> list[dict[str, Any]]:
        """The emulator's log of calls that changed the audience's members."""
        calls = self.emulator.tell("GET", "/calls")
        return [call for call in calls if f"/{self.audience}/users" in call["path"]]

    def fail(self, **answer: object) -> None:
        """Scripts the next call for the audience's members to be answered so."""
        self.emulator.fail(answer, path="/users", audience=self.audience)


def record_of(chunk: ChunkReady, value: bytes | None = None) -> Record:
    """The record of a chunk as ingest writes it."""
    event = encode(
        CHUNK_READY,
        chunk,
        key=chunk.ad_account_id,
        identity=(chunk.chunk_id,),
        source="/fbc/ingest",
        subject=chunk.chunk_id,
        now=NOW,
        traceparent="00-" + "a" * 32 + "-" + "b" * 16 + "-01",
    )
    return Record("fbc.chunks.v1", 3, 17, 1_700_000_000_000, event.key, value or event.value, event.headers)


def app_credentials(emulator: Emulator) -> Credentials:
    """The emulator's own token with its proof."""
    token, secret = str(emulator.seed["token"]), str(emulator.seed["app_secret"])
    return Credentials(token, hmac.new(secret.encode(), token.encode(), hashlib.sha256).hexdigest())


async def new_audience(graph: Graph, emulator: Emulator, account: str) -> str:
    """The id of a new audience of *account*."""
    answer = await graph.send(
        creating(account, f"Audience {random.getrandbits(40)}", "", "USER_PROVIDED_ONLY"), app_credentials(emulator)
    )
    assert isinstance(answer, Success), answer
    return str(answer.document["id"])


@asynccontextmanager
async def put_together(
    emulator: Emulator,
    folder: Path,
    *,
    bad: Sequence[str] = (),
    concurrency: int = 4,
    total_timeout: float = 5.0,
    retry: RetrySettings | None = None,
) -> AsyncIterator[Bench]:
    """As `services.uploader.app`, with an outbox instead of Kafka and a desk instead of auth."""
    key = Ed25519PrivateKey.generate()
    desk, outbox, telemetry, stop, governor = (
        Desk(emulator.seed, key),
        Outbox(),
        Telemetry(),
        asyncio.Event(),
        Governor(),
    )
    settings = GraphSettings(url=emulator.graph, total_timeout=total_timeout, connect_timeout=2)
    bounds = UploadSettings(concurrency=concurrency)
    async with AsyncExitStack() as stack:
        workers = stack.enter_context(ThreadPoolExecutor(bounds.workers))
        stores = await stack.enter_async_context(open_stores({"local": FolderStore(root=folder)}))
        graph = Picky(await stack.enter_async_context(GraphClient(settings)), bad)
        url = await stack.enter_async_context(served(desk))
        timeout = aiohttp.ClientTimeout(total=5)
        session = await stack.enter_async_context(aiohttp.ClientSession(timeout=timeout))
        account = str(emulator.account(name="Uploads", terms=True))
        audience = await new_audience(graph, emulator, account)
        graph.calls = 0
        graph.called.clear()
        producer = PatientProducer(outbox, telemetry, lambda: 0.0)
        line = Line(Fuse(FuseSettings(row=3).bounds()), telemetry)
        settler = Settler(producer, DeadLetters(producer, "fbc.", line), line, "fbc.", telemetry)
        doors = Doors(Breakers(), telemetry, stop)
        leases = Leases(session, url, ServiceSigner("uploader", key), telemetry)
        reader = await stack.enter_async_context(
            ChunkReader(stores, workers, telemetry, ReadingSettings(), removal_rows=bounds.removal_rows)
        )
        deliverer = Deliverer(
            leases=leases,
            doors=doors,
            reader=reader,
            uploads=Uploads(
                Calls(
                    graph=graph,
                    governor=governor,
                    telemetry=telemetry,
                    version=settings.version,
                    chance=lambda: 0.0,
                )
            ),
            governor=governor,
            settler=settler,
            delays=Delays(producer, "fbc.", telemetry),
            telemetry=telemetry,
            bounds=bounds,
            retry=retry or RetrySettings(short=(0.01, 0.02), attempts=3, seconds=0),
            stop=stop,
            chance=lambda: 0.0,
        )
        yield Bench(
            deliverer=deliverer,
            news=ProfileNews(doors, leases),
            desk=desk,
            outbox=outbox,
            graph=graph,
            emulator=emulator,
            telemetry=telemetry,
            stop=stop,
            settler=settler,
            line=line,
            stores=stores,
            folder=folder,
            account=account,
            audience=audience,
        )
