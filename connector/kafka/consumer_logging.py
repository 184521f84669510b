"""A consumer's facts as log lines: what it says of itself when nobody else listens.

Of exceptions only class and place are written: the text of a foreign exception may quote a record.
"""

import traceback
from typing import assert_never

import structlog
from aiokafka.structs import TopicPartition

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
    Partitions,
    Paused,
    Polled,
    Resumed,
    Revoked,
    Rewound,
    Stale,
    Standing,
    Stuck,
)
from connector.kafka.record import Record

log = structlog.get_logger()


def log_fact(fact: ConsumerFact) -> None:  # noqa: C901, PLR0912 -- one case per fact; the last proves it complete
    """One line per fact that an operator may ask for; records and commits that went well are not told."""
    match fact:
        case Completed(outcome=Outcome.PUT_BACK):
            log.warning("kafka.put_back", **_named(fact.record))
        case Polled() | Completed() | Committed() | Standing():
            pass
        case NotDue(partition, offset, seconds):
            log.debug("kafka.not_due", **_place_in(partition), offset=offset, seconds=round(seconds, 1))
        case Stuck(record, seconds):
            log.error("kafka.stuck", **_named(record), seconds=round(seconds, 1))
        case LineHeld(None):
            log.warning("kafka.line_released")
        case LineHeld(why):
            log.error("kafka.line_held", why=why)
        case Paused(partitions):
            log.debug("kafka.paused", **_counted(partitions))
        case Resumed(partitions):
            log.debug("kafka.resumed", **_counted(partitions))
        case Assigned(partitions, restored):
            log.info("kafka.assigned", **_counted(partitions), restored=restored)
        case Revoked(partitions):
            log.info("kafka.revoked", **_counted(partitions))
        case Drained(in_flight, abandoned, seconds):
            level = log.warning if abandoned else log.info
            level("kafka.drained", in_flight=in_flight, abandoned=abandoned, seconds=round(seconds, 3))
        case CommitFailed(error, seconds):
            log.warning("kafka.commit_failed", error=error, seconds=round(seconds, 3))
        case MembershipLost(in_flight):
            log.warning("kafka.membership_lost", in_flight=in_flight)
        case BitmapIgnored(partition, reason):
            where = {} if partition is None else _place_in(partition)
            log.warning("kafka.bitmap_ignored", **where, reason=reason)
        case Rewound(partition, position, offset):
            log.warning("kafka.rewound", **_place_in(partition), position=position, offset=offset)
        case Stale(record):
            log.warning("kafka.stale_result", **_named(record))
        case Defective(record, error):
            log.error("kafka.handler_defect", **_named(record), error=type(error).__name__, at=_place(error))
        case Held(record, attempt, retry_in, error):
            log.error(
                "kafka.record_held",
                **_named(record),
                attempt=attempt,
                retry_in=round(retry_in, 1),
                error=type(error).__name__,
                at=_place(error),
            )
        case _:
            assert_never(fact)


def _counted(partitions: Partitions) -> dict[str, object]:
    return {"topics": sorted({name.topic for name in partitions}), "partitions": len(partitions)}


def _place_in(partition: TopicPartition) -> dict[str, object]:
    return {"partition": f"{partition.topic}/{partition.partition}"}


def _named(record: Record) -> dict[str, object]:
    return {"topic": record.topic, "partition": record.partition, "offset": record.offset}


def _place(error: Exception) -> str | None:
    """Where it was raised: file name, line and function."""
    frames = traceback.extract_tb(error.__traceback__)
    return f"{frames[-1].filename.rsplit('/', 1)[-1]}:{frames[-1].lineno} {frames[-1].name}" if frames else None
