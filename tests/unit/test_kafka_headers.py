"""Record headers and events: deterministic ids, a past that is never overwritten, poison that is named."""

from datetime import UTC, datetime

import orjson
import pytest
from hypothesis import given
from hypothesis import strategies as st

from connector.kafka.events import MAX_VALUE, PoisonEvent, decode, encode
from connector.kafka.headers import (
    FIRST_HOP,
    MAX_HEADER,
    Failure,
    Headers,
    child_traceparent,
    event_id,
    failure_headers,
    text,
    traceparent,
    without_value,
)
from connector.kafka.record import Record
from schemas.events import ChunkReady
from schemas.registry import CHUNK_READY, CHUNK_SETTLED
from schemas.samples import SAMPLES

NOW = datetime(2026, 11, 24, tzinfo=UTC)
CHUNK = SAMPLES[CHUNK_READY]


def failed(attempt: int = 1, message: str = "boom", first: int = 10, last: int = 20) -> Failure:
    """A failure to write into headers."""
    return Failure("transient", "2", message, attempt, first, last)


def record(headers: Headers = (), *, topic: str = "t", offset: int = 0) -> Record:
    """A record that failed."""
    return Record(topic, 3, offset, 7, b"key", b"value", headers)


class TestEventIds:
    def test_the_same_fact_has_the_same_id(self) -> None:
        """A repeated write is recognisable as the same event."""
        assert event_id("fbc.x.v1", 1, "a") == event_id("fbc.x.v1", 1, "a")

    def test_type_and_identity_tell_facts_apart(self) -> None:
        """Different facts never share an id."""
        assert 3 == len({event_id("fbc.x.v1", 1), event_id("fbc.y.v1", 1), event_id("fbc.x.v1", 2)})


class TestEnvelope:
    def test_an_event_survives_the_wire(self) -> None:
        """Encoding and decoding give the event back."""
        encoded = encode(
            CHUNK_READY,
            CHUNK,
            key="act_1001",
            identity=("4711/0/3",),
            source="/fbc/ingest",
            subject="4711/0/3",
            now=NOW,
        )

        assert CHUNK == decode(CHUNK_READY, ChunkReady, encoded.value, encoded.headers)

    def test_cloudevents_attributes_travel_as_headers(self) -> None:
        """A reader routes by headers without opening the value (CloudEvents binary mode)."""
        encoded = encode(CHUNK_READY, CHUNK, key="k", identity=(1,), source="/fbc/ingest", subject="s", now=NOW)

        assert "1.0" == text(encoded.headers, "ce_specversion")
        assert "fbc.chunk-ready.v1" == text(encoded.headers, "ce_type")
        assert event_id("fbc.chunk-ready.v1", 1) == text(encoded.headers, "ce_id")
        assert "application/json" == text(encoded.headers, "content-type")


class TestPoison:
    @pytest.mark.parametrize(
        ("value", "headers", "code"),
        [
            (None, (), "empty_value"),
            (b"", (), "empty_value"),
            (b"x" * (MAX_VALUE + 1), (), "oversized"),
            (b"{nonsense", (), "not_json"),
            (b"[]", (), "schema"),
            (b'{"revision":"many"}', (), "schema"),
            (orjson.dumps({}), (("ce_type", CHUNK_SETTLED.ce_type.encode()),), "wrong_type"),
        ],
        ids=["null", "empty", "oversized", "not-json", "not-an-object", "wrong-field", "other-event"],
    )
    def test_what_is_not_the_event_is_named_poison(
        self, value: bytes | None, headers: tuple[tuple[str, bytes], ...], code: str
    ) -> None:
        """A record nobody can read gets a reason code."""
        with pytest.raises(PoisonEvent) as caught:
            decode(CHUNK_READY, ChunkReady, value, headers)

        assert code == caught.value.code

    def test_the_reason_never_shows_the_value(self) -> None:
        """Whatever upstream put into a wrong field is not copied into our logs."""
        with pytest.raises(PoisonEvent) as caught:
            decode(CHUNK_READY, ChunkReady, b'{"revision":"jane@example.com"}', ())

        assert "jane" not in str(caught.value)

    @given(st.binary(max_size=200))
    def test_any_bytes_are_an_event_or_poison(self, value: bytes) -> None:
        """No bytes crash the reader."""
        with pytest.raises(PoisonEvent):
            decode(CHUNK_READY, ChunkReady, value, ())


class TestFailureHeaders:
    def test_the_first_hop_is_never_overwritten(self) -> None:
        """After three hops the headers still lead back to the record upstream wrote."""
        first = failure_headers(record(offset=9), failed())
        second = failure_headers(record(first, topic="t.retry", offset=1), failed(2, first=99, last=100))

        assert [text(first, name) for name in FIRST_HOP] == [text(second, name) for name in FIRST_HOP]
        assert "2" == text(second, "attempt")
        assert "100" == text(second, "last-failure-at")

    def test_headers_do_not_grow_with_hops(self) -> None:
        """Each hop replaces what describes the latest failure."""
        headers: Headers = ()
        sizes = []
        for attempt in range(1, 6):
            headers = failure_headers(record(headers), failed(attempt))
            sizes.append(len(headers))

        assert [sizes[0]] * 5 == sizes

    def test_the_message_is_capped(self) -> None:
        """A long error text does not make the dead letter larger than the broker takes."""
        headers = failure_headers(record(), failed(message="x" * 9_999))

        assert 512 == len(text(headers, "error-message") or "")

    def test_original_headers_are_kept(self) -> None:
        """What upstream sent stays on the dead letter."""
        headers = failure_headers(record((("ce_id", b"1"),)), failed())

        assert "1" == text(headers, "ce_id")

    def test_a_value_that_is_left_out_is_told_by_its_size(self) -> None:
        """The letter is small, and leads to the record that has it."""
        headers = without_value(record(), failure_headers(record(), failed()))

        assert ("5", "t") == (text(headers, "value-omitted"), text(headers, "origin-topic"))


class TestUntrustedHeaders:
    def test_too_long_or_not_text_is_absent(self) -> None:
        """A hostile header is as good as none."""
        assert text([("a", b"x" * (MAX_HEADER + 1))], "a") is None
        assert text([("a", b"\xff")], "a") is None

    def test_only_a_well_formed_trace_is_passed_on(self) -> None:
        """A trace context that is not one is dropped."""
        good = b"00-" + b"a" * 32 + b"-" + b"b" * 16 + b"-01"

        assert good.decode() == traceparent([("traceparent", good)])
        assert traceparent([("traceparent", b"00-evil")]) is None

    def test_children_share_their_parents_trace(self) -> None:
        """All work of one delivery has one trace id, also without a parent."""
        parent = "00-" + "a" * 32 + "-" + "b" * 16 + "-01"

        assert "a" * 32 == child_traceparent(parent, "seed", "1").split("-")[1]
        assert child_traceparent(None, "seed", "1").split("-")[1] == child_traceparent(None, "seed", "2").split("-")[1]
        assert child_traceparent(None, "seed", "1") != child_traceparent(None, "seed", "2")
