"""★ When an account may be called. Pure: `now` and `chance` are arguments, nobody sleeps here.

Meta meters calls per ad account and per app, tells in headers how much of a budget is used, and blocks who exceeds it;
calls made while blocked count and lengthen the block. So each account has a time before which it is not called, and a
pace that slows as its budget fills. Accounts are independent: one that waits costs the others nothing. One account's
chunks lie in one partition, so the process that holds this state is the only one that calls for the account.
"""

from dataclasses import dataclass

from connector.graph.protocol import Usage
from connector.graph.verdicts import Throttled, ThrottleScope

BLOCKING_PERCENT = 95.0
MAX_PAUSE = 3_600.0
"""Seconds: an account is looked at again after an hour at the latest, whatever a header said."""

PACES = ((95.0, 2.0), (90.0, 1.0), (75.0, 0.25))
"""Largest usage percentage → seconds between two calls. 100 % on a successful call is a brake, not a block: recorded
traffic shows accounts at 100 that go on working."""


@dataclass
class _Account:
    not_before: float = 0.0
    pace: float = 0.0


class Governor:
    """The pauses and paces of all accounts this process calls for."""

    def __init__(self) -> None:
        self._accounts: dict[str, _Account] = {}
        self._app_not_before = 0.0

    def __repr__(self) -> str:  # type: ignore[explicit-override]  # typing.override needs Python 3.12
        paused = {name: state.not_before for name, state in self._accounts.items()}
        return f"<Governor accounts={paused} app={self._app_not_before}>"

    def wait(self, account: str, now: float) -> float:
        """Seconds until *account* may be called; 0 when it may now."""
        state = self._accounts.get(account)
        not_before = max(self._app_not_before, state.not_before if state else 0.0)
        return max(0.0, not_before - now)

    def admitted(self, account: str, now: float) -> None:
        """Takes note of a call being made: the next one keeps the distance that the account's pace asks for."""
        state = self._accounts.get(account)
        if state is not None and state.pace:
            state.not_before = max(state.not_before, now) + state.pace

    def heard(self, account: str, usage: Usage, now: float) -> None:
        """Takes in the usage headers of an answer, a success or not."""
        state = self._accounts.setdefault(account, _Account())
        state.pace = next((pace for percent, pace in PACES if usage.percent >= percent), 0.0)
        if usage.regain_seconds and usage.percent >= BLOCKING_PERCENT:
            self._pause(state, usage.regain_seconds, now)

    def throttled(self, account: str, verdict: Throttled, now: float, chance: float) -> float:
        """Takes in a throttle answer; the pause in seconds, a little longer than asked: not all come back at once."""
        seconds = min(verdict.wait_seconds * (1 + chance / 10), MAX_PAUSE)
        if verdict.scope is ThrottleScope.APP:
            self._app_not_before = max(self._app_not_before, now + seconds)
        else:
            self._pause(self._accounts.setdefault(account, _Account()), seconds, now)
        return seconds

    @staticmethod
    def _pause(state: _Account, seconds: float, now: float) -> None:
        state.not_before = max(state.not_before, now + min(seconds, MAX_PAUSE))
