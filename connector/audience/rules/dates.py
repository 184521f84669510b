"""Birth dates and their parts.

Source: Meta's customer file documentation (YYYY from 1900 to now, MM and DD with two digits); for whole dates the
formats of Meta's uploader. A date with a time is the calendar day as written, whatever its offset: nobody's birthday
moves with a time zone.
"""

import re
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import date

from connector.audience.reasons import CellReason
from connector.audience.rules.text import WHITESPACE

FIRST_YEAR = 1900
LATEST_YEAR = 2099
"""The latest year of birth when the caller does not say what year it is."""

_TIME = r"(?:[Tt ] ?[0-9]{1,2}:[0-9]{2}(?::[0-9]{2}(?:[.,][0-9]{1,9})?)? ?(?:[Zz]|[+-][0-9]{2}(?::?[0-9]{2})?)?)?"

DATE_PATTERN = rf"^[0-9]{{4}}-[0-9]{{2}}-[0-9]{{2}}{_TIME}$"
"""ISO 8601 and RFC 3339, in the extended form. Read by Python and by polars: ASCII only, `$` is the end of the text."""

YEAR_PATTERN = r"^[0-9]{4}(?:\.0+)?$"
"""A year; `1999.0` is what becomes of a year in a table of floating-point numbers."""

_YEAR = re.compile(YEAR_PATTERN.removesuffix("$") + r"\Z")
_ONE_OR_TWO_DIGITS = re.compile(r"^([0-9]{1,2})(?:\.0+)?\Z")

_MONTH_FIRST = frozenset({"us", "as", "fm", "gu", "mh", "mp", "ph", "pr", "pw", "um", "vi"})
_NO_CUSTOM = frozenset({"ca", "cn", "hu", "jp", "kp", "kr", "lt", "mn", "se", "tw", "za"})
"""Countries where a date that ends in its year could be either: several customs, or the year stands first.

Source of both: the date patterns of Unicode's CLDR. Everywhere else the day comes first.
"""

Date = tuple[str, str, str]
"""Year with four digits, month and day with two."""


@dataclass(frozen=True)
class _Order:
    """One of the orders in which the parts of a date are written, e.g. `DMY`, with a year of four or two digits."""

    parts: str
    year_digits: int

    def shape(self, delimiter: str) -> re.Pattern[str]:
        """How it looks with a delimiter, or with none."""
        digits = {"Y": f"{{{self.year_digits}}}", "M": "{1,2}" if delimiter else "{2}"}
        digits["D"] = digits["M"]
        day = re.escape(delimiter).join(f"(?P<{part}>[0-9]{digits[part]})" for part in self.parts)
        return re.compile(day + (_TIME if delimiter and self.year_digits == 4 else "") + r"\Z")

    def name(self, delimiter: str) -> str:
        """As people write it: `DD/MM/YYYY`."""
        return delimiter.join(part * (self.year_digits if part == "Y" else 2) for part in self.parts)


_ORDERS = tuple(_Order(parts, digits) for digits in (4, 2) for parts in ("YMD", "MDY", "DMY"))
_FORMATS = {
    delimiter: tuple((order.shape(delimiter), order.name(delimiter)) for order in _ORDERS)
    for delimiter in ("-", "/", ".", "")
}
"""By delimiter. Source: the list of Meta's uploader, which has all of these but the dots; its user says which one a
file is in."""


def normalise_date(text: str, *, this_year: int = LATEST_YEAR, country: str | None = None) -> Date | CellReason | None:
    """Year, month and day as Meta wants them; None when there is nothing.

    A date is read in every format it fits. If that gives one possible birthday, it is that. If several, the custom of
    the *country* the file comes from (alpha-2, lower case) decides whether the month or the day stands first; without
    one nothing is guessed. Years of two digits up to this year's are of this century, as in Meta's uploader.
    """
    trimmed = text.strip(WHITESPACE)
    if not trimmed:
        return None
    real = [(day, name) for day, name in _readings(trimmed, this_year) if _is_real(day)]
    possible = [(day, name) for day, name in real if FIRST_YEAR <= int(day[0]) <= this_year]
    if not possible:
        return CellReason.YEAR_OUT_OF_RANGE if real else CellReason.UNREADABLE_DATE
    days = {day for day, _ in possible}
    if len(days) > 1:
        days = {day for day, name in possible if not name.startswith(_unusual_start(country))}
    return days.pop() if len(days) == 1 else CellReason.AMBIGUOUS_DATE


def formats_of(text: str, *, this_year: int = LATEST_YEAR) -> tuple[str, ...]:
    """The formats in which *text* is a possible birthday, e.g. `("MM/DD/YYYY", "DD/MM/YYYY")`; none when it is none."""
    readings = _readings(text.strip(WHITESPACE), this_year)
    return tuple(name for day, name in readings if _is_real(day) and FIRST_YEAR <= int(day[0]) <= this_year)


def normalise_year(text: str, *, this_year: int) -> str | CellReason:
    """Four digits."""
    trimmed = text.strip(WHITESPACE)
    if not trimmed:
        return ""
    if not _YEAR.match(trimmed):
        return CellReason.UNREADABLE_DATE
    return trimmed[:4] if FIRST_YEAR <= int(trimmed[:4]) <= this_year else CellReason.YEAR_OUT_OF_RANGE


def normalise_month(text: str) -> str | CellReason:
    """Two digits, 01 to 12."""
    return _two_digits(text, 12)


def normalise_day(text: str) -> str | CellReason:
    """Two digits, 01 to 31."""
    return _two_digits(text, 31)


def _readings(trimmed: str, this_year: int) -> Iterator[tuple[Date, str]]:
    delimiter = next((character for character in trimmed if not character.isdigit()), "")
    for shape, name in _FORMATS.get(delimiter, ()):
        found = shape.match(trimmed)
        if found:
            yield (_full_year(found["Y"], this_year), found["M"].zfill(2), found["D"].zfill(2)), name


def _unusual_start(country: str | None) -> tuple[str, ...]:
    """How the names of formats begin that nobody uses in *country*."""
    if country is None or country in _NO_CUSTOM:
        return ()
    return ("DD",) if country in _MONTH_FIRST else ("MM",)


def _full_year(digits: str, this_year: int) -> str:
    if len(digits) == 4:
        return digits
    century = this_year // 100
    return f"{century if int(digits) <= this_year % 100 else century - 1}{digits}"


def _is_real(day: Date) -> bool:
    try:
        date(*map(int, day))
    except ValueError:
        return False
    return True


def _two_digits(text: str, last: int) -> str | CellReason:
    trimmed = text.strip(WHITESPACE)
    if not trimmed:
        return ""
    found = _ONE_OR_TWO_DIGITS.match(trimmed)
    if not found or not 1 <= int(found[1]) <= last:
        return CellReason.UNREADABLE_DATE
    return found[1].zfill(2)
