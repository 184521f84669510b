"""A consumer's own log: every kind of fact has its line, and no line quotes a record."""

import typing

import pytest
from aiokafka.structs import TopicPartition
from structlog.testing import capture_logs

from connector.kafka.consumer_facts import (
    Assigned,
    BitmapIgnored,
    CommitFailed,
    Committed,
    Completed,
    ConsumerFact,
    Defective,
    Drained,
    Held,
    LineHeld,
    MembershipLost,
    NotDue,
    Outcome,
    Paused,
    Polled,
    Resumed,
    Revoked,
    Rewound,
    Stale,
    Standing,
    Stuck,
)
from connector.kafka.consumer_logging import log_fact
from connector.kafka.record import Record

PARTITION = TopicPartition("t", 3)
PERSON = "somebody@example.com"
RECORD = Record("t", 3, 42, 0, PERSON.encode(), PERSON.encode(), (("h", PERSON.encode()),))


def raised() -> Exception:
    """An exception that quotes what it should not, with a traceback."""
    try:
        parse(PERSON)
    except ValueError as error:
        return error
    raise AssertionError("an address is no number")


def parse(text: str) -> int:
    """A handler's code that stumbles; its error quotes the text."""
    return int(text)


LINES: list[tuple[ConsumerFact, tuple[str, str] | None]] = [
    (Polled(3), None),
    (Completed(RECORD, 0.1), None),
    (Completed(RECORD, 0.1, Outcome.PUT_BACK), ("warning", "kafka.put_back")),
    (Committed({}, 0, 0.1), None),
    (Standing({}, {}, 0, 0), None),
    (NotDue(PARTITION, 42, 3.0), ("debug", "kafka.not_due")),
    (Stuck(RECORD, 901.0), ("error", "kafka.stuck")),
    (LineHeld("100 dead letters in a row"), ("error", "kafka.line_held")),
    (LineHeld(None), ("warning", "kafka.line_released")),
    (Paused(frozenset({PARTITION})), ("debug", "kafka.paused")),
    (Resumed(frozenset({PARTITION})), ("debug", "kafka.resumed")),
    (Assigned(frozenset({PARTITION}), 5), ("info", "kafka.assigned")),
    (Revoked(frozenset({PARTITION})), ("info", "kafka.revoked")),
    (Drained(3, 0, 0.1), ("info", "kafka.drained")),
    (Drained(3, 1, 0.1), ("warning", "kafka.drained")),
    (CommitFailed("TimeoutError", 10), ("warning", "kafka.commit_failed")),
    (MembershipLost(2), ("warning", "kafka.membership_lost")),
    (BitmapIgnored(PARTITION, "it is not base64url"), ("warning", "kafka.bitmap_ignored")),
    (Rewound(PARTITION, 10, 0), ("warning", "kafka.rewound")),
    (Stale(RECORD), ("warning", "kafka.stale_result")),
    (Defective(RECORD, raised()), ("error", "kafka.handler_defect")),
    (Held(RECORD, 1, 0.5, raised()), ("error", "kafka.record_held")),
]


class TestLines:
    def test_every_fact_is_listed_here(self) -> None:
        """A new kind of fact gets its line, or its silence, on purpose."""
        assert set(typing.get_args(ConsumerFact)) == {type(fact) for fact, _ in LINES}

    @pytest.mark.parametrize(("fact", "expected"), LINES)
    def test_level_and_name(self, fact: ConsumerFact, expected: tuple[str, str] | None) -> None:
        """The level says whether somebody has to look."""
        with capture_logs() as logs:
            log_fact(fact)
        assert ([] if expected is None else [expected]) == [(line["log_level"], line["event"]) for line in logs]

    @pytest.mark.parametrize("fact", [fact for fact, _ in LINES], ids=lambda fact: type(fact).__name__)
    def test_no_line_quotes_a_record(self, fact: ConsumerFact) -> None:
        """Neither bytes of a record nor the text of a foreign exception, which may hold some."""
        with capture_logs() as logs:
            log_fact(fact)
        assert PERSON not in repr(logs)

    def test_a_defect_says_where(self) -> None:
        """The place in the code is told, so that the bug can be found without the text."""
        with capture_logs() as logs:
            log_fact(Defective(RECORD, raised()))
        assert ("t", 3, 42, "ValueError") == tuple(logs[0][name] for name in ("topic", "partition", "offset", "error"))
        assert logs[0]["at"].endswith(" parse")
