"""What may be committed: never past an unfinished record, never short of a finished one, across restarts."""

from collections.abc import Iterable

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, precondition, rule

from connector.kafka.bitmap import MAX_CHARACTERS, WINDOW, decode
from connector.kafka.offsets import PartitionTracker


def delivered(offsets: Iterable[int], base: int = 0) -> PartitionTracker:
    """A tracker to which these offsets were delivered, in order."""
    tracker = PartitionTracker(base, epoch=1)
    for offset in sorted(offsets):
        tracker.admit(offset)
    return tracker


def restarted(tracker: PartitionTracker) -> PartitionTracker:
    """The tracker another process makes of the commit."""
    point = tracker.commit_point()
    return PartitionTracker(point.offset, tracker.epoch + 1, decode(point.metadata, point.offset))


class TestCommitPoint:
    def test_stays_at_the_first_unfinished_record(self) -> None:
        """What is finished behind it waits, in the metadata, until it is finished too."""
        tracker = delivered(range(5))
        for offset in (1, 2, 4):
            tracker.finish(offset, 1)
        assert repr(tracker) == "<PartitionTracker epoch=1 base=0 position=5 in_flight=2 done_above_base=3>"
        tracker.finish(0, 1)
        assert repr(tracker) == "<PartitionTracker epoch=1 base=3 position=5 in_flight=1 done_above_base=1>"

    def test_is_the_position_when_all_is_finished(self) -> None:
        """Nothing in flight: the next record to come is the first to read."""
        tracker = delivered([0, 1])
        tracker.finish(1, 1)
        tracker.finish(0, 1)
        assert (2, "") == (tracker.commit_point().offset, tracker.commit_point().metadata)

    @given(st.permutations(range(12)))
    def test_any_order_of_finishing_ends_at_the_same_place(self, order: list[int]) -> None:
        """On the way it is the lowest unfinished offset at each step, at the end everything."""
        tracker = delivered(range(12))
        for done, offset in enumerate(order, start=1):
            assert tracker.finish(offset, 1)
            assert min(order[done:], default=12) == tracker.base

    def test_a_long_distance_still_fits(self) -> None:
        """A hole in the log of any size keeps the metadata within Kafka's limit."""
        tracker = delivered([0, 1, 10_000_000])
        tracker.finish(10_000_000, 1)
        tracker.finish(1, 1)
        point = tracker.commit_point()
        assert point.offset == 0
        assert len(point.metadata) <= MAX_CHARACTERS


class TestGaps:
    def test_offsets_without_a_record_hold_nothing_up(self) -> None:
        """Compaction and transaction markers leave holes nobody will ever finish."""
        tracker = delivered([3, 7, 20])
        assert tracker.base == 3
        tracker.finish(3, 1)
        assert tracker.base == 7
        tracker.finish(7, 1)
        tracker.finish(20, 1)
        assert tracker.base == 21

    def test_a_hole_at_the_end_is_passed_by_the_position(self) -> None:
        """Where no further record tells of it, the client's position does."""
        tracker = delivered([0])
        tracker.finish(0, 1)
        tracker.observed_position(4)
        assert tracker.base == 4
        assert tracker.dirty

    def test_the_position_never_passes_an_unfinished_record(self) -> None:
        """A position ahead of what is in flight commits nothing of it."""
        tracker = delivered([0, 1])
        tracker.observed_position(9)
        assert tracker.base == 0

    def test_a_position_behind_changes_nothing(self) -> None:
        """The client may be told to read again; what was delivered stays delivered."""
        tracker = delivered([5], base=5)
        tracker.observed_position(2)
        assert (6, 5, False) == (tracker.position, tracker.base, tracker.dirty)


class TestAdmission:
    @pytest.mark.parametrize("offset", [9, 10, 11], ids=["below the base", "finished", "in flight"])
    def test_nothing_is_handled_twice(self, offset: int) -> None:
        """A record that is delivered again is not begun again."""
        tracker = delivered([10, 11], base=10)
        tracker.finish(10, 1)
        assert not tracker.admit(offset)

    def test_a_result_of_another_epoch_counts_nothing(self) -> None:
        """The partition was with somebody else in between: what we began before is his to finish."""
        tracker = delivered([0])
        assert not tracker.finish(0, epoch=0)
        assert not tracker.finish(0, epoch=2)
        assert tracker.base == 0

    def test_finishing_twice_counts_once(self) -> None:
        """The second result of a record finds it finished."""
        tracker = delivered([0])
        assert [True, False] == [tracker.finish(0, 1), tracker.finish(0, 1)]

    def test_finishing_what_was_never_delivered_counts_nothing(self) -> None:
        """A result for an unknown offset moves nothing."""
        tracker = delivered([0])
        assert not tracker.finish(1, 1)
        assert (1, 0) == (tracker.in_flight, tracker.base)

    def test_room_ends_with_the_window(self) -> None:
        """The spread counts from the first unfinished record to the last delivered one."""
        tracker = delivered([0, WINDOW - 1])
        assert (WINDOW, 0) == (tracker.spread, tracker.room)
        tracker.finish(0, 1)
        assert (1, WINDOW - 1) == (tracker.spread, tracker.room)

    def test_room_counts_what_was_finished_before_too(self) -> None:
        """After a restart the window reaches to the last finished offset, delivered again or not."""
        tracker = PartitionTracker(10, 1, done=1 << 100)
        assert (102, WINDOW - 102) == (tracker.spread, tracker.room)


class TestDirty:
    def test_a_new_tracker_has_nothing_to_commit(self) -> None:
        """What was read from Kafka need not be written back."""
        assert not PartitionTracker(7, 1, done=0b10).dirty

    def test_what_changed_since_the_snapshot_stays_dirty(self) -> None:
        """A commit that takes time must not hide what was finished meanwhile."""
        tracker = delivered([0, 1])
        tracker.finish(0, 1)
        point = tracker.commit_point()
        tracker.finish(1, 1)
        tracker.committed(point)
        assert tracker.dirty
        tracker.committed(tracker.commit_point())
        assert not tracker.dirty

    def test_an_older_commit_that_ends_later_undoes_nothing(self) -> None:
        """Acknowledgements may overtake each other."""
        tracker = delivered([0, 1])
        tracker.finish(0, 1)
        older = tracker.commit_point()
        tracker.finish(1, 1)
        tracker.committed(tracker.commit_point())
        tracker.committed(older)
        assert not tracker.dirty


class TestRestart:
    def test_skips_exactly_what_was_finished(self) -> None:
        """From the commit alone: the unfinished is admitted, the finished is not."""
        tracker = delivered(range(6))
        for offset in (1, 3, 4):
            tracker.finish(offset, 1)
        after = restarted(tracker)
        assert [0, 2, 5] == [offset for offset in range(6) if after.admit(offset)]

    def test_a_commit_before_all_is_delivered_again_forgets_nothing(self) -> None:
        """The finished offsets that have not come by yet are carried into the next commit."""
        tracker = delivered(range(6))
        for offset in (1, 3, 4, 5):
            tracker.finish(offset, 1)
        second = restarted(tracker)
        second.admit(0)
        second.finish(0, 2)
        assert (2, 3) == (second.base, second.done_above_base)
        third = restarted(second)
        assert [2] == [offset for offset in range(6) if third.admit(offset)]

    def test_a_full_window_out_of_order_repeats_none(self) -> None:
        """The widest window: one record unfinished at its start, all others finished."""
        tracker = delivered(range(WINDOW))
        for offset in range(WINDOW - 1, 0, -1):
            tracker.finish(offset, 1)
        after = restarted(tracker)
        assert [0] == [offset for offset in range(WINDOW) if after.admit(offset)]


class Consumption(RuleBasedStateMachine):
    """A partition with holes, consumed, committed and taken over at any moment, against sets of offsets."""

    def __init__(self) -> None:
        super().__init__()
        self.epoch = 1
        self.tracker = PartitionTracker(0, self.epoch)
        self.end = 0  # of the log
        self.log: list[int] = []
        self.next = 0  # index in the log of what is delivered next
        self.unfinished: set[int] = set()
        self.finished: set[int] = set()
        self.saved: set[int] = set()  # finished at the last commit
        self.committed = (0, "")

    @rule(hole=st.one_of(st.integers(0, 3), st.integers(0, 30_000)), records=st.integers(1, 20))
    def append(self, hole: int, records: int) -> None:
        """Records are written, after a hole."""
        self.log.extend(range(self.end + hole, self.end + hole + records))
        self.end += hole + records

    @precondition(lambda self: self.next < len(self.log))
    @rule(count=st.integers(1, 20))
    def deliver(self, count: int) -> None:
        """The client hands out the next records: exactly the unfinished ones are to be handled."""
        batch = self.log[self.next : self.next + count]
        self.next += len(batch)
        for offset in batch:
            wanted = self.tracker.admit(offset)
            if wanted:
                self.unfinished.add(offset)
                self.finished.discard(offset)  # beyond the window, finished work is repeated
            else:
                assert offset in self.saved

    @precondition(lambda self: self.unfinished)
    @rule(data=st.data())
    def finish(self, data: st.DataObject) -> None:
        """Any record in flight ends."""
        offset = data.draw(st.sampled_from(sorted(self.unfinished)))
        assert self.tracker.finish(offset, self.epoch)
        self.unfinished.remove(offset)
        self.finished.add(offset)

    @precondition(lambda self: self.unfinished and self.epoch > 1)
    @rule(data=st.data())
    def finish_too_late(self, data: st.DataObject) -> None:
        """A result from before the take-over arrives."""
        assert not self.tracker.finish(data.draw(st.sampled_from(sorted(self.unfinished))), self.epoch - 1)

    @precondition(lambda self: self.next == len(self.log))
    @rule()
    def reach_the_end(self) -> None:
        """The client stands at the end of the log, behind markers nobody sees."""
        self.end += 1
        self.tracker.observed_position(self.end)

    @rule()
    def commit(self) -> None:
        """What may be committed is written."""
        point = self.tracker.commit_point()
        self.tracker.committed(point)
        self.committed = (point.offset, point.metadata)
        self.saved = set(self.finished)

    @rule()
    def take_over(self) -> None:
        """The process dies; another one begins from the last commit."""
        offset, metadata = self.committed
        self.epoch += 1
        self.tracker = PartitionTracker(offset, self.epoch, decode(metadata, offset))
        self.next = sum(1 for one in self.log if one < offset)
        for repeated in [one for one in self.log if offset <= one <= offset + WINDOW and one in self.saved]:
            assert not PartitionTracker(offset, self.epoch, decode(metadata, offset)).admit(repeated)
        self.finished = set(self.saved)
        self.unfinished = set()

    @invariant()
    def never_past_unfinished_work(self) -> None:
        """Neither what is in flight nor what was not delivered yet is ever committed over."""
        todo = self.unfinished | {one for one in self.log[self.next :] if one not in self.saved}
        assert self.tracker.base <= min(todo, default=self.end)
        assert self.committed[0] <= min((one for one in self.log if one not in self.finished), default=self.end)

    @invariant()
    def counts_agree(self) -> None:
        """The tracker's figures are the model's."""
        assert len(self.unfinished) == self.tracker.in_flight
        assert len(self.tracker.commit_point().metadata) <= MAX_CHARACTERS

    @invariant()
    def nothing_finished_is_held_back(self) -> None:
        """With nothing in flight, all that was delivered may be committed."""
        if not self.unfinished and self.next:
            assert self.tracker.base > self.log[self.next - 1]


Consumption.TestCase.settings = settings(max_examples=60, stateful_step_count=40, deadline=None)
TestConsumption = Consumption.TestCase
