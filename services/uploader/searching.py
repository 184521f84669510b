"""Finding rows that Meta took as invalid without naming one. Pure; the caller makes the calls.

Meta names at most 100 invalid rows, now and then none, or not in the form they were sent. Then parts of the batch are
sent again, which changes nothing, as membership is a set, and the counts of the parts lead to the rows: one among n in
at most log2(n) calls, rounded up. They come from the account's budget and deliver nobody, so they are bounded twice: in
number, and in their share of all calls (`Allowance`). What is not found stays counted.
"""

from typing import Generic

from services.uploader.halving import Part


class Search(Generic[Part]):
    """Ask `next()` what to send, then say with `heard` how many of its rows are invalid, until there is nothing left.

    Only the first half of a part is asked about: the rest of the part's invalid rows are in the second one.
    """

    def __init__(self, whole: Part, invalid: int) -> None:
        self.found: list[Part] = []
        self._open: list[tuple[Part, int]] = []
        self._asked: tuple[Part, Part, int] | None = None
        self._take(whole, invalid)

    def next(self) -> Part | None:
        """What to send now; None when every row was found or is innocent."""
        if not self._open:
            return None
        part, invalid = self._open.pop()
        first, second = part.halves()
        self._asked = (first, second, invalid)
        return first

    def heard(self, invalid: int) -> None:
        """So many rows of what was sent are invalid."""
        if self._asked is not None:
            first, second, of_both = self._asked
            self._take(second, max(of_both - invalid, 0))
            self._take(first, min(invalid, of_both))

    def _take(self, part: Part, invalid: int) -> None:
        if invalid and part.rows == 1:
            self.found.append(part)
        elif invalid:
            self._open.append((part, invalid))


class Allowance:
    """Lets *share* of all calls be made for searches; the first one may be made at once."""

    def __init__(self, share: float) -> None:
        self._share = share
        self._calls = 0
        self._searching = 0

    def called(self) -> None:
        """A call that delivers was made."""
        self._calls += 1

    def allows(self) -> bool:
        """Whether a search may begin."""
        return self._searching <= self._share * self._calls

    def searched(self, calls: int) -> None:
        """A search took so many calls."""
        self._searching += calls
