"""When an account may be called: pauses, paces, and who pays for whom. Time is a number here."""

from itertools import pairwise

from hypothesis import given
from hypothesis import strategies as st

from connector.graph.usage import Usage
from connector.graph.verdicts import Throttled, ThrottleScope
from services.uploader.governor import MAX_PAUSE, SPREAD, Governor

A, B = "act_1", "act_2"
ACCOUNT = Throttled(ThrottleScope.ACCOUNT, 100.0)
APP = Throttled(ThrottleScope.APP, 60.0)


class TestPauses:
    def test_nobody_waits_at_first(self) -> None:
        """An account nothing is known of may be called."""
        assert 0 == Governor().admit(A, 0)

    def test_a_throttled_account_waits_and_the_others_do_not(self) -> None:
        """Accounts are independent."""
        governor = Governor()

        governor.throttled(A, ACCOUNT, now=10, chance=0)

        assert (100, 0) == (governor.admit(A, 10), governor.admit(B, 10))

    def test_the_pause_ends(self) -> None:
        """After the stated time the account may be called again."""
        governor = Governor()
        governor.throttled(A, ACCOUNT, now=10, chance=0)

        assert (1, 0) == (governor.admit(A, 109), governor.admit(A, 110))

    def test_a_throttled_app_pauses_everybody(self) -> None:
        """The app's budget is everybody's."""
        governor = Governor()

        governor.throttled(A, APP, now=0, chance=0)

        assert (60, 60) == (governor.admit(A, 0), governor.admit(B, 0))

    def test_a_shorter_pause_does_not_shorten_a_longer_one(self) -> None:
        """Calls made while blocked lengthen the block: the longest pause heard of counts."""
        governor = Governor()
        governor.throttled(A, ACCOUNT, now=0, chance=0)

        governor.throttled(A, Throttled(ThrottleScope.ACCOUNT, 1), now=0, chance=0)

        assert 100 == governor.admit(A, 0)

    def test_a_throttle_counts_whatever_the_headers_say(self) -> None:
        """0 % in a header does not lift a pause."""
        governor = Governor()
        governor.throttled(A, ACCOUNT, now=0, chance=0)

        governor.heard(A, Usage(percent=0), now=1)

        assert 99 == governor.admit(A, 1)

    @given(wait=st.floats(0, 1e9), chance=st.floats(0, 1, exclude_max=True))
    def test_pauses_are_spread_and_bounded(self, wait: float, chance: float) -> None:
        """Never shorter than Meta asked for, never longer than a tenth more, never longer than an hour."""
        seconds = Governor().throttled(A, Throttled(ThrottleScope.ACCOUNT, wait), now=0, chance=chance)

        assert min(wait, MAX_PAUSE) <= seconds <= min(wait * (1 + SPREAD), MAX_PAUSE)


class TestUsage:
    def test_a_full_budget_with_an_estimate_pauses(self) -> None:
        """Meta says in the header of a good answer that the next one would be refused."""
        governor = Governor()

        governor.heard(A, Usage(percent=100, regain_seconds=120), now=0)

        assert 120 == governor.paused(A, 0)

    def test_a_hundred_percent_without_an_estimate_is_a_brake_and_no_block(self) -> None:
        """Recorded traffic shows accounts at 100 % that go on working, slowly."""
        governor = Governor()

        governor.heard(A, Usage(percent=100), now=0)

        assert (0, 0, 2) == (governor.paused(A, 0), governor.admit(A, 0), governor.admit(A, 0))

    def test_a_low_usage_releases_the_brake(self) -> None:
        """The pace follows the last answer, and an account without pause or pace is forgotten."""
        governor = Governor()
        governor.heard(A, Usage(percent=92), now=0)

        governor.heard(A, Usage(percent=10), now=1)

        assert 0 == governor.admit(A, 1)
        assert "<Governor app until=0 []>" == repr(governor)

    @given(
        percent=st.floats(75, 200),
        moments=st.lists(st.floats(0, 60), min_size=1, max_size=60),
    )
    def test_of_many_that_wait_one_gets_through_per_pace(self, percent: float, moments: list[float]) -> None:
        """However many ask and whenever, calls of one account keep its distance."""
        governor = Governor()
        governor.heard(A, Usage(percent=percent), now=0)

        calls = [now for now in sorted(moments) if governor.admit(A, now) == 0]

        assert all(later - earlier >= 0.25 - 1e-9 for earlier, later in pairwise(calls))

    @given(now=st.floats(0, 1e6), pause=st.floats(0.001, 1e4))
    def test_who_waits_as_told_is_admitted(self, now: float, pause: float) -> None:
        """No hot loop: after waiting the seconds that were named, the answer is 0 or next to it."""
        governor = Governor()
        governor.throttled(A, Throttled(ThrottleScope.ACCOUNT, pause), now=now, chance=0)

        assert governor.admit(A, now + governor.admit(A, now)) < 1e-6
