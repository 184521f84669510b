"""The uploader as a process on a real Kafka: what arrives, what survives a kill, what a clean stop costs."""

from collections.abc import AsyncIterator
from pathlib import Path

import aiohttp
import pytest

from connector.kafka.topics import CHUNK_RETRIES, CHUNKS
from tests.integration.auth_parts import Emulator
from tests.integration.uploader_process import Line, upload_line
from tests.records import emails

pytest_plugins = ("tests.integration.uploader_fixtures",)


@pytest.fixture
async def on_line(kafka_bootstrap: str, graph_emulator: Emulator, tmp_path: Path) -> AsyncIterator[Line]:
    """Everything around an uploader."""
    async with upload_line(kafka_bootstrap, graph_emulator, tmp_path) as found:
        yield found


def parts(count: int, size: int) -> list[range]:
    """*count* ranges of *size* people."""
    return [range(size * number, size * (number + 1)) for number in range(count)]


class TestUploader:
    async def test_two_audiences_get_their_own_people(self, on_line: Line) -> None:
        """Interleaved chunks of two customers: everybody arrives, nobody is where they do not belong."""
        (one, first), (two, second) = await on_line.audience(), await on_line.audience()
        async with on_line.uploader() as uploader:
            chunks = await on_line.publish(one, first, "first", parts(5, 40))
            chunks += await on_line.publish(two, second, "second", parts(5, 40))
            outcomes = await on_line.outcomes(chunks)
            code = await uploader.stopped()

        assert (200, 200) == (on_line.members(first), on_line.members(second))
        assert 200 == on_line.contained(first, emails("first", range(200)))
        assert 200 == on_line.contained(second, emails("second", range(200)))
        assert 400 == sum(outcome.counts.accepted for outcome in outcomes)
        assert 0 == code

    async def test_a_clean_stop_repeats_nothing(self, on_line: Line) -> None:
        """Stopped in the middle and started again: each chunk is sent exactly once."""
        account, audience = await on_line.audience()
        on_line.emulator.tell("PUT", "/limits", {"latency_ms": 50})
        try:
            chunks = await on_line.publish(account, audience, "stop", parts(60, 10))
            async with on_line.uploader() as uploader:
                await on_line.has_uploaded(audience, 10)
                assert 0 == await uploader.stopped()
            before = on_line.uploads(audience)
            async with on_line.uploader():
                outcomes = await on_line.outcomes(chunks)
        finally:
            on_line.emulator.tell("PUT", "/limits", {"latency_ms": 0})

        assert 10 <= before < 60
        assert (60, 60, 600) == (on_line.uploads(audience), len(outcomes), on_line.members(audience))

    async def test_a_kill_loses_nobody_and_adds_nobody(self, on_line: Line) -> None:
        """Killed between calls and commit: every person arrives; what is sent twice changes nothing."""
        account, audience = await on_line.audience()
        on_line.emulator.tell("PUT", "/limits", {"latency_ms": 50})
        try:
            chunks = await on_line.publish(account, audience, "kill", parts(60, 10))
            async with on_line.uploader() as uploader:
                await on_line.has_uploaded(audience, 20)
                await uploader.killed()
            before = on_line.uploads(audience)
            async with on_line.uploader():
                outcomes = await on_line.outcomes(chunks)
        finally:
            on_line.emulator.tell("PUT", "/limits", {"latency_ms": 0})

        settled = {outcome.chunk_id: outcome.counts.accepted for outcome in outcomes}
        assert before < 60
        assert (60, 600) == (len(settled), sum(settled.values()))
        assert 600 == on_line.contained(audience, emails("kill", range(600))) == on_line.members(audience)

    async def test_poison_is_put_aside_and_the_line_goes_on(self, on_line: Line) -> None:
        """Its original bytes are in the dead letters; chunks before and after it arrive."""
        account, audience = await on_line.audience()
        poison = b"\xff\x00not an event"
        topic = CHUNKS.full_name(on_line.kafka.topic_prefix)
        async with on_line.uploader() as uploader:
            chunks = await on_line.publish(account, audience, "poison", parts(1, 5))
            await on_line.producer.send(topic, account.encode(), poison, ())
            chunks += await on_line.publish(account, audience, "poison", [range(5, 10)])
            await on_line.outcomes(chunks)
            letters = await on_line.letters(1)

            assert "record.poison" in uploader.log.read_text()

        assert ([poison], 10) == (letters, on_line.members(audience))

    async def test_metrics_and_liveness_are_served(self, on_line: Line) -> None:
        """Counts of records are where operators look, and being alive asks nobody else."""
        account, audience = await on_line.audience()
        async with on_line.uploader() as uploader, aiohttp.ClientSession() as session:
            await on_line.outcomes(await on_line.publish(account, audience, "metrics", parts(2, 5)))

            async with session.get(f"{uploader.url}/metrics") as answer:
                metrics = await answer.text()
            async with session.get(f"{uploader.url}/health/live") as answer:
                live = answer.status

        assert "fbc_uploader_records_accepted_total 10.0" in metrics
        assert 200 == live


class TestDelays:
    async def test_what_fails_comes_back_from_a_tier_and_arrives(self, on_line: Line) -> None:
        """Five broken answers: once more in memory, then through the tiers, by real topics; everybody arrives once."""
        account, audience = await on_line.audience()
        for _ in range(5):
            on_line.emulator.fail({"code": 2, "transient": True}, path="/users", audience=audience)
        settings = {"FBC_RETRY__SHORT": "[0.05]", "FBC_RETRY__DELAYS": "[0.2, 0.3, 0.4, 0.5]"}

        async with on_line.uploader(**settings) as uploader:
            chunks = await on_line.publish(account, audience, "late", parts(1, 40))
            (outcome,) = await on_line.outcomes(chunks)
            assert 0 == await uploader.stopped()

        assert (40, 6, 40) == (outcome.counts.accepted, outcome.attempts, on_line.members(audience))
        tiers = [len(await on_line.read(topic, lambda values: len(values) >= 1)) for topic in CHUNK_RETRIES]
        assert [1, 1, 1, 1] == tiers

    async def test_a_stop_while_it_waits_loses_nothing(self, on_line: Line) -> None:
        """Killed and stopped while a chunk waits in a tier: the next process reads it when it is due."""
        account, audience = await on_line.audience()
        on_line.emulator.fail({"code": 2, "transient": True}, path="/users", audience=audience)
        settings = {"FBC_RETRY__SHORT": "[]", "FBC_RETRY__DELAYS": "[3, 3, 3, 3]"}
        async with on_line.uploader(**settings) as uploader:
            chunks = await on_line.publish(account, audience, "waits", parts(1, 40))
            await on_line.read(CHUNK_RETRIES[0], lambda values: len(values) >= 1)
            assert 0 == await uploader.stopped()

        async with on_line.uploader(**settings):
            (outcome,) = await on_line.outcomes(chunks)

        assert (40, 2) == (outcome.counts.accepted, outcome.attempts)
