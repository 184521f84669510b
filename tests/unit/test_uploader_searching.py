"""Finding unnamed invalid rows: all of them, none besides, in few calls, and at a bounded price."""

import math
from dataclasses import dataclass

from hypothesis import given
from hypothesis import strategies as st

from services.uploader.searching import Allowance, Search


@dataclass(frozen=True)
class Rows:
    """Rows *start* to *end*."""

    start: int
    end: int

    @property
    def rows(self) -> int:
        """How many."""
        return self.end - self.start

    def halves(self) -> tuple["Rows", "Rows"]:
        """Two parts."""
        middle = (self.start + self.end) // 2
        return Rows(self.start, middle), Rows(middle, self.end)


def searched(count: int, invalid: set[int], said: int | None = None) -> tuple[set[int], int]:
    """What a search among *count* rows finds, and its calls; *said* is the count Meta gave for the whole."""
    search = Search(Rows(0, count), len(invalid) if said is None else said)
    calls = 0
    while (part := search.next()) is not None:
        calls += 1
        search.heard(len(invalid & set(range(part.start, part.end))))
    return {row.start for row in search.found}, calls


class TestSearch:
    @given(data=st.data(), count=st.integers(1, 300))
    def test_it_finds_exactly_the_invalid_rows(self, data: st.DataObject, count: int) -> None:
        """However many and wherever they are."""
        invalid = data.draw(st.sets(st.integers(0, count - 1)))

        assert invalid == searched(count, invalid)[0]

    @given(count=st.integers(1, 10_000), where=st.floats(0, 1, exclude_max=True))
    def test_one_row_takes_a_logarithm_of_calls(self, count: int, where: float) -> None:
        """15 of 10,000."""
        row = int(where * count)

        found, calls = searched(count, {row})

        assert {row} == found
        assert calls <= math.ceil(math.log2(count)) + 1

    @given(data=st.data(), count=st.integers(2, 64), said=st.integers(0, 100))
    def test_a_count_that_is_wrong_accuses_nobody(self, data: st.DataObject, count: int, said: int) -> None:
        """Meta calls it approximate: the search ends, and who it finds was counted alone."""
        invalid = data.draw(st.sets(st.integers(0, count - 1)))

        found, calls = searched(count, invalid, said)

        assert found <= invalid
        assert calls < 2 * count


class TestAllowance:
    def test_the_first_is_free_the_next_have_to_be_earned(self) -> None:
        """A search of 10 calls needs 500 others at two per cent."""
        allowance = Allowance(0.02)
        assert allowance.allows(0)
        allowance.searched(10)
        assert not allowance.allows(499)
        assert allowance.allows(500)
