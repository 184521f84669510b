"""What is kept of a stream that is read forwards: against a model that keeps single positions."""

from hypothesis import given
from hypothesis import strategies as st

from connector.files.tape import BYTES, Place, Span, Tape

SPANS = st.tuples(st.integers(0, 40), st.integers(1, 12)).map(lambda at: (at[0], at[0] + at[1]))
STEPS = st.one_of(
    st.tuples(st.just("append"), st.integers(0, 9)),
    st.tuples(st.just("take"), SPANS),
    st.tuples(st.just("drop"), st.lists(SPANS, max_size=3)),
)


def place_in(kept: set[int], position: int, span: Span) -> Place:
    """Where *span* lies, position by position."""
    inside = set(range(*span))
    if inside <= kept:
        return Place.HERE
    return Place.AHEAD if all(at >= position or at in kept for at in inside) else Place.BEHIND


@given(st.lists(STEPS, max_size=40))
def test_a_tape_is_a_set_of_positions(steps: list[tuple[str, object]]) -> None:
    """Whatever was appended, taken and forgotten: a span is here exactly when all of it is, and holds its own bytes."""
    tape, kept, position = Tape(BYTES), set[int](), 0
    for step in steps:
        match step:
            case ("append", int(length)):
                tape.append(bytes(range(position, position + length)))
                kept |= set(range(position, position + length))
                position += length
            case ("take", (int(start), int(end))):
                assert place_in(kept, position, (start, end)) is tape.place((start, end))
                if tape.place((start, end)) is Place.HERE:
                    assert bytes(range(start, end)) == b"".join(tape.take((start, end)))
                    kept -= set(range(start, end))
            case ("drop", list(wanted)):
                before = tape.unwanted(wanted)
                assert (before > 0) == tape.drop_oldest(wanted)
                gone = {at for at in kept if tape.place((at, at + 1)) is Place.BEHIND}
                assert before - tape.unwanted(wanted) == len(gone)
                assert not any(start <= at < end for at in gone for start, end in wanted)
                assert all(at < min(kept - gone, default=position) or wanted for at in gone)
                kept -= gone
        assert (len(kept), position) == (tape.weight, tape.position)
