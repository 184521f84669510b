"""Gender as Meta takes it: m or f. Unknown is empty, never a guess."""

from connector.audience.reasons import CellReason
from connector.audience.rules.text import WHITESPACE

_WORDS = dict.fromkeys(("m", "male", "man", "men", "boy"), "m") | dict.fromkeys(
    ("f", "female", "woman", "women", "girl"), "f"
)
"""Source: the word lists of Meta's parameter builder and Node SDK."""

_NEITHER = frozenset({"unknown", "other", "undifferentiated", "u", "un", "o", "oth"})
"""Words that say, rightly, that there is no m or f to send: nothing to repair. Source: HL7's administrative gender (the
narrative layouts carry it) with its codes in versions 2 and 3."""


def normalise_gender(text: str) -> str | CellReason:
    """m, f, or the reason why neither."""
    word = text.strip(WHITESPACE).lower()
    if not word or word in _NEITHER:
        return ""
    return _WORDS.get(word, CellReason.UNKNOWN_GENDER)
