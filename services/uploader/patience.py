"""How much has been tried for one chunk, here and on its earlier hops, and what follows. Pure."""

from connector.kafka.headers import Past
from services.uploader.endings import Again
from services.uploader.retrying import GiveUp, InMemory, RetryPolicy, ToTier, after_failure

UNKNOWN = "unknown"
TRANSIENT = "transient"
THROTTLED = "throttled"


class Patience:
    """The memory of one chunk's attempts; `attempt` is the number of the current one, from 1 and over all hops.

    A throttle is no attempt and starts no clock: Meta asked for the pause, so it does not count against the chunk.
    """

    def __init__(self, policy: RetryPolicy, past: Past) -> None:
        self._policy = policy
        self._unknown_before = past.kind == UNKNOWN
        self.attempt = past.attempts + 1
        self.first_failure_at = None if past.first_failure_at_ms is None else past.first_failure_at_ms / 1_000

    @property
    def spent(self) -> int:
        """Attempts that have failed."""
        return self.attempt - 1

    def failed(self, trouble: Again, now: float, chance: float) -> InMemory | ToTier | GiveUp:
        """Takes in that the current attempt ended in *trouble* at *now* (epoch seconds); what follows.

        An unknown answer gets one slow attempt and no other, whatever number of them is left.
        """
        if self.first_failure_at is None:
            self.first_failure_at = now
        if trouble.unknown and self._unknown_before:
            return GiveUp("answered twice, not in the table of verdicts")
        self._unknown_before = trouble.unknown
        decision = after_failure(
            self._policy,
            attempt=self.attempt,
            first_failure_at=self.first_failure_at,
            now=now,
            chance=chance,
            not_before=trouble.not_before,
            slow=trouble.unknown,
        )
        if not isinstance(decision, GiveUp):
            self.attempt += 1
        return decision


def kind_of(trouble: Again) -> str:
    """The `failure-kind` of trouble that is to be tried again."""
    return UNKNOWN if trouble.unknown else TRANSIENT
