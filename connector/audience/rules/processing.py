"""Data processing options: whether Meta may use a person's data only in a limited way (LDU), and by which law.

Source: Meta's documentation of data processing options. For customer lists they act in California only, and have to be
given again for every audience.
"""

import json
import re

from connector.audience.reasons import CellReason
from connector.audience.rules.text import WHITESPACE

NO_OPTIONS, LIMITED = "[]", '["LDU"]'

STATES = frozenset(range(1000, 1014))
"""California (1000) to Rhode Island (1013)."""

META_LOCATES = "0"
"""As country and as state: Meta finds out where the person is."""

_LIMITED_WORD = "ldu"
_NUMBER = re.compile(r"^([0-9]{1,4})(?:\.0+)?\Z")


def normalise_options(text: str) -> str | CellReason:
    """`[]` or `["LDU"]`, from that JSON or from the word alone."""
    trimmed = text.strip(WHITESPACE)
    if not trimmed:
        return ""
    if trimmed.lower() == _LIMITED_WORD:
        return LIMITED
    try:
        options = json.loads(trimmed)
    except (ValueError, RecursionError):
        return CellReason.NOT_AN_OPTION
    if options == []:
        return NO_OPTIONS
    words = [option.strip(WHITESPACE).lower() for option in options] if _is_words(options) else []
    return LIMITED if set(words) == {_LIMITED_WORD} else CellReason.NOT_AN_OPTION


def normalise_options_country(text: str) -> str | CellReason:
    """1 for the United States, 0 to let Meta locate the person."""
    return _one_of({0, 1}, text)


def normalise_options_state(text: str) -> str | CellReason:
    """The number of a state with such a law, or 0 to let Meta locate the person."""
    return _one_of(STATES | {0}, text)


def agreed(country: str, state: str) -> tuple[str, str]:
    """Country and state as they leave together: Meta refuses a country without a state, and a state says the country.

    What is missing is left to Meta, so that a person's limits never go with the cell.
    """
    if country and not state:
        return META_LOCATES, META_LOCATES
    if state and not country:
        return ("1" if state != META_LOCATES else META_LOCATES), state
    return country, state


def _one_of(numbers: set[int] | frozenset[int], text: str) -> str | CellReason:
    trimmed = text.strip(WHITESPACE)
    if not trimmed:
        return ""
    number = _NUMBER.match(trimmed)
    return str(int(number[1])) if number and int(number[1]) in numbers else CellReason.NOT_AN_OPTION


def _is_words(options: object) -> bool:
    return isinstance(options, list) and all(isinstance(option, str) for option in options)
