"""The uploader as a process on a real broker: started, fed, killed and asked from outside."""

import asyncio
import json
import os
import secrets
import sys
from collections.abc import AsyncIterator, Callable, Sequence
from contextlib import asynccontextmanager, suppress
from dataclasses import dataclass
from pathlib import Path

import aiohttp
from aiokafka import AIOKafkaConsumer

from connector.graph.client import GraphClient
from connector.kafka.admin import ensure
from connector.kafka.events import encode
from connector.kafka.producer import EventProducer
from connector.kafka.topics import CHUNK_RETRIES, CHUNKS, CHUNKS_DLQ, OUTCOMES, PROFILES, Topic
from connector.objects.config import FolderStore, StoreConfigs
from connector.objects.stores import Stores, open_stores
from connector.runtime.settings import GraphSettings, KafkaSettings
from embedded.ports import free_ports
from schemas.events import ByteRange, ChunkReady, ChunkSettled, Layout, Operation
from schemas.registry import CHUNK_READY
from tests.integration.auth_parts import Emulator, write_identities
from tests.integration.uploader_parts import NOW, PROFILE, Desk, new_audience, served
from tests.records import line

PATIENCE = 40.0
"""Seconds anything may take to happen here."""


@dataclass
class Uploader:
    """A running uploader."""

    process: asyncio.subprocess.Process
    url: str
    log: Path

    async def ready(self) -> None:
        """Returns when partitions are assigned."""
        async with aiohttp.ClientSession() as session, asyncio.timeout(PATIENCE):
            while self.process.returncode is None:
                with suppress(aiohttp.ClientError):
                    async with session.get(f"{self.url}/health/ready") as answer:
                        if answer.status == 200:
                            return
                await asyncio.sleep(0.05)
        raise AssertionError(f"the uploader ended with {self.process.returncode}:\n{self.log.read_text()[-4000:]}")

    async def stopped(self) -> int:
        """Asks for a clean stop; the exit code."""
        self.process.terminate()
        async with asyncio.timeout(PATIENCE):
            return await self.process.wait()

    async def killed(self) -> None:
        """Kills it, as a machine that fails does."""
        self.process.kill()
        await self.process.wait()


@dataclass
class Line:
    """A broker with topics of its own, an emulator, a desk and a folder: all an uploader needs."""

    kafka: KafkaSettings
    producer: EventProducer
    stores: Stores
    graph: GraphClient
    emulator: Emulator
    folder: Path
    environment: dict[str, str]
    chunks: int = 0

    @asynccontextmanager
    async def uploader(self, **more: str) -> AsyncIterator[Uploader]:
        """An uploader that is ready when the block begins, and gone when it ends."""
        port, log = free_ports(1)[0], self.folder / f"uploader-{secrets.token_hex(3)}.log"
        environment = {**os.environ, **self.environment, "FBC_HTTP__PORT": str(port), **more}
        with log.open("ab") as errors:
            process = await asyncio.create_subprocess_exec(
                sys.executable, "-m", "services.uploader", env=environment, stderr=errors
            )
        running = Uploader(process, f"http://127.0.0.1:{port}", log)
        try:
            await running.ready()
            yield running
        finally:
            if process.returncode is None:
                await running.killed()

    async def audience(self) -> tuple[str, str]:
        """A new ad account and a new audience of it."""
        account = str(self.emulator.account(name="Line"))
        return account, await new_audience(self.graph, self.emulator, account)

    async def publish(self, account: str, audience: str, who: str, numbers: Sequence[range]) -> list[ChunkReady]:
        """A file per range of people, each a chunk."""
        chunks = [await self._chunk(account, audience, [line(who, number) for number in one]) for one in numbers]
        for chunk in chunks:
            event = encode(
                CHUNK_READY,
                chunk,
                key=account,
                identity=(chunk.chunk_id,),
                source="/fbc/ingest",
                subject=chunk.chunk_id,
                now=NOW,
            )
            await self.producer.publish(CHUNKS, event)
        return chunks

    async def _chunk(self, account: str, audience: str, lines: list[str]) -> ChunkReady:
        self.chunks += 1
        path = self.folder / f"part-{self.chunks}.ndjson"
        path.write_text("".join(f"{one}\n" for one in lines))
        info = await self.stores.get("local").head(path.name)
        return ChunkReady(
            revision=7,
            file_index=0,
            chunk_index=self.chunks,
            company_id=42,
            profile_id=PROFILE,
            ad_account_id=account,
            audience_id=audience,
            operation=Operation.ADD,
            layout=Layout.NARRATIVE_DATASET,
            file_name=path.name,
            store="local",
            key=path.name,
            etag=info.etag,
            range=ByteRange(start=0, end=info.size),
            first_record=1,
            first_line=1,
            records=len(lines),
        )

    async def read(self, topic: Topic, enough: Callable[[list[bytes]], bool]) -> list[bytes]:
        """The values on *topic* from its beginning, when there are enough."""
        consumer = AIOKafkaConsumer(
            topic.full_name(self.kafka.topic_prefix),
            bootstrap_servers=self.kafka.bootstrap,
            auto_offset_reset="earliest",
        )
        values: list[bytes] = []
        await consumer.start()
        try:
            async with asyncio.timeout(PATIENCE):
                while not enough(values):
                    values.append((await consumer.getone()).value or b"")
        finally:
            await consumer.stop()
        return values

    async def outcomes(self, chunks: Sequence[ChunkReady]) -> list[ChunkSettled]:
        """All outcomes, when every chunk has one."""
        wanted = {chunk.chunk_id for chunk in chunks}

        def enough(values: list[bytes]) -> bool:
            return wanted <= {ChunkSettled.model_validate_json(value).chunk_id for value in values}

        return [ChunkSettled.model_validate_json(value) for value in await self.read(OUTCOMES, enough)]

    async def letters(self, count: int) -> list[bytes]:
        """The values of the first *count* dead letters."""
        return await self.read(CHUNKS_DLQ, lambda values: len(values) >= count)

    def members(self, audience: str) -> int:
        """People in the audience."""
        return int(self.emulator.tell("GET", f"/audiences/{audience}/count")["count"])

    def contained(self, audience: str, people: dict[str, object]) -> int:
        """How many of *people* are in the audience."""
        return int(self.emulator.tell("POST", f"/audiences/{audience}/contains", people)["members"])

    async def has_uploaded(self, audience: str, calls: int) -> None:
        """Returns when so many calls were made: the emulator is another process, so it is asked until then."""
        async with asyncio.timeout(PATIENCE):
            while True:
                if self.uploads(audience) >= calls:
                    return
                await asyncio.sleep(0.02)

    def uploads(self, audience: str) -> int:
        """Calls made for the audience's members."""
        return sum(1 for call in self.emulator.tell("GET", "/calls") if call["path"].endswith(f"/{audience}/users"))


@asynccontextmanager
async def upload_line(bootstrap: str, emulator: Emulator, folder: Path) -> AsyncIterator[Line]:
    """Everything around an uploader, with topics nobody else uses."""
    kafka = KafkaSettings(bootstrap=bootstrap, replication=1, topic_prefix=f"t{secrets.token_hex(4)}.")
    await ensure(kafka, [CHUNKS, *CHUNK_RETRIES, CHUNKS_DLQ, OUTCOMES, PROFILES])
    keys = write_identities(folder)
    desk = Desk(emulator.seed, keys["uploader"])
    stores: StoreConfigs = {"local": FolderStore(root=folder)}
    graph = GraphClient(GraphSettings(url=emulator.graph))
    async with (
        served(desk) as url,
        EventProducer(kafka, "test") as producer,
        open_stores(stores) as opened,
        graph as client,
    ):
        environment = {
            "FBC_STAGE": "test",
            "FBC_KAFKA__BOOTSTRAP": bootstrap,
            "FBC_KAFKA__TOPIC_PREFIX": kafka.topic_prefix,
            "FBC_KAFKA__REPLICATION": "1",
            "FBC_KAFKA__SESSION_TIMEOUT": "6",
            "FBC_KAFKA__DRAIN_DEADLINE": "5",
            "FBC_AUTH__URL": url,
            "FBC_GRAPH__URL": emulator.graph,
            "FBC_STORES": json.dumps({"local": {"kind": "folder", "root": str(folder)}}),
            "FBC_IDENTITY__SERVICE": "uploader",
            "FBC_IDENTITY__KEY_FILE": str(folder / "uploader.pem"),
            "FBC_IDENTITY__TRUSTED_FILE": str(folder / "trusted.json"),
            "FBC_UPLOAD__CONCURRENCY": "4",
            "FBC_RETRY__SHORT": "[0.05, 0.05]",
        }
        yield Line(kafka, producer, opened, client, emulator, folder, environment)
