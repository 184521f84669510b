"""Halving a refused batch: every good row arrives, every bad one is found alone, and the calls are bounded."""

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass

import pytest
from hypothesis import assume, given
from hypothesis import strategies as st

from services.uploader.halving import Halving, most_calls


@dataclass(frozen=True)
class Numbers:
    """A batch of plain numbers."""

    items: tuple[int, ...]

    @property
    def rows(self) -> int:
        """How many."""
        return len(self.items)

    def halves(self) -> tuple["Numbers", "Numbers"]:
        """As `Batch.halves`: the first half is the larger one when they differ."""
        middle = (self.rows + 1) // 2
        return Numbers(self.items[:middle]), Numbers(self.items[middle:])


@dataclass
class Result:
    """What came of a search."""

    arrived: list[int]
    found: list[int]
    calls: int


def search(rows: int, refuses: Callable[[Sequence[int]], bool]) -> Result:
    """Runs a search against something that *refuses* some batches."""
    halving = Halving(Numbers(tuple(range(rows))))
    result = Result([], [], 0)
    while (part := halving.next()) is not None:
        result.calls += 1
        if refuses(part.items):
            alone = halving.refused()
            result.found += alone.items if alone else ()
        else:
            halving.taken()
            result.arrived += part.items
    return result


def with_row(bad: int) -> Callable[[Sequence[int]], bool]:
    """Refuses every batch that holds the row *bad*."""
    return lambda items: bad in items


def sizes(rows: int) -> set[int]:
    """The sizes of all parts that halving can come to."""
    found = {rows}
    while halves := {half for size in found for half in (size // 2, size - size // 2)} - found - {0}:
        found |= halves
    return found


class TestRowsAtFault:
    @given(rows=st.integers(1, 10_000), data=st.data())
    def test_one_bad_row_is_found_in_2_log2_n_plus_1_calls(self, rows: int, data: st.DataObject) -> None:
        """Alone, wherever it stands; everybody else arrives exactly once."""
        bad = data.draw(st.integers(0, rows - 1))

        result = search(rows, with_row(bad))

        assert [bad] == result.found
        assert sorted([*result.arrived, bad]) == list(range(rows))
        assert result.calls <= most_calls(rows)

    def test_among_ten_thousand_it_takes_27_calls(self) -> None:
        """The size of a full batch keeps to 2 log2(n) + 1 without rounding, wherever the bad row stands."""
        worst = max(search(10_000, with_row(bad)).calls for bad in range(0, 10_000, 97))

        assert worst <= 2 * math.log2(10_000) + 1

    @given(rows=st.integers(1, 200), bad=st.sets(st.integers(0, 199)))
    def test_any_number_of_bad_rows_is_found(self, rows: int, bad: set[int]) -> None:
        """Given the calls it takes, exactly the bad rows are named: no row is condemned that was not sent alone."""
        result = search(rows, lambda items: bool(bad.intersection(items)))

        assert sorted(bad.intersection(range(rows))) == sorted(result.found)
        assert sorted(set(range(rows)) - bad) == sorted(result.arrived)


class TestSize:
    @given(rows=st.integers(1, 10_000), limit=st.integers(1, 10_000))
    def test_a_batch_that_is_too_large_arrives_in_parts(self, rows: int, limit: int) -> None:
        """Nobody is at fault, and everybody arrives."""
        result = search(rows, lambda items: len(items) > limit)

        assert [] == result.found
        assert list(range(rows)) == sorted(result.arrived)

    @given(rows=st.integers(1, 10_000), limit=st.integers(1, 10_000))
    def test_no_part_is_divided_further_than_needed(self, rows: int, limit: int) -> None:
        """But for a limit exactly between two uneven halves, which looks like a fault of a row."""
        assume(2 * limit + 1 not in sizes(rows))

        result = search(rows, lambda items: len(items) > limit)

        assert result.calls <= max(4 * math.ceil(rows / limit) - 1, 1)

    @pytest.mark.parametrize("rows", [2_123, 7_037, 9_999])
    def test_a_limit_between_two_uneven_halves_stays_within_the_cap(self, rows: int) -> None:
        """The coincidence costs calls, not people."""
        result = search(rows, lambda items: len(items) > rows // 2)

        assert (rows, []) == (len(result.arrived), result.found)
        assert result.calls <= most_calls(rows)

    def test_a_taken_batch_is_one_call(self) -> None:
        """Nothing is halved without need."""
        assert 1 == search(10_000, lambda _: False).calls

    def test_the_whole_just_above_the_limit_is_three_calls(self) -> None:
        """The refused whole and its two halves."""
        assert 3 == search(10_000, lambda items: len(items) > 9_999).calls


class TestTheCap:
    def test_the_cap_is_the_bound_of_one_bad_row(self) -> None:
        """The cap grows with the logarithm."""
        assert (1, 3, 29) == (most_calls(1), most_calls(2), most_calls(10_000))
