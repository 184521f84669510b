"""Records: the client's message without the client."""

import pytest
from aiokafka import ConsumerRecord

from connector.kafka.headers import Headers
from connector.kafka.record import Record, received


def message(key: bytes | None, value: bytes | None, headers: tuple[tuple[str, bytes | None], ...]) -> ConsumerRecord:
    """What the client hands out."""
    return ConsumerRecord("t", 3, 42, 5_000, 0, key, value, None, len(key or b""), len(value or b""), headers)


class TestReceived:
    @pytest.mark.parametrize(
        ("key", "value", "headers", "size"),
        [
            (b"key", b"value", (("name", b"1234"), ("other", b"")), 3 + 5 + 4 + 4 + 5),
            (None, b"value", (), 5),
            (b"key", None, (), 3),
            (None, None, (("name", b"1"),), 5),
        ],
        ids=["all", "no-key", "tombstone", "headers-only"],
    )
    def test_as_it_came_with_its_bytes_counted(
        self, key: bytes | None, value: bytes | None, headers: Headers, size: int
    ) -> None:
        """Back-pressure counts key, value, and names and values of headers."""
        assert (Record("t", 3, 42, 5_000, key, value, headers), size) == received(message(key, value, headers))

    def test_a_header_that_is_null_reads_as_empty(self) -> None:
        """Kafka allows null there; no reader of ours has to care."""
        record, size = received(message(None, None, (("name", None), ("other", b"1"))))

        assert (("name", b""), ("other", b"1")) == record.headers
        assert 10 == size
