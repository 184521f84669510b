"""Whether to try again, and when: bounds hold for all numbers, and every kind of trouble has its patience."""

from hypothesis import given
from hypothesis import strategies as st

from services.uploader.endings import Again, Lost
from services.uploader.patience import Patience
from services.uploader.retrying import GiveUp, RetryPolicy, TryAgain, backoff, decide
from services.uploader.settings import RetrySettings

POLICY = RetryPolicy(attempts=6, base=0.5, cap=20, total=120)
SETTINGS = RetrySettings(attempts=4, base=1, cap=8, total=60, throttle_patience=1_000)
TROUBLE = Again("service_unavailable", "2", "words")
UNKNOWN = Again("unknown_answer", "987654", "words", unknown=True)


class TestBackoff:
    @given(attempt=st.integers(1, 10_000), chance=st.floats(0, 1, exclude_max=True))
    def test_pauses_are_spread_over_the_upper_half_and_capped(self, attempt: int, chance: float) -> None:
        """A thousand chunks that failed together do not come back together, and nobody waits longer than the cap."""
        ceiling = min(20, 0.5 * 2 ** min(attempt - 1, 20))

        assert ceiling / 2 <= backoff(0.5, 20, attempt, chance) <= ceiling

    def test_pauses_double(self) -> None:
        """Each failure doubles the wait."""
        assert [0.25, 0.5, 1.0, 2.0] == [backoff(0.5, 20, attempt, 0) for attempt in (1, 2, 3, 4)]


class TestDecide:
    def test_attempts_are_bounded(self) -> None:
        """The sixth failure is the last."""
        assert isinstance(decide(POLICY, attempt=5, elapsed=0, chance=0), TryAgain)
        assert isinstance(decide(POLICY, attempt=6, elapsed=0, chance=0), GiveUp)

    def test_the_time_is_bounded(self) -> None:
        """No attempt begins after the patience."""
        assert isinstance(decide(POLICY, attempt=1, elapsed=119.9, chance=0), GiveUp)

    def test_a_stated_time_is_kept(self) -> None:
        """Retry-After outweighs a shorter pause of ours."""
        assert TryAgain(30) == decide(POLICY, attempt=1, elapsed=0, chance=0, not_before=30)

    def test_a_stated_time_beyond_the_patience_ends_it(self) -> None:
        """Nobody makes us wait for ever."""
        assert isinstance(decide(POLICY, attempt=1, elapsed=0, chance=0, not_before=1e6), GiveUp)

    def test_slow_takes_the_longest_pause(self) -> None:
        """What nobody knows is not hammered."""
        assert TryAgain(10) == decide(POLICY, attempt=1, elapsed=0, chance=0, slow=True)

    @given(attempt=st.integers(1, 100), elapsed=st.floats(0, 1e6), chance=st.floats(0, 1, exclude_max=True))
    def test_a_promised_attempt_is_within_all_bounds(self, attempt: int, elapsed: float, chance: float) -> None:
        """Whatever the numbers, who may try again does so before patience ends."""
        match decide(POLICY, attempt=attempt, elapsed=elapsed, chance=chance):
            case TryAgain(seconds):
                assert attempt < POLICY.attempts
                assert 0 < seconds <= POLICY.cap
                assert elapsed + seconds <= POLICY.total
            case GiveUp(why):
                assert why


class TestPatience:
    def test_time_counts_from_the_first_failure(self) -> None:
        """A chunk that waited an hour for its turn has all its patience when its first attempt fails."""
        assert isinstance(Patience(SETTINGS).failed(TROUBLE, now=1e6, chance=0), TryAgain)

    def test_patience_with_failures_ends(self) -> None:
        """Sixty seconds after the first failure there is no further attempt."""
        patience = Patience(SETTINGS)
        patience.failed(TROUBLE, now=0, chance=0)
        patience.attempt += 1

        assert isinstance(patience.failed(TROUBLE, now=59.9, chance=0), GiveUp)

    def test_an_unknown_answer_gets_one_slow_attempt(self) -> None:
        """Once more, slowly; the second time it is given up, though attempts are left."""
        patience = Patience(SETTINGS)

        assert TryAgain(4) == patience.failed(UNKNOWN, now=0, chance=0)
        patience.attempt += 1
        assert isinstance(patience.failed(UNKNOWN, now=5, chance=0), GiveUp)

    def test_an_unknown_answer_late_still_gets_its_attempt(self) -> None:
        """Passing trouble before it does not use up its one attempt."""
        patience = Patience(SETTINGS)
        patience.failed(TROUBLE, now=0, chance=0)
        patience.attempt += 1

        assert isinstance(patience.failed(UNKNOWN, now=1, chance=0), TryAgain)

    def test_a_throttle_spends_neither_attempt_nor_time(self) -> None:
        """Meta asked for the pause, so it does not count against the chunk."""
        patience = Patience(SETTINGS)
        patience.failed(TROUBLE, now=0, chance=0)

        assert patience.throttled(now=1) is None
        assert 1 == patience.attempt
        assert isinstance(patience.failed(TROUBLE, now=500, chance=0), TryAgain)

    def test_a_throttle_without_end_ends(self) -> None:
        """Nothing is waited for without a bound."""
        patience = Patience(SETTINGS)
        patience.throttled(now=0)

        assert patience.throttled(now=1_000) is None
        assert isinstance(patience.throttled(now=1_001), Lost)
