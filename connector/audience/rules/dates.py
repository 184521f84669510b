"""Birth dates and their parts.

Source: Meta's customer file documentation (YYYY from 1900 to now, MM and DD with two digits). A date with a time is the
calendar day as written, whatever its offset: nobody's birthday moves with a time zone.
"""

import re
from datetime import date

from connector.audience.reasons import CellReason
from connector.audience.rules.text import WHITESPACE

FIRST_YEAR = 1900
LATEST_YEAR = 2099
"""The latest year of birth when the caller does not say what year it is."""

DATE_PATTERN = (
    r"^[0-9]{4}-[0-9]{2}-[0-9]{2}"
    r"(?:[Tt ][0-9]{2}:[0-9]{2}(?::[0-9]{2}(?:[.,][0-9]{1,9})?)? ?(?:[Zz]|[+-][0-9]{2}(?::?[0-9]{2})?)?)?$"
)
"""ISO 8601 and RFC 3339, in the extended form. Read by Python and by polars: ASCII only, `$` is the end of the text."""

YEAR_PATTERN = r"^[0-9]{4}(?:\.0+)?$"
"""A year; `1999.0` is what becomes of a year in a table of floating-point numbers."""

_DATE = re.compile(DATE_PATTERN.removesuffix("$") + r"\Z")
_YEAR = re.compile(YEAR_PATTERN.removesuffix("$") + r"\Z")
_ONE_OR_TWO_DIGITS = re.compile(r"^[0-9]{1,2}\Z")


def normalise_date(text: str, *, this_year: int) -> tuple[str, str, str] | CellReason | None:
    """Year, month and day as Meta wants them; None when there is nothing."""
    trimmed = text.strip(WHITESPACE)
    if not trimmed:
        return None
    if not _DATE.match(trimmed):
        return CellReason.UNREADABLE_DATE
    year, month, day = trimmed[:4], trimmed[5:7], trimmed[8:10]
    if not FIRST_YEAR <= int(year) <= this_year:
        return CellReason.YEAR_OUT_OF_RANGE
    try:
        date(int(year), int(month), int(day))
    except ValueError:
        return CellReason.UNREADABLE_DATE
    return year, month, day


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


def _two_digits(text: str, last: int) -> str | CellReason:
    trimmed = text.strip(WHITESPACE)
    if not trimmed:
        return ""
    if not _ONE_OR_TWO_DIGITS.match(trimmed) or not 1 <= int(trimmed) <= last:
        return CellReason.UNREADABLE_DATE
    return trimmed.zfill(2)
