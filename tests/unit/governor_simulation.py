"""Hours of calls in virtual time: the governor on one side, the emulator's model of Meta's budgets on the other.

Every account has more to send than it may, from up to `at_once` callers. Nothing here sleeps; an hour of 5,000 calls
takes half a second.
"""

import heapq
import itertools
import random
from collections import Counter
from collections.abc import Callable, Mapping
from functools import partial

from connector.graph.usage import usage
from connector.graph.verdicts import DEFAULT_ACCOUNT_WAIT, Throttled, ThrottleScope
from emulator.limits import HourWindow, Meter, usage_headers, usage_of
from services.uploader.governor import Admitted, Governor, Wait

HOUR = 3_600
EPOCH = 1_700_000_017.0
"""Meta's clock when ours begins: their minutes are not each other's."""


class Meta:
    """The budgets: calls per hour of every account. `refuses` are accounts that are throttled whatever they used."""

    def __init__(self, budgets: Mapping[str, int], refuses: frozenset[str] = frozenset()) -> None:
        self._budgets = budgets
        self._windows = {account: HourWindow() for account in budgets}
        self._refuses = refuses

    def called(self, account: str, now: float) -> tuple[Mapping[str, str], bool]:
        """Counts a call; the usage headers of its answer, and whether that is a throttle."""
        window, budget = self._windows[account], self._budgets[account]
        window.add(EPOCH + now)
        number = account.removeprefix("act_")
        found = usage_of(number, window, budget, EPOCH + now, scale=1, app_calls=0)
        blocked = found.regain_minutes > 0 or account in self._refuses
        return usage_headers(found, Meter.MEMBERS, blocked=blocked), blocked

    def used(self, account: str, now: float) -> float:
        """Share of the budget that is used."""
        return self._windows[account].count(EPOCH + now) / self._budgets[account]


class Simulation:
    """A process that calls for some accounts; `calls` counts them by account and hour, `throttles` the blocks."""

    def __init__(
        self,
        budgets: Mapping[str, int],
        *,
        latency: float = 1.0,
        at_once: int = 64,
        seed: int = 1,
        refuses: frozenset[str] = frozenset(),
    ) -> None:
        self.meta = Meta(budgets, refuses)
        self.governor = Governor()
        self.now = 0.0
        self.skipped = 0.0
        self.calls: Counter[tuple[str, int]] = Counter()
        self.throttles: Counter[str] = Counter()
        self._accounts = tuple(budgets)
        self._latency, self._at_once = latency, at_once
        self._random = random.Random(seed)
        self._events: list[tuple[float, int, int, Callable[[], None]]] = []
        self._number = itertools.count()
        self._process = 0
        self._in_flight: Counter[str] = Counter()
        self.restart()

    def restart(self) -> None:
        """The process dies with all it knows; what it sent has arrived, its answers are lost."""
        self.governor = Governor()
        self._process += 1
        self._in_flight.clear()
        for account in self._accounts:
            self._later(2.0, partial(self._ask, account))

    def other_client(self, account: str, an_hour: float, begin: float, end: float) -> None:
        """Somebody else calls for *account* too, evenly."""
        for number in range(int((end - begin) / HOUR * an_hour)):
            moment = begin + number * HOUR / an_hour
            heapq.heappush(self._events, (moment, next(self._number), 0, lambda: self._called_elsewhere(account)))

    def run(self, seconds: float) -> None:
        """Virtual time passes."""
        end = self.now + seconds
        while self._events and self._events[0][0] <= end:
            self.now, _, process, event = heapq.heappop(self._events)
            if process in {0, self._process}:
                event()
        self.now = end

    def share(self, account: str, hour: int, budget: int) -> float:
        """Calls of one hour as a share of the budget."""
        return self.calls[account, hour] / budget

    def _later(self, seconds: float, event: Callable[[], None]) -> None:
        heapq.heappush(self._events, (self.now + seconds, next(self._number), self._process, event))

    def _called_elsewhere(self, account: str) -> None:
        self.meta.called(account, self.now)

    def _ask(self, account: str) -> None:
        """One caller after another asks; while none is free, or has to wait, nobody else does."""
        if self._in_flight[account] >= self._at_once:
            self._later(0.05, partial(self._ask, account))
            return
        answer = self.governor.admit(account, self.now + self.skipped)
        if isinstance(answer, Wait):
            assert 0 < answer.seconds <= HOUR
            self._later(answer.seconds, partial(self._ask, account))
            return
        self._call(answer)
        self._later(0.0, partial(self._ask, account))

    def _call(self, answer: Admitted) -> None:
        account = answer.account
        self.governor.begun(answer, self.now + self.skipped)
        headers, blocked = self.meta.called(account, self.now)
        self.calls[account, int(self.now // HOUR)] += 1
        self._in_flight[account] += 1
        latency = self._latency * (0.5 + self._random.random())
        self._later(latency, partial(self._answered, answer, headers, blocked=blocked))

    def _answered(self, place: Admitted, headers: Mapping[str, str], *, blocked: bool) -> None:
        said, now, account = usage(headers), self.now + self.skipped, place.account
        self._in_flight[account] -= 1
        self.governor.ended(place, now)
        self.governor.heard(place, said, now)
        if not blocked:
            self.governor.succeeded(place, now)
            return
        self.throttles[account] += 1
        stated = 0.0 if account in self.meta._refuses else said.stated_wait(account)
        verdict = Throttled(ThrottleScope.ACCOUNT, stated or DEFAULT_ACCOUNT_WAIT, stated=stated > 0)
        self.governor.throttled(place, verdict, now, self._random.random())
