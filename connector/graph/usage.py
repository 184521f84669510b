"""What Meta says about budgets, in the headers of every answer. Pure."""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any

import orjson


@dataclass(frozen=True)
class Usage:
    """How much of the budgets is used, from the three usage headers and `Retry-After`.

    `percent` is the largest of all parts (100 with a successful call is a brake signal, not proof of a block: observed
    in recorded traffic). `regain_seconds` is Meta's own estimate until access returns (its header says minutes).
    """

    percent: float = 0.0
    regain_seconds: float = 0.0


def usage(headers: Mapping[str, str]) -> Usage:
    """The usage headers as one value; what cannot be read counts as nothing said.

    `x-business-use-case-usage` comes with all audience calls but POST users, which carries `x-ad-account-usage` and
    `x-app-usage` instead (observed in recorded traffic): so all three are read, always.
    """
    percents: list[float] = []
    regains: list[float] = []
    for entry in _business_entries(headers.get("x-business-use-case-usage")):
        percents += _numbers(entry, "call_count", "total_cputime", "total_time")
        regains += [minutes * 60 for minutes in _numbers(entry, "estimated_time_to_regain_access")]
    percents += _numbers(_object(headers.get("x-app-usage")), "call_count", "total_cputime", "total_time")
    percents += _numbers(_object(headers.get("x-ad-account-usage")), "acc_id_util_pct")
    retry_after = headers.get("retry-after", "")
    if retry_after.isascii() and retry_after.isdigit():
        regains.append(float(retry_after[:9]))
    return Usage(percent=max(percents, default=0.0), regain_seconds=max(regains, default=0.0))


def _object(header: str | None) -> Mapping[str, Any]:
    try:
        document = orjson.loads(header or "{}")
    except orjson.JSONDecodeError:
        return {}
    return document if isinstance(document, dict) else {}


def _business_entries(header: str | None) -> Iterable[Mapping[str, Any]]:
    for entries in _object(header).values():
        if isinstance(entries, list):
            yield from (entry for entry in entries if isinstance(entry, dict))


def _numbers(entry: Mapping[str, Any], *names: str) -> list[float]:
    values = (entry.get(name) for name in names)
    return [float(value) for value in values if isinstance(value, int | float) and not isinstance(value, bool)]
