"""Pure: hourly budgets per ad account, the usage headers that report them, and latency. Time is an argument.

Formulas and header shapes are of Meta's rate-limit reference; which call carries which header was observed in recorded
traffic: `POST …/users` has the ad-account and app headers, every other audience call the business-use-case header.
"""

import math
from collections.abc import Mapping
from dataclasses import dataclass, field
from enum import Enum

import orjson

from emulator.shapes import NUMBER, Malformed, checked, not_negative

WINDOW_MINUTES = 60
FULL_ACCESS_CALLS = 190_000
CALLS_PER_AUDIENCE = 40
LARGEST_BUDGET = 700_000
"""The custom_audience formula of the Full tier: 190,000 + 40 an audience, at most 700,000 an hour."""

EVERY_ACCOUNT = "*"
MOST_DELAY_MS = 600_000


class Meter(Enum):
    """Which usage headers an answer carries."""

    MEMBERS = "members"
    AUDIENCES = "audiences"
    PLATFORM = "platform"


@dataclass
class Limits:
    """What the operator set; the defaults are a generous real-life account without latency."""

    latency_ms: float = 0.0
    jitter_ms: float = 0.0
    time_scale: float = 1.0
    budget: dict[str, int] = field(default_factory=dict)

    def changed(self, value: object) -> "Limits":
        """These limits with what *value* names changed; `budget` is replaced as a whole.

        Raises:
            Malformed: A name or value is not understood.
        """
        names: dict[str, tuple[type, ...]] = dict.fromkeys(("latency_ms", "jitter_ms", "time_scale"), NUMBER)
        given = checked(value, {**names, "budget": (dict,)}, "limits")
        not_negative(given, "limits")
        numbers = {name: float(str(given.get(name, getattr(self, name)))) for name in names}
        if not numbers["time_scale"]:
            raise Malformed("limits.time_scale: must be more than zero")
        if max(numbers["latency_ms"], numbers["jitter_ms"]) > MOST_DELAY_MS:
            raise Malformed(f"limits: a latency above {MOST_DELAY_MS} ms is a hang; script a fault instead")
        budget = given.get("budget", self.budget)
        return Limits(**numbers, budget=_budget(budget))

    def delay(self, chance: float) -> float:
        """Seconds an answer takes; *chance* in [0, 1) places it inside the jitter."""
        return (self.latency_ms + self.jitter_ms * chance) / 1000

    def calls_an_hour(self, account: str, audiences: int) -> int:
        """The budget of an ad account: its own, everyone's, or Meta's formula."""
        formula = min(FULL_ACCESS_CALLS + CALLS_PER_AUDIENCE * audiences, LARGEST_BUDGET)
        return self.budget.get(account, self.budget.get(EVERY_ACCOUNT, formula))


def _budget(value: object) -> dict[str, int]:
    accounts: dict[str, tuple[type, ...]] = {str(name): (int,) for name in value} if isinstance(value, dict) else {}
    given = checked(value, accounts, "limits.budget")
    not_negative(given, "limits.budget")
    return {account.removeprefix("act_"): int(str(calls)) for account, calls in given.items()}


@dataclass
class HourWindow:
    """Calls of the last 60 minutes, in minutes: a rolling hour in bounded memory."""

    minutes: dict[int, int] = field(default_factory=dict)

    def add(self, now: float) -> None:
        """Count one call."""
        minute = int(now // 60)
        if minute not in self.minutes:
            self.minutes = {at: n for at, n in self.minutes.items() if at > minute - WINDOW_MINUTES}
        self.minutes[minute] = self.minutes.get(minute, 0) + 1

    def count(self, now: float) -> int:
        """Calls in the hour before *now*."""
        oldest = int(now // 60) - WINDOW_MINUTES
        return sum(n for at, n in self.minutes.items() if at > oldest)

    def minutes_until_below(self, budget: int, now: float) -> int:
        """Whole minutes until a call would be within *budget* again if nobody calls meanwhile; 0 when it is now."""
        left = self.count(now)
        current = int(now // 60)
        for at in sorted(self.minutes):
            if left < max(budget, 1):
                break
            if at > current - WINDOW_MINUTES:
                left -= self.minutes[at]
                waited = at + WINDOW_MINUTES - current
                if left < max(budget, 1):
                    return waited
        return 0


@dataclass(frozen=True)
class Usage:
    """Where an ad account stands: the percentage of its budget, and minutes of real time until it may call again."""

    account: str | None
    percent: int
    regain_minutes: int
    app_percent: int


def usage_of(
    account: str | None, window: HourWindow, budget: int, now: float, *, scale: float, app_calls: int
) -> Usage:
    """Work out the usage to report.

    Args:
        account: Ad account number, if the call has one.
        window: Its calls.
        budget: Its calls per hour.
        now: Emulated unix seconds.
        scale: Emulated seconds per real second; clients wait in real minutes, so the stated time is converted.
        app_calls: Calls of the whole app within the hour.
    """
    percent = 100 * window.count(now) // budget if budget else 100
    blocked = window.count(now) > budget
    minutes = window.minutes_until_below(budget, now) if blocked else 0
    return Usage(account, percent, math.ceil(minutes / scale), min(100, 100 * app_calls // LARGEST_BUDGET))


def usage_headers(usage: Usage, meter: Meter, *, blocked: bool) -> Mapping[str, str]:
    """The usage headers of an answer.

    Args:
        usage: What to report.
        meter: What kind of call it was.
        blocked: Whether the answer is a throttle, which always carries the business-use-case header with the time.
    """
    # Only calls are metered here, so the two time percentages repeat the call percentage of the app.
    app = {"x-app-usage": _json(dict.fromkeys(("call_count", "total_cputime", "total_time"), usage.app_percent))}
    if usage.account is None or meter is Meter.PLATFORM:
        return app
    case: dict[str, object] = {
        "type": "custom_audience",
        **dict.fromkeys(("call_count", "total_cputime", "total_time"), usage.percent),
        "estimated_time_to_regain_access": usage.regain_minutes,
    }
    business = {"x-business-use-case-usage": _json({usage.account: [case]})}
    if meter is Meter.AUDIENCES:
        return business
    account = {"x-ad-account-usage": _json({"acc_id_util_pct": usage.percent})}
    return {**account, **app, **(business if blocked else {})}


def _json(value: object) -> str:
    return orjson.dumps(value).decode()
