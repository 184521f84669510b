"""Phone numbers as E.164 digits without the plus.

Source: Meta's customer file documentation (digits only, no leading zeros, country calling code in front). The zero that
people write after the calling code, "+44 (0)20...", is no part of the number: Meta's messaging documentation drops it,
Meta's uploaders keep it and send a number that does not exist. What a number is in its country is decided by Google's
phone library, never by us. Composition (NFC) is ours, as for names.
"""

import re
import unicodedata

import phonenumbers
from phonenumbers import NumberParseException, PhoneNumber, ValidationResult

from connector.audience.reasons import CellReason

MAX_DIGITS = 15
"""Of an E.164 number."""

_PLUS = frozenset("+\uff0b")
_PUNCTUATION = str.maketrans("", "", " -./()")
_FLOATING = re.compile(r"^(\s*\+?[0-9]+)\.0+\s*\Z")
"""`16505551212.0` is what becomes of a number in a table of floating-point numbers; its last zero is no digit of it."""


def normalise_phone(text: str, country: str | None = None) -> str | CellReason:
    """The digits of the number, calling code first.

    A number of a known *country* is read as people there write it. Without one, what already is an international number
    is read as that; of everything else only the digits are known, and they leave as Meta's documentation has it
    (`has_calling_code` tells them apart, so that somebody is told).
    """
    text = _FLOATING.sub(r"\1", _composed(text))
    digits = _digits(text).lstrip("0")
    if not digits:
        return CellReason.NOT_A_PHONE if any(map(str.isalnum, text)) else ""
    number = _international(text, country) or _national(text, country)
    if number is not None:
        return _e164(number)
    is_wrong = _region(country) is not None or not _PLUS.isdisjoint(text) or len(digits) > MAX_DIGITS
    return CellReason.NOT_A_PHONE if is_wrong else digits


def has_calling_code(text: str, country: str | None = None) -> bool:
    """Whether the country of a number is known: from *country* or from the number itself."""
    return _region(country) is not None or _international(_composed(text), None) is not None


def _composed(text: str) -> str:
    """Letters count too, as on a keypad: without this an accent of its own would leave a letter behind."""
    return unicodedata.normalize("NFC", text)


def _international(text: str, country: str | None) -> PhoneNumber | None:
    """The number *text* is when read with its calling code: written with `+` or `00`, or a valid one by its digits.

    Digits without `+` or `00` are read so only if they begin with the calling code of *country*, or if there is none.
    """
    is_international, region = _is_international(text), _region(country)
    calling_code = str(phonenumbers.country_code_for_region(region)) if region else ""
    if not is_international and not _digits(text).startswith(calling_code):
        return None
    number = _parsed("+" + _from_first_digit(text), None)
    if number is None:
        return None
    is_number = _is_possible if is_international else phonenumbers.is_valid_number
    return number if is_number(number) else None


def _national(text: str, country: str | None) -> PhoneNumber | None:
    """The number *text* is in *country*, or else a valid one elsewhere.

    By its length, not by today's numbering plan: plans change every month, and a number that is new there must not be
    taken for one of another country. Behind a trunk zero never stands a calling code.
    """
    region = _region(country)
    if region is None:
        return None
    here = _parsed(text, region)
    if here is not None and _is_possible(here):
        return here
    digits = _digits(text)
    elsewhere = None if digits.startswith("0") else _parsed("+" + digits, None)
    return elsewhere if elsewhere is not None and phonenumbers.is_valid_number(elsewhere) else None


def _parsed(text: str, region: str | None) -> PhoneNumber | None:
    try:
        # The library strips the same characters, one by one.
        return phonenumbers.parse(text.translate(_PUNCTUATION), region)
    except NumberParseException:
        return None


def _is_possible(number: PhoneNumber) -> bool:
    """Whether it has a length that numbers have there; one without an area code has not."""
    reason: int = phonenumbers.is_possible_number_with_reason(number)
    return reason == ValidationResult.IS_POSSIBLE


def _is_international(text: str) -> bool:
    """Whether it is written with `+` or `00` in front, so that the calling code follows."""
    for index, character in enumerate(text):
        if character in _PLUS:
            return True
        if character.isdecimal():
            return _digits(text[index:]).startswith("00")
    return False


def _from_first_digit(text: str) -> str:
    """From the first digit that is not zero: what stands before a calling code is no part of it."""
    for index, character in enumerate(text):
        if character.isdecimal() and unicodedata.decimal(character):
            return text[index:]
    return ""


def _digits(text: str) -> str:
    """The decimal digits of any script, as ASCII."""
    if text.isascii():
        return "".join(filter(str.isdigit, text))
    return "".join(str(unicodedata.decimal(character)) for character in text if character.isdecimal())


def _region(country: str | None) -> str | None:
    """The country as the library calls it; None when it knows no numbers of it."""
    region = country.upper() if country else None
    return region if region in phonenumbers.SUPPORTED_REGIONS else None


def _e164(number: PhoneNumber) -> str:
    return f"{number.country_code}{phonenumbers.national_significant_number(number)}"
