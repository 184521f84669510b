"""Back-off: bounded, jittered, and given up only when attempts and time are both spent."""

from hypothesis import given
from hypothesis import strategies as st

from services.ingest.patience import Patience

attempts = st.integers(1, 10_000)
chances = st.floats(0, 1)


class TestPause:
    @given(attempts, chances, st.none() | st.floats(0, 1e6))
    def test_a_pause_is_never_longer_than_the_cap_nor_nothing(
        self, attempt: int, chance: float, asked: float | None
    ) -> None:
        """No hot loop and no endless wait, whatever the other side asks for."""
        patience = Patience(base=0.5, cap=60)
        assert 0.25 <= patience.pause(attempt, chance, asked) <= 60

    @given(attempts, chances, st.floats(0, 60))
    def test_what_the_other_side_asks_for_is_honoured(self, attempt: int, chance: float, asked: float) -> None:
        """Nobody is asked again before they said."""
        assert Patience(base=0.5, cap=60).pause(attempt, chance, asked) >= asked

    @given(st.integers(1, 6))
    def test_pauses_double(self, attempt: int) -> None:
        """Until the cap each is twice the last."""
        patience = Patience(base=0.5, cap=60)
        assert 2 * patience.pause(attempt, 1.0) == patience.pause(attempt + 1, 1.0)

    def test_those_who_failed_together_do_not_return_together(self) -> None:
        """Half of a pause is drawn."""
        patience = Patience(base=1, cap=60)
        assert (2.0, 4.0) == (patience.pause(3, 0.0), patience.pause(3, 1.0))


class TestGivingUp:
    @given(st.integers(0, 20), st.floats(0, 20_000))
    def test_both_must_be_spent(self, attempt: int, elapsed: float) -> None:
        """Neither many quick failures nor one long outage is enough."""
        patience = Patience(attempts=6, seconds=10_800)
        assert (attempt >= 6 and elapsed >= 10_800) == patience.spent(attempt, elapsed)
