"""Names of audiences: what one may be called, and what it is called when nobody said. Pure.

Meta flags audiences whose name or description suggests a health condition or a financial status (in force since
2025-09-02, Meta's notes on Custom Audience restrictions); uploads to a flagged audience then fail with 100/1713230, for
good. A name is therefore checked before anything is created with it.
"""

import re
import unicodedata
from uuid import UUID

MAX_NAME = 200
"""Characters. Meta publishes no limit; this is the one of our own contract (`quick_settings.audience_name`)."""

SUGGESTIVE = {
    "a health condition": (
        "addiction|alcoholics?|alzheimers?|arthritis|asthma|autism|cancer|depression|diabet(?:es|ics?)|disab(?:ility|led)"
        "|eating disorder|epilepsy|hiv|infertility|medical condition|mental health|obes(?:e|ity)|pregnan(?:cy|t)|std"
    ),
    "a financial status": (
        "bad credit|bankrupt(?:cy)?|credit score|credit rating|debtors?|foreclosure|high income|household income"
        "|in debt|low income|net worth|payday loans?|poor credit"
    ),
}
"""What Meta says a name must not suggest, with words that do. Short on purpose: a hint in time, not a judgement."""

_SUGGESTIVE = {
    what: re.compile(rf"(?<![^\W_])(?:{words})(?![^\W_])".replace(" ", r"[\s_-]+"), re.IGNORECASE)
    for what, words in SUGGESTIVE.items()
}
_PERSONAL = {
    "an e-mail address": re.compile(r"[^\s@]+@[^\s@]+\.[^\s@]+"),
    "a hash": re.compile(r"\b(?:[0-9a-f]{32}|[0-9a-f]{40}|[0-9a-f]{64})\b", re.IGNORECASE),
    "a telephone number": re.compile(r"\+\d[\d ()./-]{7,}\d"),
}


_UNPRINTABLE = {"Cc", "Cf", "Co", "Cs", "Zl", "Zp"}
_JOINER = "\N{ZERO WIDTH JOINER}"
"""Emoji and several scripts are written with it."""


class NameRefused(Exception):
    """Raised when an audience may not be called so; the text says why, and repeats nothing personal."""


def default_name(origin: str) -> str:
    """What an audience is called when the customer gave no name: `Connection <uuid> Audience`.

    Args:
        origin: `connection:<uuid>` or `subscription:<uuid>`.
    """
    kind, _, identity = origin.partition(":")
    return f"{kind.capitalize()} {UUID(identity)} Audience"


def checked_name(name: str) -> str:
    """*name* in Unicode's composed form with its outer spaces gone.

    Raises:
        NameRefused: Empty, too long, unprintable, personal, or suggesting what Meta flags.
    """
    clean = unicodedata.normalize("NFC", name).strip()
    if not clean:
        raise NameRefused("the name is empty")
    if len(clean) > MAX_NAME:
        raise NameRefused(f"the name has {len(clean)} characters, at most {MAX_NAME} are allowed")
    if any(unicodedata.category(character) in _UNPRINTABLE and character != _JOINER for character in clean):
        raise NameRefused("the name holds control, invisible or direction-changing characters")
    for what, pattern in _PERSONAL.items():
        if pattern.search(clean):
            raise NameRefused(f"the name holds {what}: names are shown and logged, personal data is not")
    for what, pattern in _SUGGESTIVE.items():
        if pattern.search(clean):
            raise NameRefused(f"the name suggests {what}: Meta flags such audiences and refuses uploads to them")
    return clean
