"""A consumer's facts as metrics, `fbc_kafka_…`: what dashboards draw and alerts watch.

Labels are the group, and the topic and partition where that is what one looks for; never a key, an account or an
offset. What is told per partition goes when the partition does: a gauge that nobody moves any more would be believed.
"""

import time
from collections.abc import Callable
from typing import Literal, assert_never

from aiokafka.structs import TopicPartition
from prometheus_client import CollectorRegistry, Counter, Gauge, Histogram

from connector.kafka.consumer_facts import (
    Assigned,
    BitmapIgnored,
    CommitFailed,
    Committed,
    Completed,
    ConsumerFact,
    ConsumerObserver,
    Defective,
    Drained,
    Held,
    LineHeld,
    MembershipLost,
    NotDue,
    Outcome,
    Paused,
    PauseReason,
    Polled,
    Resumed,
    Revoked,
    Rewound,
    Stale,
    Standing,
    Stuck,
)
from connector.kafka.consumer_logging import log_fact
from connector.telemetry import Measure
from connector.telemetry.facts import SECONDS
from connector.telemetry.tally import Tally, Totals

Kind = Literal["counter", "gauge", "histogram"]
AGES = (1.0, 5.0, 15.0, 60.0, 300.0, 900.0, 3_600.0, 7_200.0, 21_600.0, 86_400.0)
GROUP = ("group",)
PLACE = ("group", "topic", "partition")


class ConsumerMetrics:
    """The metrics of all consumers of a process; each is observed through an observer of its group.

    `catalogue` lists them for the reference.
    """

    def __init__(self, registry: CollectorRegistry) -> None:
        self.catalogue: list[Measure] = []

        def named(name: str, about: str, labels: tuple[str, ...], kind: Kind) -> str:
            self.catalogue.append(Measure(f"fbc_kafka_{name}", about, labels, kind=kind))
            return f"fbc_kafka_{name}"

        def counter(name: str, about: str, *more: str) -> Counter:
            labels = (*GROUP, *more)
            return Counter(named(name, about, labels, "counter"), about, labels, registry=registry)

        def gauge(name: str, about: str, labels: tuple[str, ...] = GROUP) -> Gauge:
            return Gauge(named(name, about, labels, "gauge"), about, labels, registry=registry)

        def histogram(name: str, about: str) -> Histogram:
            return Histogram(named(name, about, GROUP, "histogram"), about, GROUP, registry=registry, buckets=SECONDS)

        def tally(name: str, about: str, buckets: tuple[float, ...]) -> Tally:
            return Tally(named(name, about, GROUP, "histogram"), about, *GROUP, registry=registry, buckets=buckets)

        def totals(name: str, about: str, *more: str) -> Totals:
            labels = (*GROUP, *more)
            return Totals(named(name, about, labels, "counter"), about, labels, registry=registry)

        self.consumed = counter("records_consumed_total", "records delivered to this process")
        self.completed = totals("records_completed_total", "records finished, by how", "outcome")
        self.processing = tally("record_processing_seconds", "from a record's beginning to its end", SECONDS)
        self.age = tally("record_age_seconds", "from a record's writing to its end", AGES)
        self.defects = counter("handler_defects_total", "records whose handler raised")
        self.held = counter("records_held_total", "records nobody took: buried or postponed in vain")
        self.stale = counter("stale_results_total", "records finished after their partition had gone")
        self.stuck = counter("stuck_evictions_total", "records whose handler was cancelled for holding up a partition")
        self.ignored = counter("bitmaps_ignored_total", "commits whose finished offsets could not be read or written")
        self.rewinds = counter("rewinds_total", "partitions whose log went back behind what was read")
        self.commits = counter("commits_total", "commits, by how they ended", "result")
        self.commit_seconds = histogram("commit_seconds", "how long a commit took")
        self.commit_characters = gauge("commit_metadata_characters", "the longest bitmap of the last commit; 4096 fit")
        self.rebalances = counter(
            "rebalances_total", "partitions assigned, revoked, or lost with the membership", "kind"
        )
        self.rebalance_seconds = histogram("rebalance_seconds", "from the end of a drain to the next assignment")
        self.drain_seconds = histogram("drain_seconds", "how long work in flight was waited for")
        self.abandoned = counter("drain_abandoned_total", "records cancelled because they outlasted a drain")
        self.assigned = gauge("assigned_partitions", "partitions this member reads")
        self.paused = gauge("paused_partitions", "partitions that are not read, by reason", (*GROUP, "reason"))
        self.line_held = gauge("line_held", "1 while the line stands still")
        self.in_flight = gauge("in_flight_records", "records in a handler")
        self.waiting = gauge("waiting_records", "records read whose turn has not come")
        self.polled_at = gauge(
            "poll_loop_last_iteration_timestamp_seconds", "when the poll loop last told how it stands (epoch)"
        )
        self.incomplete = gauge("incomplete_records", "records read and not finished", PLACE)
        self.spread = gauge("offset_spread", "offsets from the first unfinished to the last read", PLACE)
        self.oldest = gauge("oldest_incomplete_age_seconds", "since the first unfinished record was written", PLACE)
        self.lag = gauge("lag_records", "offsets from the first unfinished to the end of the log", PLACE)

    def observer(self, group: str, then: ConsumerObserver = log_fact) -> ConsumerObserver:
        """What a consumer of *group* is given; it hands each fact on to *then*, the log."""
        return _Observer(self, group, then)


class _Observer:
    """One group's facts; children of labels are looked up once, some of them are moved for every record."""

    def __init__(
        self,
        metrics: ConsumerMetrics,
        group: str,
        then: ConsumerObserver,
        now: Callable[[], float] = time.time,
    ) -> None:
        self._metrics = metrics
        self._group = group
        self._then = then
        self._now = now
        self._consumed = metrics.consumed.labels(group)
        self._completed = {outcome: metrics.completed.labels(group, outcome) for outcome in Outcome}
        self._processing = metrics.processing.labels(group)
        self._age = metrics.age.labels(group)
        self._told: set[TopicPartition] = set()
        self._revoked_at: float | None = None
        metrics.line_held.labels(group).set(0)
        metrics.stuck.labels(group)  # there from the start: an alert on a rise needs a first value
        metrics.abandoned.labels(group)

    def __call__(self, fact: ConsumerFact, /) -> None:
        if isinstance(fact, Completed):  # of every record: a pattern that takes it apart would take twice as long
            self._completed[fact.outcome].add()
            self._processing.observe(fact.seconds)
            self._age.observe(max(self._now() - fact.record.timestamp_ms / 1_000, 0.0))
        else:
            self._happens(fact)
        self._then(fact)

    def _happens(self, fact: ConsumerFact) -> None:  # noqa: C901, PLR0912 -- one case per fact; the last proves it complete
        metrics, group = self._metrics, self._group
        match fact:
            case Polled(records):
                self._consumed.inc(records)
            case Standing():
                self._stands(fact)
            case Committed(_, characters, seconds):
                metrics.commits.labels(group, "done").inc()
                metrics.commit_seconds.labels(group).observe(seconds)
                metrics.commit_characters.labels(group).set(characters)
            case CommitFailed(_, seconds):
                metrics.commits.labels(group, "failed").inc()
                metrics.commit_seconds.labels(group).observe(seconds)
            case Assigned(partitions, _):
                self._assigned(len(partitions))
            case Revoked():
                metrics.rebalances.labels(group, "revoked").inc()
                self._leaves()
            case MembershipLost():
                metrics.rebalances.labels(group, "lost").inc()
                self._leaves()
            case Drained(_, abandoned, seconds):
                metrics.drain_seconds.labels(group).observe(seconds)
                metrics.abandoned.labels(group).inc(abandoned)
            case LineHeld(why):
                metrics.line_held.labels(group).set(why is not None)
            case Stuck():
                metrics.stuck.labels(group).inc()
            case Defective():
                metrics.defects.labels(group).inc()
            case Held():
                metrics.held.labels(group).inc()
            case Stale():
                metrics.stale.labels(group).inc()
            case BitmapIgnored():
                metrics.ignored.labels(group).inc()
            case Rewound():
                metrics.rewinds.labels(group).inc()
            case Completed() | Paused() | Resumed() | NotDue():
                pass  # how many are paused and why, a Standing tells
            case _:
                assert_never(fact)

    def _stands(self, fact: Standing) -> None:
        metrics, group, now = self._metrics, self._group, self._now()
        metrics.polled_at.labels(group).set(now)
        metrics.in_flight.labels(group).set(fact.in_flight)
        metrics.waiting.labels(group).set(fact.waiting)
        for reason in PauseReason:
            metrics.paused.labels(group, reason).set(fact.paused.get(reason, 0))
        for partition, one in fact.partitions.items():
            place = (group, partition.topic, str(partition.partition))
            metrics.incomplete.labels(*place).set(one.incomplete)
            metrics.spread.labels(*place).set(one.spread)
            metrics.lag.labels(*place).set(one.lag)
            oldest = now if one.oldest_ms is None else one.oldest_ms / 1_000
            metrics.oldest.labels(*place).set(max(now - oldest, 0.0))
        self._forget(self._told - set(fact.partitions))
        self._told = set(fact.partitions)

    def _assigned(self, partitions: int) -> None:
        self._metrics.assigned.labels(self._group).set(partitions)
        self._metrics.rebalances.labels(self._group, "assigned").inc()
        if self._revoked_at is not None:
            self._metrics.rebalance_seconds.labels(self._group).observe(max(self._now() - self._revoked_at, 0.0))
            self._revoked_at = None

    def _leaves(self) -> None:
        self._metrics.assigned.labels(self._group).set(0)
        self._revoked_at = self._now()
        self._forget(self._told)
        self._told = set()

    def _forget(self, partitions: set[TopicPartition]) -> None:
        for partition in partitions:
            place = (self._group, partition.topic, str(partition.partition))
            for gauge in (self._metrics.incomplete, self._metrics.spread, self._metrics.oldest, self._metrics.lag):
                gauge.remove(*place)
