"""★ When an account may be called. Pure: `now` and `chance` are arguments, nobody sleeps here.

Meta meters calls per ad account and per app, tells in headers how much of a budget is used, and blocks who exceeds it;
calls made while blocked count and lengthen the block. So each account has a time before which it is not called, and a
pace that slows as its budget fills. Accounts are independent: one that waits costs the others nothing. One account's
chunks lie in one partition, so the process that holds this state is the only one that calls for the account.
"""

from dataclasses import dataclass

from connector.graph.usage import Usage
from connector.graph.verdicts import Throttled, ThrottleScope

BLOCKING_PERCENT = 95.0
MAX_PAUSE = 3_600.0
"""Seconds: an account is looked at again after an hour at the latest, whatever a header said."""

SPREAD = 0.1
"""Share by which a pause is lengthened at random, so that not everybody comes back in the same moment."""

PACES = ((95.0, 2.0), (90.0, 1.0), (75.0, 0.25))
"""Largest usage percentage → seconds between two calls. 100 % on a successful call is a brake, not a block: recorded
traffic shows accounts at 100 that go on working."""


@dataclass
class _Account:
    paused_until: float = 0.0
    next_call: float = 0.0
    pace: float = 0.0

    def idle(self, now: float) -> bool:
        """Whether forgetting it changes nothing."""
        return not self.pace and max(self.paused_until, self.next_call) <= now


class Governor:
    """The pauses and paces of all accounts this process calls for; those with neither are not kept."""

    def __init__(self) -> None:
        self._accounts: dict[str, _Account] = {}
        self._app_paused_until = 0.0

    def __repr__(self) -> str:  # type: ignore[explicit-override]  # typing.override needs Python 3.12
        accounts = ", ".join(
            f"{name} until={state.paused_until:g} pace={state.pace:g}" for name, state in self._accounts.items()
        )
        return f"<Governor app until={self._app_paused_until:g} [{accounts}]>"

    def admit(self, account: str, now: float) -> float:
        """0 when *account* may be called now, and then counts the call; otherwise the seconds until asking again.

        Who is admitted takes the next place in the account's pace, so of many that wait exactly one gets through.
        """
        state = self._accounts.get(account)
        wait = max(self.paused(account, now), state.next_call - now if state else 0.0)
        if wait > 0:
            return wait
        if state is not None:
            state.next_call = now + state.pace
        return 0.0

    def paused(self, account: str, now: float) -> float:
        """Seconds for which *account* is not to be called at all; 0 when it is not paused, whatever its pace."""
        state = self._accounts.get(account)
        until = max(self._app_paused_until, state.paused_until if state else 0.0)
        return max(0.0, until - now)

    def heard(self, account: str, usage: Usage, now: float) -> None:
        """Takes in the usage headers of an answer, of a success or not."""
        state = self._accounts.setdefault(account, _Account())
        state.pace = next((pace for percent, pace in PACES if usage.percent >= percent), 0.0)
        if usage.regain_seconds and usage.percent >= BLOCKING_PERCENT:
            self._pause(account, usage.regain_seconds, now)
        if state.idle(now):
            del self._accounts[account]

    def throttled(self, account: str, verdict: Throttled, now: float, chance: float) -> float:
        """Takes in a throttle answer, which counts even when the headers say 0 %; gives the pause in seconds."""
        seconds = min(verdict.wait_seconds * (1 + SPREAD * chance), MAX_PAUSE)
        if verdict.scope is ThrottleScope.APP:
            self._app_paused_until = max(self._app_paused_until, now + seconds)
        else:
            self._pause(account, seconds, now)
        return seconds

    def _pause(self, account: str, seconds: float, now: float) -> None:
        state = self._accounts.setdefault(account, _Account())
        state.paused_until = max(state.paused_until, now + min(seconds, MAX_PAUSE))
