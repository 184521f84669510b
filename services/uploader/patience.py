"""How much has been tried for one chunk, and whether to go on. Pure: time and chance are arguments."""

from services.uploader.endings import Again, Lost
from services.uploader.retrying import GiveUp, RetryPolicy, TryAgain, decide
from services.uploader.settings import RetrySettings


class Patience:
    """The memory of one chunk's attempts; `attempt` is the number of the current one, from 1."""

    def __init__(self, settings: RetrySettings) -> None:
        self._policy = RetryPolicy(settings.attempts, settings.base, settings.cap, settings.total)
        self._throttle_patience = settings.throttle_patience
        self._failing_since: float | None = None
        self._throttled_since: float | None = None
        self._unknown_before = False
        self.attempt = 1

    def failed(self, trouble: Again, now: float, chance: float) -> TryAgain | GiveUp:
        """What follows an attempt that ended in *trouble*. An unknown answer gets one slow attempt and no other."""
        if self._failing_since is None:
            self._failing_since = now
        if trouble.unknown and self._unknown_before:
            return GiveUp("answered twice, not in the table of verdicts")
        self._unknown_before = self._unknown_before or trouble.unknown
        return decide(
            self._policy,
            attempt=self.attempt,
            elapsed=now - self._failing_since,
            chance=chance,
            not_before=trouble.not_before,
            slow=trouble.unknown,
        )

    def throttled(self, now: float) -> Lost | None:
        """Takes in a throttle answer: no attempt is spent, but not for ever.

        The time of the pause does not count against the patience with failures: Meta asked for it.
        """
        self._failing_since = None
        if self._throttled_since is None:
            self._throttled_since = now
        if now - self._throttled_since <= self._throttle_patience:
            return None
        message = f"Meta throttled this account for {now - self._throttled_since:.0f} s"
        return Lost("throttled_too_long", "throttled", message, kind="throttled")
