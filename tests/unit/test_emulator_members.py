"""The three keepers agree with a plain set wherever they promise to."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from emulator.match_keys import Schema
from emulator.members import KEEPERS, CountedMembers, DigestedMembers, ListedMembers, Members, NotKept
from emulator.people import Batch, People, read_rows
from tests.unit.emulator_parts import hashed

EMAIL = Schema(("EMAIL",), single=False)
STEPS = st.lists(st.tuples(st.booleans(), st.lists(st.integers(0, 12), min_size=1, max_size=5)), max_size=12)


def batch(numbers: list[int]) -> Batch:
    """One row for each number."""
    return read_rows(EMAIL, [[hashed(number)] for number in numbers])


def people(numbers: list[int]) -> People:
    """The people of these numbers."""
    found = batch(numbers).people
    assert found is not None
    return found


class TestKeepers:
    @pytest.mark.parametrize("make", [DigestedMembers, ListedMembers])
    @given(steps=STEPS)
    def test_a_membership_is_a_set(self, make: type[Members], steps: list[tuple[bool, list[int]]]) -> None:
        """Adding twice, removing strangers, any order: the keeper and a set hold the same people."""
        members, model = make(), set[int]()
        for add, numbers in steps:
            (members.add if add else members.remove)(batch(numbers))
            model = model | set(numbers) if add else model - set(numbers)

        assert len(model) == len(members)
        assert [number in model for number in range(13)] == members.holds(people(list(range(13))))

    def test_counts(self) -> None:
        """The counter counts rows, repeats included, and never falls below nobody."""
        members = CountedMembers()
        members.add(batch([1, 2, 2]))
        members.remove(batch([1]))

        assert 2 == len(members)

        members.remove(batch([1, 2, 3]))

        assert 0 == len(members)

    def test_rows_keep_the_newest_attributes(self) -> None:
        """A member added again is the same member with its new customer value."""
        members = ListedMembers()
        schema = Schema(("EMAIL", "LOOKALIKE_VALUE"), single=False)
        members.add(read_rows(schema, [[hashed(1), 5]]))
        members.add(read_rows(schema, [[hashed(1), 9]]))

        assert [{"EMAIL": hashed(1), "LOOKALIKE_VALUE": 9}] == list(members.rows())

    def test_what_is_not_kept_is_said(self) -> None:
        """A question beyond what is kept names the mode that could answer it, rather than answering wrongly."""
        with pytest.raises(NotKept, match="--keep rows"):
            DigestedMembers().rows()
        with pytest.raises(NotKept, match="--keep digests"):
            CountedMembers().holds(people([1]))

    def test_the_modes_are_the_promised_ones(self) -> None:
        """`--keep` offers counts, digests and rows."""
        assert {"counts", "digests", "rows"} == set(KEEPERS)
