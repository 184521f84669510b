"""The borrowed parts, each for real: started, hurt, brought back."""

import asyncio
import os
import signal
import subprocess
import sys
from pathlib import Path

import aiohttp
import psycopg
import pytest
from aiokafka import AIOKafkaConsumer, AIOKafkaProducer
from aiokafka.admin import AIOKafkaAdminClient, NewTopic
from aiokafka.errors import KafkaConnectionError

from embedded.errors import JarsUnavailable, PartFailed
from embedded.identity import Identity, birth
from embedded.kafka import KafkaCluster
from embedded.objects import BUCKET, Moto
from embedded.part import Part, launch
from embedded.ports import free_ports
from embedded.postgres import Postgres
from embedded.process import Command, spawn

TOPIC = "survivors"


async def write_and_count(bootstrap: str, value: bytes, patience_ms: int = 10_000) -> int:
    """Add one record, then count all there are."""
    producer = AIOKafkaProducer(bootstrap_servers=bootstrap, acks="all", request_timeout_ms=patience_ms)
    try:
        await producer.start()
        last = await producer.send_and_wait(TOPIC, value, partition=0)
    finally:
        await producer.stop()
    return int(last.offset) + 1


async def create_topic(bootstrap: str, replicas: int) -> None:
    """Make the topic the tests write to."""
    admin = AIOKafkaAdminClient(bootstrap_servers=bootstrap)
    await admin.start()
    try:
        await admin.create_topics([NewTopic(TOPIC, num_partitions=1, replication_factor=replicas)])
    finally:
        await admin.close()


class TestKafka:
    async def test_records_and_address_survive_a_crash_of_the_broker(self, tmp_path: Path) -> None:
        """After SIGKILL the broker is back at the same port with everything it acknowledged."""
        async with KafkaCluster(folder=tmp_path) as kafka:
            await create_topic(kafka.bootstrap, replicas=1)
            assert await write_and_count(kafka.bootstrap, b"before") == 1
            first = kafka.pid()
            await kafka.kill()
            await kafka.start()
            assert kafka.pid() != first
            assert await write_and_count(kafka.bootstrap, b"after") == 2

    async def test_a_second_cluster_in_the_folder_finds_the_data_of_the_first(self, tmp_path: Path) -> None:
        """Data outlive the process and its ports: `down` and `up` lose nothing."""
        async with KafkaCluster(folder=tmp_path) as kafka:
            await create_topic(kafka.bootstrap, replicas=1)
            await write_and_count(kafka.bootstrap, b"kept")
        async with KafkaCluster(folder=tmp_path) as again:
            consumer = AIOKafkaConsumer(TOPIC, bootstrap_servers=again.bootstrap, auto_offset_reset="earliest")
            await consumer.start()
            try:
                record = await asyncio.wait_for(consumer.getone(), 10)
            finally:
                await consumer.stop()
        assert b"kept" == record.value

    async def test_three_nodes_serve_while_one_is_dead(self, tmp_path: Path) -> None:
        """Two of three replicas acknowledge; the third comes back to the same cluster."""
        async with KafkaCluster(folder=tmp_path, nodes=3) as kafka:
            await create_topic(kafka.bootstrap, replicas=3)
            await kafka.kill(2)
            assert await write_and_count(kafka.bootstrap, b"without node 2") == 1
            await kafka.start(2)
            assert await write_and_count(kafka.bootstrap, b"with it") == 2

    async def test_a_frozen_broker_is_silent_and_goes_on_where_it_was(self, tmp_path: Path) -> None:
        """SIGSTOP keeps the port open and answers nothing; SIGCONT is no restart."""
        async with KafkaCluster(folder=tmp_path) as kafka:
            await create_topic(kafka.bootstrap, replicas=1)
            pid = kafka.pid()
            kafka.pause()
            # By its own time-out: cancelled, aiokafka leaves the connection it was opening to the garbage collector.
            with pytest.raises(KafkaConnectionError):
                await write_and_count(kafka.bootstrap, b"unheard", patience_ms=1_000)
            kafka.resume()
            assert await asyncio.wait_for(write_and_count(kafka.bootstrap, b"heard"), 10) >= 1
            assert pid == kafka.pid()

    async def test_it_is_gone_after_the_block(self, tmp_path: Path) -> None:
        """No broker is left behind, also when the block ends with an error."""
        kafka = KafkaCluster(folder=tmp_path)
        with pytest.raises(RuntimeError):
            await _fail_inside(kafka)
        assert birth(kafka.pid()) is None

    def test_without_network_and_cache_the_error_says_what_to_do(self, tmp_path: Path) -> None:
        """A first start that cannot fetch anything ends quickly, with words a person can use."""
        (closed,) = free_ports(1)
        environment = {
            **os.environ,
            "HOME": str(tmp_path),
            "HTTPS_PROXY": f"http://127.0.0.1:{closed}",
            "https_proxy": f"http://127.0.0.1:{closed}",
        }
        code = (
            "from pathlib import Path\n"
            "from embedded.jars import recorded, resolve_with_jgo\n"
            "resolve_with_jgo(recorded().coordinates, Path.home() / 'jgo', pause=0)"
        )
        ended = subprocess.run(
            [sys.executable, "-c", code], env=environment, capture_output=True, text=True, timeout=60, check=False
        )
        assert JarsUnavailable.__name__ in ended.stderr
        assert "Later starts need no network" in ended.stderr


class TestPostgres:
    async def test_rows_and_address_survive_a_crash_of_the_server(self, tmp_path: Path) -> None:
        """After SIGKILL the same URL reaches the same rows."""
        async with Postgres(tmp_path) as postgres:
            async with await psycopg.AsyncConnection.connect(postgres.dsn) as connection:
                await connection.execute("create table kept as select 1 as one")
            await postgres.kill()
            await postgres.start()
            async with await psycopg.AsyncConnection.connect(postgres.dsn) as connection:
                found = await (await connection.execute("select one from kept")).fetchall()
        assert [(1,)] == found

    async def test_a_wrong_password_is_refused(self, tmp_path: Path) -> None:
        """Loopback is no reason to trust: every connection authenticates with SCRAM."""
        async with Postgres(tmp_path) as postgres:
            stranger = postgres.dsn.replace("://postgres:", "://postgres:not-", 1)
            with pytest.raises(psycopg.OperationalError, match="password authentication failed"):
                await psycopg.AsyncConnection.connect(stranger)

    async def test_it_never_runs_as_root(self, tmp_path: Path) -> None:
        """Whoever starts it, the server has no power over the machine."""
        async with Postgres(tmp_path) as postgres:
            assert _owner(postgres.pid) != 0

    async def test_damaged_data_are_named_with_the_end_of_the_log(self, tmp_path: Path) -> None:
        """The failure carries the part, its own words and what to do; nothing is left running."""
        async with Postgres(tmp_path) as postgres:
            data = _working_folder(postgres.pid)
            await postgres.kill()
            (data / "PG_VERSION").write_text("9.6\n")
            with pytest.raises(PartFailed) as caught:
                await postgres.start()
        assert "postgres" == caught.value.part
        assert any("initialized by PostgreSQL version 9.6" in line for line in caught.value.tail)
        assert "fbc dev down --wipe" in str(caught.value)


class TestMoto:
    async def test_an_object_comes_back_as_it_was_put(self, tmp_path: Path) -> None:
        """The bucket exists as soon as the part is ready."""
        async with Moto(tmp_path) as moto, aiohttp.ClientSession() as session:
            signed = {"Authorization": "AWS4-HMAC-SHA256 Credential=test/20260101/eu-west-1/s3/aws4_request"}
            async with session.put(f"{moto.url}/{BUCKET}/people.ndjson", data=b"{}\n", headers=signed) as put:
                assert put.status == 200
            async with session.get(f"{moto.url}/{BUCKET}/people.ndjson", headers=signed) as got:
                assert await got.read() == b"{}\n"


class TestChild:
    async def test_a_program_that_ignores_the_request_is_killed_after_its_grace(self, tmp_path: Path) -> None:
        """Stopping is bounded, whatever the program does."""
        script = (
            "import signal; signal.signal(signal.SIGTERM, signal.SIG_IGN); print('ready', flush=True); signal.pause()"
        )
        child = await spawn(Command((sys.executable, "-c", script), grace=0.1), tmp_path / "log")
        await _says(child.log, "ready")
        assert -signal.SIGKILL == await child.stop()

    async def test_a_frozen_program_is_stopped_politely(self, tmp_path: Path) -> None:
        """A paused process is woken to hear the request."""
        child = await spawn(Command(("sleep", "60")), tmp_path / "log")
        child.pause()
        assert -signal.SIGTERM == await child.stop()

    async def test_an_early_end_is_reported_with_its_code_and_words(self, tmp_path: Path) -> None:
        """A part that dies instead of becoming ready is not waited for."""
        script = "import sys; print('the disk is full'); sys.exit(7)"
        part = Part("doomed", lambda: Command((sys.executable, "-c", script)), probe=_never)
        with pytest.raises(PartFailed, match="ended with code 7") as caught:
            await launch(part, tmp_path / "doomed.log")
        assert ["the disk is full"] == caught.value.tail

    async def test_a_part_that_never_serves_is_given_up_and_ended(self, tmp_path: Path) -> None:
        """The bound on becoming ready holds, and the process does not outlive the failure."""
        seen: list[Identity] = []
        part = Part("slow", lambda: Command(("sleep", "60")), probe=_never, ready_within=0.2)
        with pytest.raises(PartFailed, match=r"not ready within 0\.2 s"):
            await launch(part, tmp_path / "slow.log", lambda child: seen.append(child.identity))
        assert not seen[0].alive()

    @pytest.mark.skipif(sys.platform != "linux", reason="the kernel's parent-death signal is Linux's")
    async def test_children_end_with_a_killed_parent(self, tmp_path: Path) -> None:
        """SIGKILL to whoever started it takes the child along."""
        script = (
            "import asyncio, sys\n"
            "from pathlib import Path\n"
            "from embedded.process import Command, spawn\n"
            "async def main():\n"
            "    child = await spawn(Command(('sleep', '60')), Path(sys.argv[1]) / 'sleep.log')\n"
            "    print(child.identity.model_dump_json(), flush=True)\n"
            "    await asyncio.sleep(60)\n"
            "asyncio.run(main())\n"
        )
        parent = await asyncio.create_subprocess_exec(
            sys.executable, "-c", script, str(tmp_path), stdout=asyncio.subprocess.PIPE
        )
        assert parent.stdout is not None
        child = Identity.model_validate_json(await asyncio.wait_for(parent.stdout.readline(), 10))
        await _becomes("sleep", child.pid)
        parent.kill()
        await parent.wait()
        await asyncio.wait_for(_gone(child), 5)


async def _never() -> bool:
    return False


async def _fail_inside(kafka: KafkaCluster) -> None:
    async with kafka:
        raise RuntimeError("the test failed")


def _owner(pid: int) -> int:
    return Path(f"/proc/{pid}").stat().st_uid


def _working_folder(pid: int) -> Path:
    return Path(f"/proc/{pid}/cwd").resolve()


def _text(path: Path) -> str:
    return path.read_text().strip()


async def _says(log: Path, word: str) -> None:
    async with asyncio.timeout(10):
        while word not in _text(log):  # noqa: ASYNC110 - another process writes it
            await asyncio.sleep(0.01)


async def _becomes(program: str, pid: int) -> None:
    """Wait until the tether has become the program."""
    async with asyncio.timeout(10):
        while _text(Path(f"/proc/{pid}/comm")) != program:  # noqa: ASYNC110 - another process does it
            await asyncio.sleep(0.01)


async def _gone(identity: Identity) -> None:
    while identity.alive():  # noqa: ASYNC110 - another process ends
        await asyncio.sleep(0.01)
