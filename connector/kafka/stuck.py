"""When the first unfinished record of a partition is given another place, so that the others are not held up by it.

Pure. A record that never ends keeps its partition's commit where it is: when the bitmap above it is full, nothing more
is read. Two signs: nearly the whole window is finished and only the head is not, or the head has been in its handler
for longer than anything can take (uForwarder's detector).
"""

from dataclasses import dataclass

from connector.kafka.bitmap import WINDOW


@dataclass(frozen=True)
class StuckRules:
    """The bounds.

    Attributes:
        head_age: Seconds a record may be in its handler.
        window: Share of the bitmap's window that lies between the head and the last record read...
        done: ...and the share of that which is finished, from which on the head is in everybody's way.
        young: Seconds a head may take however full the window is: a slow call is not a stuck one.
    """

    head_age: float = 900.0
    window: float = 0.9
    done: float = 0.98
    young: float = 60.0


@dataclass(frozen=True, slots=True)
class Head:
    """The first unfinished record of a partition: seconds in its handler, and what lies above it (offsets)."""

    age: float
    spread: int
    done_above: int


def is_stuck(head: Head, rules: StuckRules, *, window: int = WINDOW) -> bool:
    """Whether the head is to be put aside."""
    if head.age >= rules.head_age:
        return True
    crowded = head.spread > rules.window * window and head.done_above > rules.done * (head.spread - 1)
    return crowded and head.age >= rules.young
