"""A consumer's facts as metrics: each fact moves what an alert watches, and what is over is not shown any more."""

import typing

import pytest
from aiokafka.structs import TopicPartition
from prometheus_client import CollectorRegistry

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
    Outcome,
    PartitionStanding,
    PauseReason,
    Polled,
    Revoked,
    Rewound,
    Stale,
    Standing,
    Stuck,
)
from connector.kafka.consumer_metrics import ConsumerMetrics, _Observer
from connector.kafka.record import Record

NAME = TopicPartition("t", 3)
RECORD = Record("t", 3, 42, 5_000, b"somebody@example.com", b"", ())
GROUP = {"group": "g"}
PLACE = {"group": "g", "topic": "t", "partition": "3"}
STANDING = Standing({NAME: PartitionStanding(7, 90, 8_500, 1_000)}, {PauseReason.NOT_DUE: 1}, 5, 2)


class Board:
    """An observer of group g at time 10, and what is read off its metrics."""

    def __init__(self) -> None:
        self.registry = CollectorRegistry()
        self.told: list[ConsumerFact] = []
        self._observer = _Observer(ConsumerMetrics(self.registry), "g", self.told.append, now=lambda: 10.0)

    def tell(self, *facts: ConsumerFact) -> "Board":
        """Lets the observer hear *facts*."""
        for fact in facts:
            self._observer(fact)
        return self

    def value(self, name: str, **labels: str) -> float | None:
        """A sample, None when there is none."""
        return self.registry.get_sample_value(f"fbc_kafka_{name}", GROUP | labels)


@pytest.fixture
def board() -> Board:
    return Board()


COUNTED: list[tuple[ConsumerFact, str, dict[str, str], float]] = [
    (Polled(3), "records_consumed_total", {}, 3),
    (Completed(RECORD, 0.1), "records_completed_total", {"outcome": "handled"}, 1),
    (Completed(RECORD, 0.1, Outcome.EVICTED), "records_completed_total", {"outcome": "evicted"}, 1),
    (Completed(RECORD, 0.1), "record_processing_seconds_sum", {}, 0.1),
    (Completed(RECORD, 0.1), "record_age_seconds_sum", {}, 5.0),
    (Defective(RECORD, ValueError()), "handler_defects_total", {}, 1),
    (Held(RECORD, 1, 0.5, OSError()), "records_held_total", {}, 1),
    (Stale(RECORD), "stale_results_total", {}, 1),
    (Stuck(RECORD, 900), "stuck_evictions_total", {}, 1),
    (BitmapIgnored(None, "why"), "bitmaps_ignored_total", {}, 1),
    (Rewound(NAME, 9, 0), "rewinds_total", {}, 1),
    (Committed({NAME: 4}, 3_355, 0.2), "commits_total", {"result": "done"}, 1),
    (Committed({NAME: 4}, 3_355, 0.2), "commit_metadata_characters", {}, 3_355),
    (CommitFailed("TimeoutError", 10), "commits_total", {"result": "failed"}, 1),
    (CommitFailed("TimeoutError", 10), "commit_seconds_sum", {}, 10),
    (Assigned(frozenset({NAME}), 5), "assigned_partitions", {}, 1),
    (Assigned(frozenset({NAME}), 5), "rebalances_total", {"kind": "assigned"}, 1),
    (Revoked(frozenset({NAME})), "rebalances_total", {"kind": "revoked"}, 1),
    (MembershipLost(2), "rebalances_total", {"kind": "lost"}, 1),
    (Drained(5, 2, 25.0), "drain_abandoned_total", {}, 2),
    (Drained(5, 2, 25.0), "drain_seconds_sum", {}, 25.0),
    (LineHeld("dead letters"), "line_held", {}, 1),
    (STANDING, "poll_loop_last_iteration_timestamp_seconds", {}, 10.0),
    (STANDING, "in_flight_records", {}, 5),
    (STANDING, "waiting_records", {}, 2),
    (STANDING, "paused_partitions", {"reason": "not_due"}, 1),
    (STANDING, "paused_partitions", {"reason": "full"}, 0),
    (STANDING, "incomplete_records", PLACE, 7),
    (STANDING, "offset_spread", PLACE, 90),
    (STANDING, "lag_records", PLACE, 1_000),
    (STANDING, "oldest_incomplete_age_seconds", PLACE, 1.5),
]


class TestFacts:
    @pytest.mark.parametrize(("fact", "name", "labels", "value"), COUNTED)
    def test_each_moves_its_metric(
        self, board: Board, fact: ConsumerFact, name: str, labels: dict[str, str], value: float
    ) -> None:
        """And is handed on to the log."""
        assert value == pytest.approx(board.tell(fact).value(name, **labels))
        assert [fact] == board.told

    def test_every_metric_is_moved_by_some_fact(self) -> None:
        """A metric nobody moves is a panel that is always empty."""
        registry = CollectorRegistry()
        declared = {measure.name.removeprefix("fbc_kafka_") for measure in ConsumerMetrics(registry).catalogue}
        moved = {name.removesuffix("_sum") for _, name, _, _ in COUNTED}
        assert {"rebalance_seconds"} == declared - moved  # which takes two facts, see below
        assert set(typing.get_args(ConsumerFact)) >= {type(fact) for fact, *_ in COUNTED}


class TestStanding:
    def test_a_partition_that_left_is_not_shown_any_more(self, board: Board) -> None:
        """Its last lag would stand there for ever and keep an alert firing."""
        board.tell(Assigned(frozenset({NAME}), 0), STANDING, Revoked(frozenset({NAME})))
        assert (None, None) == (board.value("lag_records", **PLACE), board.value("offset_spread", **PLACE))
        assert 0 == board.value("assigned_partitions")
        board.tell(STANDING, Standing({}, {}, 0, 0))
        assert board.value("oldest_incomplete_age_seconds", **PLACE) is None

    def test_nothing_incomplete_has_no_age(self, board: Board) -> None:
        """An idle partition is not late."""
        board.tell(Standing({NAME: PartitionStanding(0, 0, None, 0)}, {}, 0, 0))
        assert 0 == board.value("oldest_incomplete_age_seconds", **PLACE)

    def test_a_rebalance_lasts_until_partitions_come(self, board: Board) -> None:
        """Told once for each that ended, and not for the first assignment."""
        board.tell(Assigned(frozenset({NAME}), 0))
        assert 0 == (board.value("rebalance_seconds_count") or 0)
        board.tell(Revoked(frozenset({NAME})), Assigned(frozenset({NAME}), 0))
        assert 1 == board.value("rebalance_seconds_count")

    def test_the_line_goes_on(self, board: Board) -> None:
        """The alarm ends with the hold."""
        assert 0 == board.value("line_held")
        assert 0 == board.tell(LineHeld("why"), LineHeld(None)).value("line_held")

    def test_two_groups_of_one_process_share_the_metrics(self) -> None:
        """The main line and its tiers are told apart by label."""
        registry = CollectorRegistry()
        metrics = ConsumerMetrics(registry)
        for group, records in (("a", 1), ("b", 2)):
            metrics.observer(group, lambda _: None)(Polled(records))
        values = [registry.get_sample_value("fbc_kafka_records_consumed_total", {"group": one}) for one in "ab"]
        assert [1, 2] == values
