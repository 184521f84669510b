"""Which head is in everybody's way: one that is too old, or nearly alone in a nearly full window; never a young one."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from connector.kafka.bitmap import WINDOW
from connector.kafka.pressure import Watermarks
from connector.kafka.stuck import Head, StuckRules, is_stuck

RULES = StuckRules(head_age=900, window=0.9, done=0.98, young=60)


class TestStuck:
    @pytest.mark.parametrize(
        ("head", "stuck"),
        [
            (Head(age=900, spread=1, done_above=0), True),  # alone, but for longer than anything takes
            (Head(age=899, spread=1, done_above=0), False),
            (Head(age=60, spread=950, done_above=940), True),  # 99 % of what lies above it is finished
            (Head(age=60, spread=950, done_above=920), False),  # others are at work, too: the account is slow
            (Head(age=60, spread=900, done_above=899), False),  # there is room
            (Head(age=59, spread=950, done_above=949), False),  # a call may take a minute
        ],
    )
    def test_rules(self, head: Head, stuck: bool) -> None:  # noqa: FBT001 -- a table
        """With a window of 1,000 offsets."""
        assert stuck == is_stuck(head, RULES, window=1_000)

    @given(age=st.floats(0, 59.9), spread=st.integers(0, 2 * WINDOW), done=st.integers(0, 2 * WINDOW))
    def test_a_young_head_is_never_stuck(self, age: float, spread: int, done: int) -> None:
        """However crowded it is: evicting a call that is merely slow repeats it."""
        assert not is_stuck(Head(age, spread, done), RULES)

    def test_a_paused_partition_is_crowded_enough(self) -> None:
        """Back-pressure stops reading before the window is full: the detector has to speak up below that."""
        paused_at = Watermarks().spread.high
        assert is_stuck(Head(60, paused_at, paused_at - 1), StuckRules())
