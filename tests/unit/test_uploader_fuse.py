"""When the line stops: at the bounds, not before, and once."""

from hypothesis import given
from hypothesis import strategies as st

from services.uploader.fuse import Fuse, FuseBounds

BOUNDS = FuseBounds(row=5, share=0.5, window=10)


def told(ends: str, bounds: FuseBounds = BOUNDS) -> list[int]:
    """The positions in *ends* ('d' for a dead letter, 'a' for an arrival) at which the fuse blew."""
    fuse = Fuse(bounds)
    blew = []
    for position, end in enumerate(ends):
        if end == "a":
            fuse.arrived()
        elif fuse.died():
            blew.append(position)
    return blew


class TestFuse:
    def test_so_many_in_a_row(self) -> None:
        """The fifth blows it, once; an arrival in between begins a new row."""
        assert [4] == told("dddddddd")
        assert [] == told("dddda" * 2)

    def test_so_large_a_share(self) -> None:
        """More than half of the last ten, though never five in a row; not before there were ten."""
        assert [] == told("dadadadada" * 3)
        assert [9] == told("addaddadad")

    def test_it_says_why(self) -> None:
        """Whoever is woken reads how many of how many."""
        fuse = Fuse(BOUNDS)
        for _ in range(7):
            fuse.died()

        assert "5 dead letters in a row" == fuse.blown

    @given(ends=st.text("da", max_size=60))
    def test_it_blows_exactly_when_a_bound_is_passed(self, ends: str) -> None:
        """Held against the definition, whatever the order of ends."""

        def passed(seen: str) -> bool:
            last = seen[-10:]
            return seen.endswith("d") and (seen.endswith("d" * 5) or (len(last) == 10 and last.count("d") > 5))

        expected = [position for position in range(len(ends)) if passed(ends[: position + 1])]

        assert expected[:1] == told(ends)
