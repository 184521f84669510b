"""Finding rows that Meta took as invalid without naming one. Pure; the caller makes the calls.

Meta names at most 100 invalid rows, now and then none, or not in the form they were sent. Then parts of the batch are
sent again, which changes nothing, as membership is a set, and the counts of the parts lead to the rows: one among n in
at most log2(n) + 1 calls, rounded up. They come from the account's budget and deliver nobody, so they are bounded
twice: in number, and in their share of all calls (`Allowance`). What is not found stays counted.
"""

from typing import Generic

from services.uploader.halving import Part


class Search(Generic[Part]):
    """Ask `next()` what to send, then say with `heard` how many of its rows are invalid, until there is nothing left.

    Only the first half of a part is asked about: the rest of the part's invalid rows are in the second one. But Meta
    calls its counts approximate, so a row is only found when it was counted alone.
    """

    def __init__(self, whole: Part, invalid: int) -> None:
        self.found: list[Part] = []
        self._open: list[tuple[Part, int]] = []
        self._asked: tuple[Part, Part | None, int] | None = None
        if whole.rows == 1 and invalid:
            self.found.append(whole)
        else:
            self._look_into(whole, invalid)

    def next(self) -> Part | None:
        """What to send now; None when every row was found or is innocent."""
        if not self._open:
            return None
        part, invalid = self._open.pop()
        first, second = (part, None) if part.rows == 1 else part.halves()
        self._asked = (first, second, invalid)
        return first

    def heard(self, invalid: int) -> None:
        """So many rows of what was sent are invalid."""
        if self._asked is None:
            return
        first, second, expected = self._asked
        if second is not None:
            self._look_into(second, expected - invalid)
        if first.rows > 1:
            self._look_into(first, min(invalid, expected))
        elif invalid:
            self.found.append(first)

    def _look_into(self, part: Part, invalid: int) -> None:
        if invalid > 0:
            self._open.append((part, invalid))


class Allowance:
    """Lets *share* of all calls be made for searches; the first one may be made at once."""

    def __init__(self, share: float) -> None:
        self._share = share
        self._searching = 0

    def allows(self, calls: int) -> bool:
        """Whether a search may begin, now that so many *calls* were made in all."""
        return self._searching <= self._share * calls

    def searched(self, calls: int) -> None:
        """A search took so many calls."""
        self._searching += calls
