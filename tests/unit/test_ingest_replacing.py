"""Whose turn it is in a replacement: batch 1 alone, then the others, then the last, whatever order they end in."""

from hypothesis import given
from hypothesis import strategies as st

from services.ingest.replacing import Progress, Turn, turn


class TestTurn:
    def test_nobody_before_all_is_planned(self) -> None:
        """Neither a file that is still read nor one that is missing may be left out."""
        assert Turn.NOBODY == turn(Progress(complete=False, total=3, delivered=0, first_delivered=False))

    def test_nobody_without_a_chunk(self) -> None:
        """Zero rows replace nothing."""
        assert Turn.NOBODY == turn(Progress(complete=True, total=0, delivered=0, first_delivered=False))

    @given(total=st.integers(1, 12), order=st.randoms(use_true_random=False))
    def test_every_chunk_has_its_turn(self, total: int, order: object) -> None:
        """Whatever the order in which the middle ends, the first begins alone and the last ends alone."""
        delivered: set[int] = set()
        while True:
            progress = Progress(True, total, len(delivered), 1 in delivered)
            match turn(progress):
                case Turn.FIRST:
                    assert delivered == set()
                    delivered.add(1)
                case Turn.MIDDLE:
                    waiting = [number for number in range(2, total) if number not in delivered]
                    delivered.add(order.choice(waiting))  # type: ignore[attr-defined]  # hypothesis' Random
                case Turn.LAST:
                    assert delivered == set(range(1, total))
                    delivered.add(total)
                case Turn.NOBODY:
                    assert delivered == set(range(1, total + 1))
                    return
