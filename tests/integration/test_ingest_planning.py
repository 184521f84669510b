"""Planning: a file becomes chunks that cover it exactly, whatever happens in between; what is wrong is said."""

from collections.abc import AsyncGenerator, Sequence
from contextlib import aclosing
from itertools import pairwise
from pathlib import Path
from uuid import uuid4

import pytest
from typing_extensions import override

from connector.kafka.events import Encoded
from connector.kafka.producer import EventProducer, ProduceError
from connector.kafka.topics import DELIVERIES, Topic
from connector.objects.errors import StoreUnavailable
from connector.objects.store import BLOCK_BYTES, ObjectInfo, ObjectStore
from connector.objects.stores import Stores
from schemas.events import ByteRange, ChunkReady, DeliveryState, FileRef, RowRange
from services.ingest.clock import utc_now
from services.ingest.holding import Stopped
from services.ingest.patience import Patience, TryLater
from services.ingest.publication import delivery_record
from services.ingest.states import file_reason, file_state
from tests.integration.ingest_parts import Rig

pytest_plugins = ("tests.integration.ingest_fixtures",)


class Crash(BaseException):
    """kill -9, as far as a process can do it to itself: nothing catches it, nothing is tidied up in the ledger."""


class Fuse:
    """Burns at the *n*-th of the moments it is asked about; never when *n* is 0."""

    def __init__(self, n: int = 0) -> None:
        self.left = n
        self.passed = 0

    def moment(self) -> None:
        """A point at which a process may die."""
        self.passed += 1
        if self.passed == self.left:
            raise Crash


class MortalProducer(EventProducer):
    """The real producer; the process may die before a batch is written, or after it was acknowledged."""

    def __init__(self, rig: Rig, fuse: Fuse, *, after: bool) -> None:
        super().__init__(rig.kafka, "mortal")
        self._fuse = fuse
        self._after = after

    @override
    async def publish_all(self, topic: Topic, events: Sequence[Encoded]) -> None:
        """Writes a batch, or dies."""
        if not self._after:
            self._fuse.moment()
        await super().publish_all(topic, events)
        if self._after:
            self._fuse.moment()


class MortalStore:
    """The real store; the process may die, or the store go away, before any block of a file is read."""

    def __init__(self, inner: ObjectStore, fuse: Fuse, *, error: type[BaseException] = Crash) -> None:
        self._inner = inner
        self._fuse = fuse
        self._error = error

    async def head(self, key: str) -> ObjectInfo:
        """As the inner store."""
        return await self._inner.head(key)

    async def read(
        self, key: str, *, start: int = 0, end: int | None = None, etag: str | None = None
    ) -> AsyncGenerator[bytes, None]:
        """As the inner store, until the fuse burns."""
        async with aclosing(self._inner.read(key, start=start, end=end, etag=etag)) as blocks:
            async for block in blocks:
                try:
                    self._fuse.moment()
                except Crash:
                    raise self._error from None
                yield block

    async def read_range(self, key: str, start: int, end: int, etag: str) -> bytes:
        """As the inner store."""
        return await self._inner.read_range(key, start, end, etag)

    async def put_file(self, key: str, path: Path) -> ObjectInfo:
        """As the inner store."""
        return await self._inner.put_file(key, path)


def ranges(chunks: list[tuple[str, ChunkReady]]) -> list[ByteRange | RowRange]:
    """The ranges of a file's chunks in their order."""
    return [ready.range for _, ready in sorted(chunks, key=lambda pair: pair[1].chunk_index)]


class TestChunks:
    async def test_a_file_of_25000_lines_becomes_three_chunks_that_cover_it(self, rig: Rig) -> None:
        """10,000 + 10,000 + 5,000 records, end to start without a gap, keyed by the ad account."""
        file = rig.write(25_000)
        delivery = await rig.planned(rig.event(file))

        chunks = await rig.chunks(delivery.revision)

        assert DeliveryState.UPLOADING == delivery.state
        assert [10_000, 10_000, 5_000] == [ready.records for _, ready in chunks]
        assert [(1, 1), (10_001, 10_001), (20_001, 20_001)] == [(c.first_record, c.first_line) for _, c in chunks]
        covered = ranges(chunks)
        assert 0 == covered[0].start
        assert all(before.end == after.start for before, after in pairwise(covered))
        assert (rig.folder / file.key).stat().st_size == covered[-1].end
        assert 3 == len({ce_id for ce_id, _ in chunks})

    async def test_chunks_go_where_auth_said(self, rig: Rig) -> None:
        """Account and audience come from auth and from nowhere else."""
        event = rig.event(rig.write(3))
        delivery = await rig.planned(event)

        ((_, ready),) = await rig.chunks(event.revision)

        assert delivery.destination is not None
        assert f"act_{event.profile_id.int % 10**9}" == ready.ad_account_id == delivery.destination.ad_account_id
        assert str(event.profile_id.int % 10**15) == ready.audience_id == delivery.destination.audience_id
        (asked,) = rig.auth.asked
        assert (event.profile_id, 1, event.origin) == (asked.profile_id, asked.company_id, asked.origin)

    async def test_planning_again_sends_nothing_again(self, rig: Rig) -> None:
        """A delivery that is read twice from its topic is planned once."""
        delivery = await rig.planned(rig.event(rig.write(12_000)))
        await rig.planner().plan(delivery.revision)
        assert 2 == len(await rig.chunks(delivery.revision))

    async def test_a_long_line_is_refused_by_number_and_the_rest_is_planned(self, rig: Rig) -> None:
        """32 MB without a line end cost bounded memory and one record."""
        file = rig.write(2)
        with (rig.folder / file.key).open("ab") as out:
            for _ in range(32):
                out.write(b"x" * 1_000_000)
            out.write(b"\n{}\n")
        delivery = await rig.planned(rig.event(file))

        (facts,) = await rig.facts(delivery.revision)
        assert (4, 1) == (facts.totals.records, facts.totals.rejected)
        assert [(1, 2), (4, 1)] == [(c.first_record, c.records) for _, c in await rig.chunks(delivery.revision)]

    async def test_a_file_that_is_one_long_line_fails_as_one_without_a_valid_record(self, rig: Rig) -> None:
        """There is nothing to upload, so the delivery ends at once, with the reason its owner needs."""
        key = f"{uuid4()}.ndjson"
        with (rig.folder / key).open("wb") as out:
            for _ in range(32):
                out.write(b"x" * 1_000_000)
        delivery = await rig.planned(rig.event(FileRef(name="huge", store="local", key=key)))

        assert DeliveryState.FAILED == delivery.state
        assert delivery.reason is not None
        assert "no_valid_record" == delivery.reason.code
        assert [] == await rig.chunks(delivery.revision)


class TestRefusedFiles:
    @pytest.mark.parametrize(
        ("change", "code"),
        [
            ({"store": "nowhere"}, "unknown_store"),
            ({"key": "not/there"}, "object_missing"),
            ({"key": "../etc/passwd"}, "invalid_key"),
            ({"bytes": 1}, "object_changed"),
            ({"etag": "another"}, "object_changed"),
        ],
    )
    async def test_the_file_is_named_and_the_reason_is_its_own(
        self, rig: Rig, change: dict[str, object], code: str
    ) -> None:
        """A clear error on the delivery, advice included, and not one chunk."""
        file = rig.write(5).model_copy(update=change)
        delivery = await rig.planned(rig.event(file))

        assert DeliveryState.FAILED == delivery.state
        assert delivery.reason is not None
        assert code == delivery.reason.code
        assert file.name in delivery.reason.message
        assert delivery.reason.advice
        assert [] == await rig.chunks(delivery.revision)

    @pytest.mark.parametrize("content", [b"", b"\n \n\r\n"], ids=["no-bytes", "blank-lines"])
    async def test_a_file_without_a_record_is_empty(self, rig: Rig, content: bytes) -> None:
        """Nothing to deliver is an error its owner should hear of."""
        (rig.folder / "empty").write_bytes(content)
        delivery = await rig.planned(rig.event(FileRef(name="empty", store="local", key="empty")))
        assert delivery.reason is not None
        assert (DeliveryState.FAILED, "empty_file") == (delivery.state, delivery.reason.code)

    async def test_the_other_files_are_not_disturbed(self, rig: Rig) -> None:
        """One file is missing, its neighbours are planned."""
        good = rig.write(5)
        gone = FileRef(name="gone", store="local", key="gone")
        delivery = await rig.planned(rig.event(good, gone, good))

        assert DeliveryState.UPLOADING == delivery.state
        facts = await rig.facts(delivery.revision)
        assert ["uploading", "failed", "uploading"] == [file_state(fact) for fact in facts]
        reason = file_reason(facts[1])
        assert reason is not None
        assert "object_missing" == reason.code
        assert [0, 2] == [ready.file_index for _, ready in await rig.chunks(delivery.revision)]

    async def test_a_file_that_changes_while_it_is_planned_is_given_up(self, rig: Rig) -> None:
        """Two versions of a file are never mixed: what follows the first chunks is not read."""
        file = rig.write(60_000)
        event = rig.event(file)
        await rig.acceptor.accept(event, via="topic")
        local = MortalStore(rig.stores.get("local"), Fuse(5))
        with pytest.raises(Crash):
            await rig.planner(stores=Stores({"local": local})).plan(event.revision)
        rig.write(60_001, name=file.key)

        await rig.planner().plan(event.revision)

        (facts,) = await rig.facts(event.revision)
        assert facts.plan_failure is not None
        assert "object_changed" == facts.plan_failure.code
        sent = await rig.chunks(event.revision)
        assert 0 < len(sent) < 6, "what was sent before settles on its own"
        assert 1 == len({ready.etag for _, ready in sent})


class TestRefusedDeliveries:
    @pytest.mark.parametrize("code", ["unknown_profile", "wrong_company", "audience_not_found"])
    async def test_what_auth_refuses_fails(self, rig: Rig, code: str) -> None:
        """In auth's own words; nothing is read."""
        event = rig.event(rig.write(1))
        rig.auth.refuse(event.profile_id, code)
        delivery = await rig.planned(event)
        assert delivery.reason is not None
        assert (DeliveryState.FAILED, code, "do this") == (
            delivery.state,
            delivery.reason.code,
            delivery.reason.advice,
        )

    async def test_what_a_person_has_to_mend_waits(self, rig: Rig) -> None:
        """A dead token ends nothing."""
        event = rig.event(rig.write(1))
        rig.auth.refuse(event.profile_id, "token_dead")
        delivery = await rig.planned(event)
        assert delivery.reason is not None
        assert (DeliveryState.WAITING, "token_dead") == (delivery.state, delivery.reason.code)

    async def test_a_connection_without_history_is_cancelled(self, rig: Rig) -> None:
        """It was accepted and there was nothing to do: not a failure."""
        delivery = await rig.planned(rig.event(kind="connection-created"))
        assert delivery.reason is not None
        assert (DeliveryState.CANCELLED, "history_not_requested") == (delivery.state, delivery.reason.code)


class TestCrash:
    """A delivery of 45,000 records (5 chunks in 3 stretches, 4 blocks) dies at every moment there is, and resumes."""

    RECORDS = 45_000

    async def resumed(self, rig: Rig, *, blocks: Fuse, producing: Fuse, after: bool) -> list[tuple[str, ChunkReady]]:
        """The chunks on Kafka after a crash where the fuses say and a second process."""
        file = rig.write(self.RECORDS)
        assert (rig.folder / file.key).stat().st_size > 3 * BLOCK_BYTES
        event = rig.event(file)
        await rig.acceptor.accept(event, via="topic")
        local = MortalStore(rig.stores.get("local"), blocks)
        async with MortalProducer(rig, producing, after=after) as producer:
            planner = rig.planner(producer=producer, stores=Stores({"local": local}))
            with pytest.raises(Crash):
                await planner.plan(event.revision)

        await rig.planner().plan(event.revision)

        assert DeliveryState.UPLOADING == (await rig.delivery(event.revision)).state
        (facts,) = await rig.facts(event.revision)
        assert self.RECORDS == facts.totals.records
        return await rig.chunks(event.revision)

    def complete(self, chunks: list[tuple[str, ChunkReady]]) -> None:
        """Every record is in exactly one range."""
        by_id = {ready.chunk_id: ready for _, ready in chunks}
        covered = sorted((ready.range.start, ready.range.end) for ready in by_id.values())
        assert 0 == covered[0][0]
        assert all(before[1] == after[0] for before, after in pairwise(covered))
        assert self.RECORDS == sum(ready.records for ready in by_id.values())

    @pytest.mark.parametrize("moment", [1, 2, 3, 4])
    async def test_before_a_block_is_read_nothing_is_lost_or_repeated(self, rig: Rig, moment: int) -> None:
        """Everything before the checkpoint is in the ledger and on Kafka, nothing after it is."""
        chunks = await self.resumed(rig, blocks=Fuse(moment), producing=Fuse(), after=False)
        self.complete(chunks)
        assert 5 == len(chunks)

    @pytest.mark.parametrize("moment", [1, 2, 3])
    async def test_after_the_ledger_and_before_kafka_nothing_is_lost_or_repeated(self, rig: Rig, moment: int) -> None:
        """Chunks that are in the ledger and were not sent are sent by the next process."""
        chunks = await self.resumed(rig, blocks=Fuse(), producing=Fuse(moment), after=False)
        self.complete(chunks)
        assert 5 == len(chunks)

    @pytest.mark.parametrize("moment", [1, 2, 3])
    async def test_between_kafka_and_the_mark_one_batch_is_repeated_with_its_ids(self, rig: Rig, moment: int) -> None:
        """The only window of repetition; who compares ids sees that it is the same chunk."""
        chunks = await self.resumed(rig, blocks=Fuse(), producing=Fuse(moment), after=True)
        self.complete(chunks)
        assert 5 == len({ready.chunk_id for _, ready in chunks}) == len({ce_id for ce_id, _ in chunks})
        assert 5 < len(chunks) <= 5 + 2, "one batch, at most two chunks here"

    async def test_chunks_of_a_file_that_is_gone_meanwhile_are_sent_all_the_same(self, rig: Rig) -> None:
        """In the ledger and not on Kafka, and the file cannot be read any more: an unsent chunk would never settle."""
        file = rig.write(self.RECORDS)
        event = rig.event(file)
        await rig.acceptor.accept(event, via="topic")
        async with MortalProducer(rig, Fuse(1), after=False) as producer:
            with pytest.raises(Crash):
                await rig.planner(producer=producer).plan(event.revision)
        (rig.folder / file.key).unlink()

        await rig.planner().plan(event.revision)

        (facts,) = await rig.facts(event.revision)
        assert facts.plan_failure is not None
        assert "object_missing" == facts.plan_failure.code
        assert facts.chunks == len(await rig.chunks(event.revision)) > 0

    async def test_a_stop_leaves_nothing_half_done(self, rig: Rig) -> None:
        """Told to stop, planning ends between two stretches; the next process repeats nothing."""
        event = rig.event(rig.write(self.RECORDS))
        await rig.acceptor.accept(event, via="topic")
        rig.stop.set()
        with pytest.raises(Stopped):
            await rig.planner().plan(event.revision)
        rig.stop.clear()

        await rig.planner().plan(event.revision)

        chunks = await rig.chunks(event.revision)
        self.complete(chunks)
        assert 5 == len(chunks)

    async def test_a_second_planner_cannot_plan_a_stretch_twice(self, rig: Rig) -> None:
        """The old owner of a partition that wakes up late is refused by the ledger, and no chunk is in it twice."""
        event = rig.event(rig.write(self.RECORDS))
        await rig.acceptor.accept(event, via="topic")

        class Meanwhile(MortalStore):
            """Before the third block is read, somebody else plans the whole delivery."""

            @override
            async def read(
                self, key: str, *, start: int = 0, end: int | None = None, etag: str | None = None
            ) -> AsyncGenerator[bytes, None]:
                """As the inner store, with a surprise."""
                count = 0
                async for block in super().read(key, start=start, end=end, etag=etag):
                    count += 1
                    if count == 3:
                        await rig.planner().plan(event.revision)
                    yield block

        late = Meanwhile(rig.stores.get("local"), Fuse())
        with pytest.raises(TryLater, match="another process"):
            await rig.planner(stores=Stores({"local": late})).plan(event.revision)

        chunks = await rig.chunks(event.revision)
        self.complete(chunks)
        assert 5 == len(chunks)


class TestTransient:
    async def test_a_store_that_comes_back_is_read_on_from_the_checkpoint(self, rig: Rig) -> None:
        """Unavailable in the middle of a file: the delivery keeps its state, and nothing is sent twice."""
        event = rig.event(rig.write(45_000))
        fuse = Fuse(3)
        local = MortalStore(rig.stores.get("local"), fuse, error=StoreUnavailable)
        intake = rig.intake(planner=rig.planner(stores=Stores({"local": local})))
        record = await rig.put(DELIVERIES, delivery_record(event, now=utc_now(), traceparent=None))

        await intake.handle(record)

        assert fuse.passed > 4, "the file was opened again"
        assert 5 == len(await rig.chunks(event.revision))
        assert DeliveryState.UPLOADING == (await rig.delivery(event.revision)).state

    async def test_what_does_not_come_back_is_given_up_with_its_reason(self, rig: Rig) -> None:
        """Only when attempts and time are spent; then the delivery fails and says why."""
        event = rig.event(rig.write(1))
        rig.auth.refuse(event.profile_id, "graph_unavailable")
        record = await rig.put(DELIVERIES, delivery_record(event, now=utc_now(), traceparent=None))

        await rig.intake(patience=Patience(base=0.01, cap=0.02, attempts=3, seconds=0)).handle(record)

        delivery = await rig.delivery(event.revision)
        assert 3 == len(rig.auth.asked)
        assert delivery.reason is not None
        assert (DeliveryState.FAILED, "auth_unavailable") == (delivery.state, delivery.reason.code)

    async def test_chunks_that_could_never_be_sent_are_accounted_as_dead(self, rig: Rig) -> None:
        """Given up between ledger and Kafka: the delivery ends, and every record of it is in one place."""

        class Mute(EventProducer):
            """A producer whose broker never acknowledges a batch of chunks."""

            @override
            async def publish_all(self, topic: Topic, events: Sequence[Encoded]) -> None:
                """Refuses."""
                raise ProduceError(f"{len(events)} for {topic.name} were not acknowledged")

        event = rig.event(rig.write(10))
        await rig.acceptor.accept(event, via="topic")
        planner = rig.planner(producer=Mute(rig.kafka, "mute"))
        with pytest.raises(TryLater) as caught:
            await planner.plan(event.revision)

        await planner.give_up(event.revision, caught.value)

        delivery = await rig.delivery(event.revision)
        (facts,) = await rig.facts(event.revision)
        assert delivery.reason is not None
        assert (DeliveryState.FAILED, "kafka_unavailable") == (delivery.state, delivery.reason.code)
        assert (10, 10) == (facts.totals.records, facts.totals.dead)
