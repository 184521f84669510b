"""How much a person is worth to the advertiser, for value-based audiences.

Source: Meta's customer file documentation: a number of zero or more. Its uploader refuses zero; the documents allow it.
"""

import re
from decimal import Decimal

from connector.audience.reasons import CellReason
from connector.audience.rules.text import WHITESPACE

_NUMBER = re.compile(r"^\+?(?:[0-9]{1,15}(?:\.[0-9]{0,30})?|\.[0-9]{1,30})(?:[eE][+-]?[0-9]{1,2})?\Z")
_LARGEST = Decimal(10) ** 15
"""Above it, a number is an identifier in the wrong column."""


def normalise_value(text: str) -> str | CellReason:
    """The number in the one way JSON and people both read: no sign, no exponent, no zeros that say nothing.

    No currency and no separator of thousands: "1,234" is a different number in Berlin and in Boston.
    """
    trimmed = text.strip(WHITESPACE)
    if not trimmed:
        return ""
    if not _NUMBER.match(trimmed):
        return CellReason.NOT_A_VALUE
    number = Decimal(trimmed)
    if number >= _LARGEST:
        return CellReason.NOT_A_VALUE
    plain = format(number, "f")
    return (plain.rstrip("0").rstrip(".") if "." in plain else plain.lstrip("0")) or "0"
