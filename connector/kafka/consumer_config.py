"""How a consumer is set up: our own bounds, and the client's configuration that follows from them."""

from dataclasses import dataclass, field
from typing import Any

from aiokafka.coordinator.assignors.sticky.sticky_assignor import StickyPartitionAssignor

from connector.kafka.connection import connection_arguments
from connector.kafka.pressure import Watermarks
from connector.kafka.stuck import StuckRules
from connector.kafka.workers import Backoff
from connector.runtime.settings import KafkaSettings

MIN_REBALANCE_TIMEOUT = 60.0
STOP_TIMEOUT = 10.0
HEARTBEAT = 3.0


@dataclass(frozen=True)
class Tuning:
    """What rarely needs another value; seconds unless said otherwise.

    Attributes:
        poll: How long one poll waits for records.
        poll_records: Records per poll at most: what one poll brings waits in lanes until workers have begun.
        max_poll_interval: Without a poll for so long the member leaves its group.
        join: How long joining may take, including other members' drains.
        commit_every: Between commits while something was finished.
        commit_after: Records finished that make a commit due earlier.
        commit_gap: Between two commits at least, however much is finished.
        commit_within: A commit's time-out.
        commit_floor: What a last commit gets even when the drain has used up its deadline.
        committed_within: How long reading back the committed offsets may take.
        held: Waits of a record whose defect handler raises.
        marks: Bounds of what is held.
        stuck: When a record that does not end is put aside.
    """

    poll: float = 0.2
    poll_records: int = 100
    max_poll_interval: float = 300.0
    join: float = 180.0
    commit_every: float = 1.0
    commit_after: int = 500
    commit_gap: float = 0.1
    commit_within: float = 10.0
    commit_floor: float = 5.0
    committed_within: float = 10.0
    held: Backoff = field(default_factory=Backoff)
    marks: Watermarks = field(default_factory=Watermarks)
    stuck: StuckRules = field(default_factory=StuckRules)


def client_arguments(settings: KafkaSettings, group: str, tuning: Tuning) -> dict[str, Any]:
    """What `AIOKafkaConsumer` is made with; the reasons are traps that were met, most of them in its issue tracker."""
    rebalance = max(MIN_REBALANCE_TIMEOUT, settings.drain_deadline + tuning.commit_within + STOP_TIMEOUT)
    session = settings.session_timeout
    return {
        **connection_arguments(settings, group),
        "group_id": group,
        # A static member comes back to its partitions without a rebalance, if it does so within the session time-out.
        "group_instance_id": settings.group_instance_id,
        "enable_auto_commit": False,
        "auto_offset_reset": "earliest",  # anything else skips records that were never read
        "isolation_level": "read_committed",  # upstream may use transactions; without them it costs nothing
        "partition_assignment_strategy": (StickyPartitionAssignor,),  # one only: with two, each joins (PR 1168)
        "session_timeout_ms": int(session * 1_000),
        "heartbeat_interval_ms": int(min(HEARTBEAT, session / 3) * 1_000),
        "rebalance_timeout_ms": int(rebalance * 1_000),  # its default is the session's: too short to drain
        "request_timeout_ms": int((rebalance + 10) * 1_000),  # applies to joining, which lasts as long as a drain
        "max_poll_interval_ms": int(tuning.max_poll_interval * 1_000),
        "fetch_max_bytes": 8 << 20,
        "max_partition_fetch_bytes": 256 << 10,  # pausing throws away what was prefetched
        "fetch_max_wait_ms": 500,
        "metadata_max_age_ms": 60_000,
    }
