"""What a consumer tells about itself: a closed set of facts, handed to its observer as they happen.

Exceptions in facts are for their type and our own texts; an adapter must not print a handler's foreign exception.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from enum import StrEnum
from typing import NamedTuple, Protocol

from aiokafka.structs import TopicPartition

from connector.kafka.record import Record

Partitions = frozenset[TopicPartition]


@dataclass(frozen=True, slots=True)
class Polled:
    """Records were delivered to this process."""

    records: int


class Outcome(StrEnum):
    """How a record came to its end."""

    HANDLED = "handled"
    BURIED = "buried"
    EVICTED = "evicted"
    PUT_BACK = "put_back"


class Completed(NamedTuple):
    """The handler (or whoever took the record after it) returned; *seconds* since it was begun.

    The only fact that is told of every record: a tuple, as `Record` is.
    """

    record: Record
    seconds: float
    outcome: Outcome = Outcome.HANDLED


@dataclass(frozen=True, slots=True)
class Defective:
    """The handler raised: a bug or a record it should have refused in an orderly way."""

    record: Record
    error: Exception


@dataclass(frozen=True, slots=True)
class Held:
    """Nobody takes the record: burying it or writing it to a delay topic failed, and is tried again in *retry_in* s.

    Meanwhile it keeps its place in flight.
    """

    record: Record
    attempt: int
    retry_in: float
    error: Exception


@dataclass(frozen=True, slots=True)
class Stale:
    """A record was finished after its partition had been taken away: its offset is not ours to complete."""

    record: Record


@dataclass(frozen=True, slots=True)
class Assigned:
    """Partitions came; *restored* records in them were finished earlier and will be skipped."""

    partitions: Partitions
    restored: int


@dataclass(frozen=True, slots=True)
class Revoked:
    """Partitions went, after a drain and a commit."""

    partitions: Partitions


@dataclass(frozen=True, slots=True)
class Drained:
    """Work in flight was waited for: *abandoned* of it did not end in time and was cancelled (it will be repeated)."""

    in_flight: int
    abandoned: int
    seconds: float


@dataclass(frozen=True, slots=True)
class Paused:
    """Fetching of these partitions stopped: too much is held, the head is not due, or the line stands still."""

    partitions: Partitions


@dataclass(frozen=True, slots=True)
class Resumed:
    """Fetching of these partitions goes on."""

    partitions: Partitions


@dataclass(frozen=True, slots=True)
class Committed:
    """Offsets were committed; *metadata* is the longest bitmap's number of characters (4,096 is Kafka's limit)."""

    offsets: Mapping[TopicPartition, int]
    metadata: int
    seconds: float


@dataclass(frozen=True, slots=True)
class CommitFailed:
    """A commit did not succeed and will be tried again; *error* is the class of the error."""

    error: str
    seconds: float


@dataclass(frozen=True, slots=True)
class MembershipLost:
    """The group went on without us: what is in flight belongs to others now and was cancelled."""

    in_flight: int


@dataclass(frozen=True, slots=True)
class BitmapIgnored:
    """The finished offsets above the committed one could not be read: those records are handled again."""

    partition: TopicPartition | None
    reason: str


@dataclass(frozen=True, slots=True)
class Rewound:
    """The log went back behind what was read (topic made anew, log cut off): it is read again from *offset*."""

    partition: TopicPartition
    position: int
    offset: int


@dataclass(frozen=True, slots=True)
class NotDue:
    """The head of a delay partition is to be handled *seconds* from now: the partition waits."""

    partition: TopicPartition
    offset: int
    seconds: float


@dataclass(frozen=True, slots=True)
class Stuck:
    """A record holds up its partition: its handler, in which it has been for *seconds*, is cancelled."""

    record: Record
    seconds: float


@dataclass(frozen=True, slots=True)
class LineHeld:
    """Nothing is begun any more, for the reason given; None: it goes on."""

    why: str | None


@dataclass(frozen=True, slots=True)
class PartitionStanding:
    """How a partition stands.

    Attributes:
        incomplete: Records read and not finished.
        spread: Offsets between the first unfinished and the last read.
        oldest_ms: When the first unfinished record was written, or the one that is not due (epoch milliseconds); None
            when there is none.
        lag: Offsets to the end of the log, as far as known.
    """

    incomplete: int
    spread: int
    oldest_ms: int | None
    lag: int


class PauseReason(StrEnum):
    """Why a partition is not read."""

    FULL = "full"
    NOT_DUE = "not_due"
    LINE_HELD = "line_held"


@dataclass(frozen=True, slots=True)
class Standing:
    """How this member stands, told by the poll loop every second: whoever hears nothing knows that it hangs.

    Attributes:
        partitions: What is assigned; empty during a rebalance.
        paused: Partitions that are not read, by reason; the reasons may overlap.
        in_flight: Records in a handler.
        waiting: Records read whose turn has not come.
    """

    partitions: Mapping[TopicPartition, PartitionStanding]
    paused: Mapping[PauseReason, int]
    in_flight: int
    waiting: int


ConsumerFact = (
    Polled
    | Completed
    | Defective
    | Held
    | Stale
    | Assigned
    | Revoked
    | Drained
    | Paused
    | Resumed
    | Committed
    | CommitFailed
    | MembershipLost
    | BitmapIgnored
    | Rewound
    | NotDue
    | Stuck
    | LineHeld
    | Standing
)


class ConsumerObserver(Protocol):
    """Whoever listens. Called from the event loop, for each record: it must not block and must not raise."""

    def __call__(self, fact: ConsumerFact, /) -> None:
        """Takes note of *fact*."""
