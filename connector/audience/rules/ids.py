"""Identifiers that Meta or the advertiser has given out. They leave as they are, in plain.

Source: Meta's reference of the `users` edge; its uploader for what an id looks like (an unsigned number of 64 bits).
"""

import re

from connector.audience.reasons import CellReason
from connector.audience.rules.text import WHITESPACE

MAX_ID = 2**64 - 1

_ID = re.compile(r"^[0-9]{1,20}\Z")


def normalise_extern_id(text: str) -> str:
    """The advertiser's own id: as is, but for white space around it. Its letters keep their case."""
    return text.strip(WHITESPACE)


def normalise_meta_id(text: str) -> str | CellReason:
    """An id of Meta's (UID, APPUID, PAGEUID): digits."""
    digits = text.strip(WHITESPACE)
    if not digits:
        return ""
    return digits if _ID.match(digits) and 0 < int(digits) <= MAX_ID else CellReason.NOT_AN_ID
