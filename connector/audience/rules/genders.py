"""Gender as Meta takes it: m or f. Unknown is empty, never a guess."""

from connector.audience.reasons import CellReason
from connector.audience.rules.text import WHITESPACE

_WORDS = dict.fromkeys(("m", "male", "man", "men", "boy"), "m") | dict.fromkeys(
    ("f", "female", "woman", "women", "girl"), "f"
)
"""Source: the word lists of Meta's parameter builder and Node SDK."""


def normalise_gender(text: str) -> str | CellReason:
    """m, f, or the reason why neither."""
    word = text.strip(WHITESPACE).lower()
    if not word:
        return ""
    return _WORDS.get(word, CellReason.UNKNOWN_GENDER)
