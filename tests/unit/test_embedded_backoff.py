"""How long a part that died waits before it is started again."""

import pytest
from hypothesis import given
from hypothesis import strategies as some

from embedded.backoff import HEALTHY_SECONDS, JITTER, LONGEST_SECONDS, delay, failures_after

MIDDLE = 0.5


class TestDelay:
    @pytest.mark.parametrize(
        ("failures", "seconds"), [(1, 0.5), (2, 1.0), (3, 2.0), (6, 16.0), (7, 30.0), (10_000, 30.0)], ids=str
    )
    def test_it_doubles_up_to_half_a_minute(self, failures: int, seconds: float) -> None:
        """Half a second, then twice as long each time, never more than 30 s, however long it goes on."""
        assert seconds == delay(failures, MIDDLE)

    @given(failures=some.integers(1, 200), chance=some.floats(0, 1, exclude_max=True))
    def test_chance_moves_it_within_its_bounds(self, failures: int, chance: float) -> None:
        """Jitter spreads a pause by a fifth at most and never beyond the longest one."""
        middle = delay(failures, MIDDLE)
        assert (
            middle * (1 - JITTER) - 1e-9
            <= delay(failures, chance)
            <= min(middle * (1 + JITTER), LONGEST_SECONDS) + 1e-9
        )


class TestFailures:
    def test_a_part_that_dies_young_counts_up(self) -> None:
        """Each death soon after the start makes the next pause longer."""
        assert failures_after(3, healthy_for=HEALTHY_SECONDS - 1) == 4

    def test_a_part_that_was_healthy_begins_anew(self) -> None:
        """After a minute of health a death is the first one again."""
        assert failures_after(9, healthy_for=HEALTHY_SECONDS) == 1
