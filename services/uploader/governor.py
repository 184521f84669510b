"""★ When an account may be called. Pure: `now` and `chance` are arguments, nobody sleeps here.

Meta meters calls per ad account and per app, tells in headers how much of a budget is used, and blocks who exceeds it;
calls made while blocked count and lengthen the block. So each account has

- a *pause*, when Meta named one or throttled;
- a *concurrency* that grows with every success and is halved by a throttle, as TCP does it;
- a *pace* that closes in on the budget without touching it (`services.uploader.pacing`).

Accounts are independent: one that waits costs the others nothing. What is said about the app counts for all of them.
One account's chunks lie in one partition, so the process that holds this state is the only one of ours that calls for
it.

The order of things for a call: `admit` until it gives a place, `begun` when the request leaves, `ended` when the answer
is there or none will come, `heard` with the answer's usage, then `succeeded` or `throttled`. A place that is not needed
after all is `ended` too.
"""

import math
from dataclasses import dataclass, field
from enum import StrEnum

from connector.graph.usage import Usage
from connector.graph.verdicts import Throttled, ThrottleScope
from services.uploader.pacing import HOUR, Pacer

MAX_PAUSE = 3_600.0
"""Seconds: an account is looked at again after an hour at the latest, whatever a header said."""

SECOND_PAUSE = 300.0
"""Seconds: a throttle after a throttle, when nobody says for how long; from there on it doubles."""

SPREAD = 0.1
"""Share by which a pause is lengthened at random, so that not everybody comes back in the same moment."""

FIRST_CONCURRENCY = 1.0
"""Calls of an account at once while nothing is known of it; a restart begins here."""

MOST_CONCURRENCY = 256.0

SILENCE = 300.0
"""Seconds without an answer after which one call goes first and alone: much may have changed, or the clock jumped."""

LOOK_AGAIN = 0.05
"""Seconds until asking again when only an answer under way can tell more."""

LOOK_AGAIN_SLOWLY = 5.0
"""The same when the budget would allow a call later, whatever the answer tells."""

LEAST_WAIT = 0.05
"""Seconds: half of what `BURST` saves up, so that nobody asks for every single token."""

SWEEP = 60.0
"""Seconds between two looks for accounts that can be forgotten."""

APP_FASTEST = 1e6
SCORE_WINDOW = (60.0, HOUR)


class Because(StrEnum):
    """Why a call has to wait."""

    ACCOUNT_PAUSED = "account_paused"
    APP_PAUSED = "app_paused"
    CONCURRENCY = "concurrency"
    BUDGET = "budget"
    APP_BUDGET = "app_budget"


@dataclass(frozen=True)
class Wait:
    """Not now: ask again after `seconds`.

    At the present pace there is a call `every` so many seconds. After `until` seconds the pace is another.
    """

    seconds: float
    reason: Because
    every: float = 0.0
    until: float = math.inf

    def behind(self, others: int) -> float:
        """Seconds until the turn of who waits behind so many *others*, as far as can be told."""
        return max(self.seconds, min(self.seconds + self.every * others, self.until))

    @property
    def paused(self) -> bool:
        """Whether no call at all may be made, because Meta said so."""
        return self.reason in {Because.ACCOUNT_PAUSED, Because.APP_PAUSED}


@dataclass(eq=False)
class Admitted:
    """A place among the calls in flight of an account; `number` and `app_number` count its call once it has begun."""

    account: str
    number: int | None = None
    app_number: int | None = None
    over: bool = False


@dataclass
class _Pause:
    """Until when, how many throttles in a row led there, and until when the last of them does."""

    until: float = -math.inf
    struck_until: float = -math.inf
    strikes: int = 0

    def left(self, now: float) -> float:
        """Seconds; never more than `MAX_PAUSE`, should the clock have gone back."""
        return min(max(0.0, self.until - now), MAX_PAUSE)

    def extend(self, seconds: float, now: float) -> None:
        """A shorter pause does not shorten a longer one: calls made while blocked lengthen the block."""
        self.until = max(self.until, now + min(seconds, MAX_PAUSE))

    def strike(self, verdict: Throttled, now: float, chance: float) -> tuple[float, bool]:
        """The pause for a throttle answer in seconds, and whether it is news.

        The calls that were in flight together are refused together: that is one throttle, not sixteen.
        """
        news = not now < self.struck_until <= now + MAX_PAUSE
        self.strikes += news
        seconds = min(_stated_or_doubled(verdict, self.strikes) * (1 + SPREAD * chance), MAX_PAUSE)
        self.extend(seconds, now)
        self.struck_until = self.until
        return seconds, news


def _stated_or_doubled(verdict: Throttled, strikes: int) -> float:
    if verdict.stated or strikes <= 1:
        return verdict.wait_seconds
    return max(2 * verdict.wait_seconds, SECOND_PAUSE) * 2.0 ** min(strikes - 2, 16)


@dataclass
class _Account:
    pause: _Pause = field(default_factory=_Pause)
    pacer: Pacer = field(default_factory=Pacer)
    concurrency: float = FIRST_CONCURRENCY
    gentle_above: float = math.inf
    """Concurrency from which it grows by one per round of calls instead of one per call."""

    may_grow: int = 0
    """Successes that still count for growing: as many calls as were under way when all of it was made use of."""

    used_at: float = -math.inf
    heard_at: float = -math.inf

    def full(self) -> bool:
        return self.pacer.in_flight >= int(self.concurrency)

    def grow(self) -> None:
        """A success. What is not made use of does not grow: it would say nothing."""
        if self.may_grow:
            self.may_grow -= 1
            step = 1.0 if self.concurrency < self.gentle_above else 1 / self.concurrency
            self.concurrency = min(self.concurrency + step, MOST_CONCURRENCY)

    def shrink(self) -> None:
        """A throttle: half of it was too much, and after the pause one call asks."""
        self.gentle_above = max(self.concurrency / 2, 1.0)
        self.concurrency, self.may_grow = 1.0, 0

    def idle(self, now: float) -> bool:
        """Whether forgetting it changes nothing: no call, no pause, and its calls have left Meta's window."""
        return not self.pacer.in_flight and now - max(self.pause.until, self.used_at) > HOUR


class Governor:
    """Pauses, concurrency and pace of all accounts this process calls for; those idle for an hour are forgotten.

    Args:
        speed: How many seconds of pauses and budgets pass in one. More than 1 only towards an emulator: an hour with
            Meta in a minute.
    """

    def __init__(self, speed: float = 1.0) -> None:
        self._speed = speed
        self._accounts: dict[str, _Account] = {}
        self._app_pause = _Pause()
        self._app = Pacer(fastest=APP_FASTEST)
        self._sweep_at = -math.inf

    def __repr__(self) -> str:  # type: ignore[explicit-override]  # typing.override needs Python 3.12
        accounts = ", ".join(
            f"{name} until={state.pause.until:g} calls={state.pacer.in_flight}/{state.concurrency:g}"
            for name, state in self._accounts.items()
        )
        return f"<Governor app until={self._app_pause.until:g} [{accounts}]>"

    def admit(self, account: str, now: float) -> Admitted | Wait:
        """A place for one call of *account*, which has to be `ended`; or how long to wait before asking again."""
        answer = self._admit(account, now * self._speed)
        if isinstance(answer, Wait):  # however fast time passes, nobody asks all the time
            seconds = max(answer.seconds / self._speed, min(answer.seconds, LEAST_WAIT))
            every, until = answer.every / self._speed, answer.until / self._speed
            return Wait(seconds, answer.reason, every, until)
        return answer

    def _admit(self, account: str, now: float) -> Admitted | Wait:
        state = self._of(account, now)
        state.used_at = now
        if (pause := self._app_pause.left(now)) > 0:
            return Wait(pause, Because.APP_PAUSED)
        if (pause := state.pause.left(now)) > 0:
            return Wait(pause, Because.ACCOUNT_PAUSED)
        if now - state.heard_at > SILENCE and not state.pacer.in_flight:
            state.concurrency = FIRST_CONCURRENCY
        if state.full():
            return Wait(LOOK_AGAIN, Because.CONCURRENCY)
        if (wait := state.pacer.wait(now)) > 0:
            return _for_budget(wait, state.pacer, now, Because.BUDGET)
        if (wait := self._app.wait(now)) > 0:
            return _for_budget(wait, self._app, now, Because.APP_BUDGET)
        state.pacer.admitted()
        self._app.admitted()
        if state.full():
            state.may_grow = state.pacer.in_flight
        return Admitted(account)

    def begun(self, place: Admitted, now: float) -> None:
        """The call of *place* leaves."""
        now *= self._speed
        if place.number is None and not place.over:
            place.number = self._of(place.account, now).pacer.begun(now)
            place.app_number = self._app.begun(now)

    def ended(self, place: Admitted, now: float) -> None:
        """The call of *place* was answered, or will not be, or was not made. A second time changes nothing."""
        if place.over:
            return
        now *= self._speed
        place.over = True
        self._of(place.account, now).pacer.ended(begun=place.number is not None)
        self._app.ended(begun=place.number is not None)

    def heard(self, place: Admitted, usage: Usage, now: float) -> None:
        """Takes in the usage headers of the answer to *place*'s call, of a success or not."""
        if place.number is None or place.app_number is None:
            return
        now *= self._speed
        state = self._of(place.account, now)
        state.heard_at, pacer = now, state.pacer
        pacer.heard("business", usage.business_percent(place.account), place.number, now)
        window = min(max(usage.account_reset, SCORE_WINDOW[0]), SCORE_WINDOW[1]) if usage.account_reset else HOUR
        pacer.heard("account", usage.account_percent, place.number, now, window)
        self._app.heard("app", usage.app_percent, place.app_number, now)
        told = max(usage.regain(place.account), usage.retry_after)
        if told:
            state.pause.extend(told, now)

    def succeeded(self, place: Admitted, now: float) -> None:
        """The call of *place* was served. During a pause that says nothing: it left before."""
        now *= self._speed
        state = self._of(place.account, now)
        if state.pause.left(now) > 0 or self._app_pause.left(now) > 0:
            return
        state.heard_at = now
        state.pause.strikes = self._app_pause.strikes = 0
        state.pacer.succeeded()
        self._app.succeeded()
        state.grow()

    def throttled(self, place: Admitted, verdict: Throttled, now: float, chance: float) -> float:
        """Takes in a throttle answer, which counts even when the headers say 0 %; gives the pause in seconds."""
        now *= self._speed
        state = self._of(place.account, now)
        pause, pacer = state.pause, state.pacer
        if verdict.scope is ThrottleScope.APP:
            pause, pacer = self._app_pause, self._app
        seconds, news = pause.strike(verdict, now, chance)
        if news:
            pacer.throttled(now)
            state.shrink()
        return seconds / self._speed

    def paused(self, account: str, now: float) -> float:
        """Seconds for which *account* is not to be called at all; 0 when it is not paused, whatever its pace."""
        now *= self._speed
        state = self._accounts.get(account)
        return max(self._app_pause.left(now), state.pause.left(now) if state else 0.0) / self._speed

    def _of(self, account: str, now: float) -> _Account:
        state = self._accounts.get(account)
        if state is None:
            if abs(now - self._sweep_at) > SWEEP:
                self._sweep_at = now
                self._accounts = {name: kept for name, kept in self._accounts.items() if not kept.idle(now)}
            state = self._accounts[account] = _Account(used_at=now)
        return state


def _for_budget(wait: float, pacer: Pacer, now: float, reason: Because) -> Wait:
    """As long as an answer is under way it may change everything: nobody waits long for what it may tell."""
    longest = MAX_PAUSE if not pacer.in_flight else LOOK_AGAIN if math.isinf(wait) else LOOK_AGAIN_SLOWLY
    # A pace that is only a guess, as an account's first one is, says nothing of how long a queue will take.
    until = LOOK_AGAIN_SLOWLY if pacer.guesses(now) else pacer.changes(now)
    return Wait(min(max(wait, LEAST_WAIT), longest), reason, pacer.every, until)
