"""How fast one budget may be spent that is only known in percent. Pure: `now` is an argument.

Meta meters calls in a rolling window and reports, with every answer, how many percent of it are used; it says neither
how many calls that is nor when they were made. So three things are kept:

- *what a percent is*: calls made between two readings, divided by the percent they moved. A reading is rounded, so each
  pair gives a lower and an upper bound; many percent within a few minutes give a measurement. Until then the bounds are
  believed, the upper one first.
- *what is used now*: the last reading, and the calls begun since, less our own that have left the window. Of others' we
  know nothing between readings: they move a percent too, which makes it look smaller, which is right.
- *a bucket of tokens*, one a call, filled at a pace that closes in on `TARGET`: what is left is spread over
  `CLOSING` seconds, again at every reading, so that the pace dies away before the budget does. At the target the pace
  is what the window gives back; beyond it hardly anything.

At 100 % calls that succeed are a sign that the percentage is not about them (recorded traffic shows accounts that stay
there): the pace begins with a call a minute and doubles with every success, to one in two seconds.
"""

import math
from collections import deque
from dataclasses import dataclass, field

TARGET = 98.0
"""Percent. A reading is rounded down, so 98 may be almost 99; the rest is for calls that are on their way."""

STRICT = 99.0
LIMIT = 99.5
"""Percent: from STRICT on no more is spent in a window than leads to LIMIT."""

HOUR = 3_600.0
CLOSING = 20.0
"""Seconds over which what is left of a budget is spread: some times the latency of a call, or it would overshoot."""

MOST_A_SECOND = 90.0
"""Calls of one account: Meta answers 613/5044001 above 100."""

BURST = 0.1
"""Seconds of the pace that may be spent at once: who asks every few milliseconds need not."""

SATURATED_SLOWEST, SATURATED_FASTEST = 60.0, 2.0
"""Seconds between two calls at 100 %, at first and after calls that succeeded all the same."""

STEADY = 2 / 3
SETTLING = 60.0
"""Share of what the window gives back, evenly, that is spent at the target, halved every so many seconds: so usage
sinks below it again, or it turns out that the window gives nothing back."""

UNKNOWN = 10.0
FIRST_LOOK, LAST_LOOK = 180.0, 900.0
"""Percent used by calls that are not in our memory (before a restart, or others'), above which nobody knows when the
window gives them back: then a call looks, after so many seconds, each time after twice as many, to the last."""

QUICK, LONG = 60.0, 300.0
"""Seconds for which calls and percent are compared: for a bound, and for a measurement. In a longer time the window
gives back what was spent before we looked, and calls look cheaper than they are."""

UNSURE = 120.0
"""Seconds before the end of the window in which our own calls may be gone already: Meta's minutes are not ours."""

MEASURED, ENOUGH = 5.0, 20.0
"""Percent that make a measurement, and after which a new one begins."""

CHEAPEST, DEAREST = 1e7, 0.01
"""Calls per percent that are believed at most and at least."""


@dataclass
class History:
    """Our own calls of the last hour, counted by the minute: bounded memory for any number of calls."""

    begun: int = 0
    minutes: deque[tuple[int, int]] = field(default_factory=deque)
    """Minute → calls begun until its end."""

    def add(self, now: float) -> int:
        """Counts a call; its number."""
        minute = int(now // 60)
        self.begun += 1
        if self.minutes and self.minutes[-1][0] >= minute:
            self.minutes[-1] = (self.minutes[-1][0], self.begun)
        else:
            self.minutes.append((minute, self.begun))
        while len(self.minutes) > 1 and self.minutes[1][0] < minute - 61:
            self.minutes.popleft()
        return self.begun

    def gone(self, now: float, window: float) -> int:
        """How many of all calls were begun longer than *window* seconds ago: minutes count when all of them were."""
        last = int((now - window) // 60) - 1
        found = 0
        for minute, begun in self.minutes:
            if minute > last:
                break
            found = begun
        return found

    def next_gone(self, now: float, window: float) -> float:
        """Seconds until calls of ours leave the window; infinite when there are none."""
        last = int((now - window) // 60) - 1
        waits = ((minute + 1) * 60 + window - now for minute, _ in self.minutes if minute > last)
        return max(next(waits, math.inf), 0.0)


@dataclass(frozen=True)
class _Anchor:
    """A reading with which later ones are compared."""

    at: float
    percent: float
    call: int
    gone: int


@dataclass
class Gauge:
    """One percentage that Meta reports, and what was learned of the budget behind it.

    `per_percent` is in calls. `percent` was read from the answer to call number `at_call`, when `gone` calls had left
    the window. `elsewhere` of the calls since then came back without saying this percentage: they do not count for it.
    """

    window: float = HOUR
    percent: float = 0.0
    at_call: int = 0
    gone: int = 0
    elsewhere: int = 0
    heard_at: float = -math.inf
    per_percent: float = 1.0
    measured: bool = False
    saturated_pause: float = SATURATED_SLOWEST
    full_since: float = math.inf
    anchor: _Anchor | None = None

    def heard(self, percent: float, call: int, now: float, history: History) -> None:
        """Takes in a reading from the answer to call number *call*."""
        if call < self.at_call:
            return  # answers overtake each other: this one tells of earlier than what is known
        self.gone = history.gone(now, self.window)
        self._compare(percent, call, history.gone(now, self.window - UNSURE), now)
        if percent < 100:
            self.saturated_pause = SATURATED_SLOWEST
        if percent < TARGET:
            self.full_since = math.inf
        else:
            self.full_since = min(self.full_since, now)
        self.percent, self.at_call, self.heard_at, self.elsewhere = percent, call, now, 0

    def not_heard(self) -> None:
        """A call came back without this percentage."""
        self.elsewhere += 1

    def succeeded(self) -> None:
        """A call succeeded: at 100 % that is news."""
        if self.percent >= 100:
            self.saturated_pause = max(self.saturated_pause / 2, SATURATED_FASTEST)

    def throttled(self) -> None:
        """The budget was spent before we thought so: a percent is fewer calls than it seemed."""
        self.saturated_pause = SATURATED_SLOWEST
        self.per_percent = max(self.per_percent / 2, DEAREST)
        self.measured, self.anchor = False, None

    def _compare(self, percent: float, call: int, going: int, now: float) -> None:
        """Learns from two readings; *going* calls of ours may have left the window by now.

        Calls that leave make a percent look like more calls than it is. So while any do, it may only become fewer.
        """
        anchor = self.anchor
        if anchor is None or percent < anchor.percent or percent >= 100 or now - anchor.at > LONG:
            self.anchor = _Anchor(now, percent, call, self.gone)
            return
        moved, calls, quick = percent - anchor.percent, call - anchor.call, now - anchor.at <= QUICK
        alone = going == anchor.gone
        if moved >= MEASURED and alone:
            self._believe(calls / moved)
            self.measured = True
        elif moved > 1 and calls / (moved - 1) < self.per_percent:
            self._believe(calls / (moved - 1))
        elif not self.measured and quick and alone:
            self._believe(max(self.per_percent, calls / (moved + 1)))
        if moved >= ENOUGH or not (self.measured or quick):
            self.anchor = _Anchor(now, percent, call, self.gone)

    def _believe(self, calls: float) -> None:
        self.per_percent = min(max(calls, DEAREST), CHEAPEST)

    def unread(self, history: History) -> int:
        """Calls begun of which no reading tells yet."""
        return max(0, history.begun - self.at_call - self.elsewhere)

    def used(self, now: float, history: History) -> float:
        """Percent used by what is known: the last reading, the calls since, and our own that have left since."""
        left = history.gone(now, self.window) - self.gone
        return self.percent + (self.unread(history) - left) / self.per_percent

    def pace(self, now: float, history: History, *, in_flight: int, held: int) -> float:
        """Calls a second, 0 to wait for an answer; *held* of those *in_flight* are admitted and not begun."""
        unread = self.unread(history) + held
        used = self.used(now, history) + held / self.per_percent
        room = (TARGET - used) * self.per_percent
        if room >= unread + 1:  # half of what is left, on its way at once: a percent may be half of what it seems
            return room / CLOSING
        if not self.measured and used < STRICT and unread + 1 <= self.per_percent / 2:
            return CHEAPEST  # half as many calls as have cost less than a percent cost less than half of one
        if in_flight and used < TARGET:
            return 0.0
        own = (history.begun - history.gone(now, self.window)) / self.per_percent
        others = min(max(self.percent - own, 1.0), 100.0)
        if self.percent >= 100 and not (self.measured and others < UNKNOWN):
            return 1 / self.saturated_pause
        full = max(0.0, now - self.full_since)
        if used < STRICT:
            known = STEADY * others * self.per_percent / self.window * math.pow(0.5, full / SETTLING)
        else:
            known = max((LIMIT - used) * self.per_percent, 1.0) / self.window
        return known if others < UNKNOWN else max(known, 1 / min(max(full, FIRST_LOOK), LAST_LOOK))


@dataclass
class Pacer:
    """The tokens of one account, or of the app: the slowest of its gauges rules.

    Attributes:
        fastest: Calls a second at most.
        held: Calls admitted and not begun.
        in_flight: Those and the begun ones that have not ended.
    """

    fastest: float = MOST_A_SECOND
    held: int = 0
    in_flight: int = 0
    history: History = field(default_factory=History)
    gauges: dict[str, Gauge] = field(default_factory=dict)
    tokens: float = 1.0
    paced: float = 0.0
    counted_at: float = -math.inf

    def wait(self, now: float) -> float:
        """Seconds until a call fits the budget; 0 when one does now. Infinite: not before an answer is heard."""
        pace = self._pace(now)
        if not pace:
            return math.inf
        most = max(1.0, pace * BURST)
        if math.isinf(self.counted_at):
            self.counted_at, self.tokens = now, most
        if pace < self.paced:
            self.tokens *= pace / self.paced  # what was saved up at a faster pace is not for a slower one
        self.tokens = min(self.tokens + max(0.0, now - self.counted_at) * pace, most)
        self.counted_at, self.paced = now, pace
        if self.tokens >= 1:
            return 0.0
        return min((1 - self.tokens) / pace, self.changes(now))

    @property
    def every(self) -> float:
        """Seconds between two calls at the last pace; 0 when there was none."""
        return 1 / self.paced if self.paced else 0.0

    def changes(self, now: float) -> float:
        """Seconds until calls of ours leave a window: from then on the pace is another."""
        waits = (self.history.next_gone(now, gauge.window) for gauge in self.gauges.values())
        return max(min(waits, default=math.inf), 1.0)

    def admitted(self) -> None:
        """A call is admitted: it takes a token and a place."""
        self.tokens -= 1
        self.held += 1
        self.in_flight += 1

    def begun(self, now: float) -> int:
        """An admitted call leaves; its number."""
        self.held -= 1
        return self.history.add(now)

    def ended(self, *, begun: bool) -> None:
        """An admitted call is over; one that never left gives its token back."""
        self.in_flight -= 1
        if not begun:
            self.held -= 1
            self.tokens += 1

    def heard(self, name: str, percent: float | None, call: int, now: float, window: float = HOUR) -> None:
        """Takes in what an answer says for one gauge; None: nothing."""
        gauge = self.gauges.get(name)
        if percent is None:
            if gauge is not None:
                gauge.not_heard()
                if now - gauge.heard_at > LONG:
                    del self.gauges[name]  # others are heard meanwhile: this one is history
            return
        if gauge is None:
            gauge = self.gauges[name] = Gauge()
        gauge.window = window
        gauge.heard(percent, call, now, self.history)

    def succeeded(self) -> None:
        """A call succeeded."""
        for gauge in self.gauges.values():
            gauge.succeeded()

    def throttled(self, now: float) -> None:
        """A budget of these is spent. The first call after the pause is free: somebody has to ask."""
        for gauge in self.gauges.values():
            gauge.throttled()
        self.tokens, self.counted_at, self.paced = 1.0, now, 0.0

    def guesses(self, now: float) -> bool:
        """Whether the gauge that rules was never measured while calls are in flight: the next answer may tell more."""
        if not self.in_flight or not self.gauges:
            return False
        return not min(self.gauges.values(), key=lambda gauge: self._pace_of(gauge, now)).measured

    def _pace(self, now: float) -> float:
        paces = (self._pace_of(gauge, now) for gauge in self.gauges.values())
        return min(self.fastest, min(paces, default=self.fastest))

    def _pace_of(self, gauge: Gauge, now: float) -> float:
        return gauge.pace(now, self.history, in_flight=self.in_flight, held=self.held)
