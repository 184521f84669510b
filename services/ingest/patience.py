"""How long a failing step is tried again: back-off with jitter, and when to give up. Pure."""

from dataclasses import dataclass


@dataclass(frozen=True)
class Patience:
    """Back-off doubles from `base` to `cap` seconds.

    A step is given up only when both are spent: `attempts` failures and `seconds` since the first of them. Either alone
    would give up on an outage of an hour, or on a hiccup of a second.
    """

    base: float = 0.5
    cap: float = 60.0
    attempts: int = 6
    seconds: float = 3 * 3600.0

    def spent(self, attempts: int, elapsed: float) -> bool:
        """Whether *attempts* failures over *elapsed* seconds are enough."""
        return attempts >= self.attempts and elapsed >= self.seconds

    def pause(self, attempts: int, chance: float, asked: float | None = None) -> float:
        """Seconds until the next try after *attempts* failures (1 or more), at most `cap`.

        Half of it is fixed and half is drawn by *chance* (0 to 1), so that those who failed together do not return
        together. *asked* is what the other side asked for (Retry-After); it is honoured up to `cap`.
        """
        backoff = min(self.cap, self.base * 2.0 ** min(attempts - 1, 32))
        return min(self.cap, max(backoff * (0.5 + 0.5 * chance), asked or 0.0))


class TryLater(Exception):
    """Raised when a step failed in a way that may pass by itself; the same step is safe to do again.

    `code` names the obstacle, `asked` is how many seconds the other side asked us to wait.
    """

    def __init__(self, code: str, message: str, asked: float | None = None) -> None:
        super().__init__(message)
        self.code = code
        self.asked = asked
