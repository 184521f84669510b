"""What Meta says about budgets, in the headers of every answer. Pure.

Shapes are of Meta's rate-limit reference; which call carries which header was observed in recorded traffic:
`POST …/users` has `x-ad-account-usage` and `x-app-usage`, every other audience call `x-business-use-case-usage`. So all
are read, always. Headers are hostile input: what cannot be read counts as nothing said.
"""

import math
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from email.utils import parsedate_to_datetime
from typing import Any

import orjson

CUSTOM_AUDIENCE = "custom_audience"
"""The business use case of all calls this connector makes; the others have budgets of their own."""

MOST_ENTRIES = 64
"""Entries of the business header that are looked at; Meta's reference says at most 32."""

MOST_PERCENT = 1_000.0
MOST_SECONDS = 86_400.0
MOST_HEADER = 64 * 1024


@dataclass(frozen=True)
class BusinessUse:
    """An entry of `x-business-use-case-usage`: whose budget (an account's number, without `act_`), and of what kind.

    `percent` is the largest of calls, CPU time and time: any of the three at 100 blocks. `regain_seconds` is Meta's own
    estimate until access returns (its header says minutes); 0 when there is none.
    """

    account: str
    kind: str
    percent: float
    regain_seconds: float = 0.0


@dataclass(frozen=True)
class Usage:
    """The usage headers of one answer.

    Attributes:
        business: What the business use cases say; may be about other accounts and kinds than the call was.
        account_percent: Of the called ad account's score, when said. 100 with a successful call is a brake, not a
            block: observed in recorded traffic.
        account_reset: Seconds until that score is back at zero; 0 when not said.
        app_percent: Of the app's budget, the largest of its parts, when said.
        retry_after: Seconds; 0 when not said.
    """

    business: tuple[BusinessUse, ...] = ()
    account_percent: float | None = None
    account_reset: float = 0.0
    app_percent: float | None = None
    retry_after: float = 0.0

    @property
    def percent(self) -> float:
        """The largest of all percentages, to be shown."""
        said = [use.percent for use in self.business]
        return max(said + [p for p in (self.account_percent, self.app_percent) if p is not None], default=0.0)

    def business_percent(self, account: str) -> float | None:
        """How much of the audience budget of *account* (`act_…`) is used, when said."""
        return max((use.percent for use in self._of(account) if use.kind == CUSTOM_AUDIENCE), default=None)

    def regain(self, account: str) -> float:
        """Seconds until *account* may make audience calls again, as Meta estimates; 0 when it says nothing."""
        return max((use.regain_seconds for use in self._of(account) if use.kind == CUSTOM_AUDIENCE), default=0.0)

    def stated_wait(self, account: str | None) -> float:
        """Seconds a throttled *account* has to wait by what the answer says; 0 when it says nothing.

        Whatever kind of budget it was that is spent. Without an account, whosever it was.
        """
        estimates = [use.regain_seconds for use in (self.business if account is None else self._of(account))]
        said = max([self.retry_after, *estimates])
        spent = self.account_percent is not None and self.account_percent >= 100
        return said or (self.account_reset if spent else 0.0)

    def _of(self, account: str) -> Iterator[BusinessUse]:
        number = account.removeprefix("act_")
        return (use for use in self.business if use.account == number)


def usage(headers: Mapping[str, str]) -> Usage:
    """The usage headers as one value; *headers* have names in lower case."""
    account = _object(headers.get("x-ad-account-usage"))
    return Usage(
        business=tuple(_business(_object(headers.get("x-business-use-case-usage")))),
        account_percent=_percent(account, "acc_id_util_pct"),
        account_reset=_seconds(account.get("reset_time_duration")),
        app_percent=_percent(_object(headers.get("x-app-usage")), "call_count", "total_cputime", "total_time"),
        retry_after=_retry_after(headers.get("retry-after", ""), headers.get("date", "")),
    )


def _object(header: str | None) -> Mapping[str, Any]:
    if not header or len(header) > MOST_HEADER:
        return {}
    try:
        document = orjson.loads(header)
    except (orjson.JSONDecodeError, UnicodeEncodeError):
        return {}
    return document if isinstance(document, dict) else {}


def _business(document: Mapping[str, Any]) -> Iterator[BusinessUse]:
    left = MOST_ENTRIES
    for account, entries in document.items():
        for entry in entries[:left] if isinstance(entries, list) else ():
            left -= 1
            if not isinstance(entry, dict) or not isinstance(entry.get("type"), str):
                continue
            percent = _percent(entry, "call_count", "total_cputime", "total_time")
            regain = _seconds(entry.get("estimated_time_to_regain_access"), unit=60.0)
            if percent is not None or regain:
                yield BusinessUse(account.removeprefix("act_"), entry["type"], percent or 0.0, regain)


def _percent(entry: Mapping[str, Any], *names: str) -> float | None:
    """The largest of the parts that are numbers; None when none is."""
    parts = [part for name in names if (part := _number(entry.get(name))) is not None]
    return min(max(parts), MOST_PERCENT) if parts else None


def _seconds(value: object, unit: float = 1.0) -> float:
    return min((_number(value) or 0.0) * unit, MOST_SECONDS)


def _number(value: object) -> float | None:
    """A JSON value as a number that can be reckoned with; Meta means nothing by a negative one."""
    if isinstance(value, bool) or not isinstance(value, int | float):
        return None
    try:
        number = float(value)
    except OverflowError:
        return None
    return number if math.isfinite(number) and number >= 0 else None


def _retry_after(said: str, date: str) -> float:
    """Seconds; a moment counts from the answer's own `Date`, so that nobody's clock matters."""
    if said.isascii() and said.strip().isdigit():
        return min(float(said.strip()[:9]), MOST_SECONDS)
    until, since = _moment(said), _moment(date)
    if until is None or since is None:
        return 0.0
    return min(max(0.0, (until - since).total_seconds()), MOST_SECONDS)


def _moment(text: str) -> datetime | None:
    try:
        moment = parsedate_to_datetime(text)
    except (ValueError, TypeError, IndexError, OverflowError):
        return None
    return moment if moment.tzinfo is not None else moment.replace(tzinfo=UTC)
