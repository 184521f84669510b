"""What waits, and until when: never begun before it is due, never holding up others for longer than its tier."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from connector.kafka.holds import Holds, held_until, is_due
from connector.kafka.record import Record, due_at_header

TIMES = st.floats(0, 2e9)
DELAYS = st.floats(0.01, 7_200)


def record(*headers: tuple[str, bytes]) -> Record:
    return Record("t", 0, 0, 0, None, b"", headers)


class TestHead:
    @pytest.mark.parametrize(
        ("due", "now", "until"),
        [
            (None, 100.0, None),  # nothing is said: due at once
            (99.0, 100.0, None),
            (100.0, 100.0, None),  # due to the moment
            (120.0, 100.0, 120.0),
            (900.0, 100.0, 130.0),  # a time of its own, beyond the tier: others wait for the tier only
            (900.0, 130.0, None),  # ... and then it is to be put back
        ],
    )
    def test_waits_until_it_is_due_and_no_longer_than_its_tier(
        self, due: float | None, now: float, until: float | None
    ) -> None:
        """Written at 100 to a tier of 30 seconds."""
        assert until == held_until(due, written=100.0, delay=30.0, now=now)

    @given(due=st.none() | TIMES, written=TIMES, delay=DELAYS, now=TIMES)
    def test_a_partition_that_waits_waits_for_something_ahead(
        self, due: float | None, written: float, delay: float, now: float
    ) -> None:
        """Until is always in the future, not after the due time, and bounded by the tier; and it is reached."""
        until = held_until(due, written=written, delay=delay, now=now)
        if until is not None:
            assert due is not None
            assert now < until <= due
            assert until <= written + delay
            assert held_until(due, written=written, delay=delay, now=until) is None

    @given(due=TIMES, now=TIMES)
    def test_is_never_due_early(self, due: float, now: float) -> None:
        """Not a moment before."""
        assert (now >= due) == is_due(due, now=now)


class TestDueHeader:
    @pytest.mark.parametrize(
        ("headers", "due"),
        [
            ([("due-at", b"1700000000250")], 1_700_000_000.25),
            ([("due-at", b"1"), ("due-at", b"2000")], 2.0),  # the last one counts, as for all headers
            ([], None),
            ([("due-at", b"")], None),
            ([("due-at", b"soon")], None),
            ([("due-at", b"-5")], None),
            ([("due-at", b"1e12")], None),
            ([("due-at", "\u0661".encode())], None),  # a digit, but not one of ours
            ([("due-at", b"\xff\xfe")], None),
            ([("due-at", b"9" * 400)], None),
        ],
    )
    def test_what_nobody_can_read_is_due_now(self, headers: list[tuple[str, bytes]], due: float | None) -> None:
        """A damaged header must not park a record for ever."""
        assert due == due_at_header(record(*headers))


class TestHolds:
    def test_a_name_is_held_until_its_time(self) -> None:
        """Each on its own; the first one is what a poll may wait for."""
        holds: Holds[str] = Holds()
        assert holds.next_due() is None
        holds.hold("a", 20.0, written=10.0)
        holds.hold("b", 30.0, written=11.0)
        assert ["a", "b"] == sorted(holds.not_due(["a", "b", "c"], 19.9))
        assert 20.0 == holds.next_due()
        assert ["b"] == sorted(holds.not_due(["a", "b", "c"], 20.0))
        assert 30.0 == holds.next_due()
        assert (None, 11.0) == (holds.written("a"), holds.written("b"))
        assert (frozenset(), None) == (holds.not_due(["a", "b", "c"], 30.0), holds.next_due())

    def test_what_was_taken_away_is_forgotten(self) -> None:
        """Its next owner looks at its head; if it comes back, so do we."""
        holds: Holds[str] = Holds()
        holds.hold("a", 20.0, written=10.0)
        assert frozenset() == holds.not_due(["b"], 11.0)
        assert frozenset() == holds.not_due(["a", "b"], 11.0)

    def test_the_first_reason_to_stand_still_counts(self) -> None:
        """Telling it twice, or releasing what runs, changes nothing."""
        holds: Holds[str] = Holds()
        assert [False, True, False] == [holds.start_line(), holds.stop_line("first"), holds.stop_line("second")]
        assert "first" == holds.line
        assert [True, False] == [holds.start_line(), holds.start_line()]
        assert holds.line is None
