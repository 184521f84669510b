"""The ends that nobody likes: refused batches, dead letters, answers that fit nothing."""

import os

import pytest

from connector.kafka.headers import text
from schemas.events import Dead, Operation
from tests.integration.uploader_parts import Bench, record_of
from tests.integration.uploader_records import invalid_reply, lines

pytest_plugins = ("tests.integration.uploader_fixtures",)


class TestEnds:
    async def test_an_unknown_answer_is_never_delivered(self, bench: Bench) -> None:
        """One slow attempt more, from a tier, then a dead letter that names the code, though attempts are left."""
        for _ in range(2):
            bench.fail(code=987654, subcode=12)

        await bench.handle(await bench.chunk(lines(10)))
        await bench.deliverer.handle(bench.outbox.postponed("5m"))

        outcome = bench.outbox.outcome
        assert isinstance(outcome.outcome, Dead)
        assert ("unknown_answer", "987654/12") == (outcome.outcome.reason, outcome.outcome.code)
        assert (2, "unknown", 0) == (outcome.attempts, bench.outbox.letter.header("failure-kind"), bench.count())

    async def test_a_removal_that_leaves_too_few_ends_with_its_reason(self, bench: Bench) -> None:
        """Meta keeps the audience as it is: once asked, no loop, and the owner reads why."""
        bench.fail(code=200, subcode=1870047)

        await bench.handle(await bench.chunk(lines(10), operation=Operation.REMOVE))

        outcome = bench.outbox.outcome.outcome
        assert isinstance(outcome, Dead)
        assert ("audience_too_small", "200/1870047", 1) == (outcome.reason, outcome.code, bench.graph.calls)

    async def test_a_reply_about_another_audience_is_a_breach(self, bench: Bench) -> None:
        """It is given up at once and not tried again: something is wrong that must not go on."""
        bench.fail(status=200, body={**invalid_reply(bench, 10, 0, {}), "audience_id": "99"})

        await bench.handle(await bench.chunk(lines(10)))

        outcome = bench.outbox.outcome.outcome
        assert isinstance(outcome, Dead)
        assert ("wrong_audience", 1) == (outcome.reason, bench.graph.calls)

    async def test_too_many_dead_letters_in_a_row_stop_the_line(self, bench: Bench) -> None:
        """After the third the consumers are held, once, with the reason; an arrival before had begun a new row."""
        held: list[str] = []
        bench.line.holds(held.append)
        for records in (11, 11, 10, 11, 11):
            await bench.handle(await bench.chunk(lines(10), records=records))
        assert ([], True) == (held, bench.line.running)

        for _ in "12":
            await bench.handle(await bench.chunk(lines(10), records=11))

        assert (1, False) == (len(held), bench.line.running)

    async def test_a_chunk_that_hangs_is_put_aside(self, bench: Bench) -> None:
        """It goes to a delay topic as an attempt that failed: with its bytes, its origin and the word for it."""
        chunk = await bench.chunk(lines(10))
        record = record_of(chunk)

        await bench.deliverer.put_aside(record)

        letter = bench.outbox.postponed("5m")
        assert (record.key, record.value) == (letter.key, letter.value)
        assert ("stuck", "1", record.topic) == tuple(
            text(letter.headers, name) for name in ("error-code", "attempt", "origin-topic")
        )

    async def test_a_changed_file_is_not_sent(self, bench: Bench) -> None:
        """What was planned is not what lies there now."""
        chunk = await bench.chunk(lines(10))
        (bench.folder / chunk.key).write_text("\n".join(lines(10, start=100)) + "\n")

        await bench.handle(chunk)

        assert "object_changed" == self.reason(bench)

    async def test_a_missing_file_is_not_sent(self, bench: Bench) -> None:
        """Named as missing."""
        chunk = await bench.chunk(lines(10))
        (bench.folder / chunk.key).unlink()

        await bench.handle(chunk)

        assert "object_missing" == self.reason(bench)

    async def test_an_unknown_store_is_named(self, bench: Bench) -> None:
        """The settings of this process do not know it."""
        await bench.handle(await bench.chunk(lines(10), store="elsewhere"))

        assert "unknown_store" == self.reason(bench)

    async def test_another_number_of_records_is_not_sent(self, bench: Bench) -> None:
        """A range that does not hold what was planned is somebody else's: nothing of it leaves."""
        await bench.handle(await bench.chunk(lines(10), records=11))

        assert "records_mismatch" == self.reason(bench)

    @staticmethod
    def reason(bench: Bench) -> str:
        """Why the only chunk is dead, nothing of it having been sent."""
        assert 0 == bench.graph.calls
        outcome = bench.outbox.outcome.outcome
        assert isinstance(outcome, Dead)
        assert bench.outbox.letter.value
        return outcome.reason

    @pytest.mark.parametrize("value", [b"", b"\xff\x00", b"{}", b'{"revision":"x"}', b"[1]"])
    async def test_poison_is_buried_with_its_bytes(self, bench: Bench, value: bytes) -> None:
        """What is no chunk event goes to the dead letters as it came; there is no chunk to settle."""
        record = record_of(await bench.chunk(lines(1)), value or None)
        poison = record._replace(value=value)

        await bench.deliverer.handle(poison)

        assert (value, "poison") == (bench.outbox.letter.value, bench.outbox.letter.header("failure-kind"))
        assert [] == bench.outbox.outcomes

    async def test_a_defect_of_ours_ends_the_chunk(self, bench: Bench) -> None:
        """Its delivery would never end otherwise; the error's text, which may quote data, stays out."""
        record = record_of(await bench.chunk(lines(10)))

        await bench.settler.defect(record, RuntimeError("ada@example.com"))

        outcome = bench.outbox.outcome
        assert isinstance(outcome.outcome, Dead)
        assert ("defect", "RuntimeError", 10) == (outcome.outcome.reason, outcome.outcome.code, outcome.counts.dead)
        assert all(b"ada@" not in (one.value or b"") + repr(one.headers).encode() for one in bench.outbox.written)

    async def test_a_file_that_shrank_is_not_sent(self, bench: Bench) -> None:
        """It is not the planned object any more."""
        chunk = await bench.chunk(lines(10))
        os.truncate(bench.folder / chunk.key, 100)

        await bench.handle(chunk)

        assert "object_changed" == self.reason(bench)
