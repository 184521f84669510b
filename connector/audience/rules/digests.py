"""Values that arrive hashed: SHA-256 as 64 hexadecimal digits.

Source: Meta's customer file documentation (SHA-256, lower case hexadecimal, no salt). Meta's uploaders pass upper case
through unchanged, which then matches nobody; here it is lower-cased.
"""

import re
from hashlib import sha256

from connector.audience.reasons import CellReason
from connector.audience.rules.text import JUNK_WORDS, WHITESPACE

DIGEST = re.compile(r"^[0-9a-f]{64}\Z")

JUNK_DIGESTS = frozenset(
    sha256(form.encode()).hexdigest()
    for word in ("", *JUNK_WORDS)
    for form in (word, word.upper(), word.capitalize(), "NaN" if word == "nan" else word)
)
"""Hashes of nothing. An upstream that hashes without looking sends them for every person without a value, and Meta
would match them to each other."""


def normalise_digest(text: str) -> str | CellReason:
    """Trimmed and lower-cased, if it is a digest of something."""
    digest = text.strip(WHITESPACE).lower()
    if not digest:
        return ""
    if not DIGEST.match(digest):
        return CellReason.NOT_A_HASH
    if digest in JUNK_DIGESTS:
        return CellReason.JUNK
    return digest


def is_digest(text: str) -> bool:
    """Whether *text* is 64 hexadecimal digits, whatever their case and the space around."""
    return DIGEST.match(text.strip(WHITESPACE).lower()) is not None
