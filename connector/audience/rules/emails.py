"""E-mail addresses as plain text."""

import re
import unicodedata

from connector.audience.reasons import CellReason
from connector.audience.rules.text import WHITESPACE

_ADDRESS = re.compile(r"^[^\s@]+@[^\s@]+\Z")


def normalise_email(text: str) -> str | CellReason:
    """Trimmed, composed (NFC), lower case. Dots and plus tags stay: Meta folds neither.

    Source: Meta's customer file documentation; the composed form is ours, so that one address has one hash.
    """
    email = unicodedata.normalize("NFC", text.strip(WHITESPACE)).lower()
    if not email:
        return ""
    return email if _ADDRESS.match(email) else CellReason.NOT_AN_EMAIL
