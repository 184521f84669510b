"""The match keys: what they are called, in which order they are sent, which are hashed, which identify a person.

Source: Meta's reference of the `users` edge (multi-key schemas). `LOOKALIKE_VALUE` and the like join with their rules.
"""

from collections.abc import Collection
from enum import StrEnum


class Key(StrEnum):
    """A match key. The order here is the order of the columns in every request."""

    EMAIL = "EMAIL"
    GEN = "GEN"
    DOBY = "DOBY"
    DOBM = "DOBM"
    DOBD = "DOBD"
    LN = "LN"
    FN = "FN"
    FI = "FI"
    COUNTRY = "COUNTRY"
    MADID = "MADID"


UNHASHED = frozenset({Key.MADID})
"""Sent as they are. Meta's documentation says so; some of its own tools hash device ids, which then match nobody."""

IDENTIFIERS = (Key.EMAIL, Key.MADID)
"""Keys of which one alone identifies a person. A person may have several of one kind: each becomes a row."""


def identifies(keys: Collection[str]) -> bool:
    """Whether a person with values for *keys* can be matched at all.

    One identifier, or the last name with the first (name or initial) and the year of birth. Meta counts a row with
    less as received and matches nobody.
    """
    if any(key in keys for key in IDENTIFIERS):
        return True
    return Key.LN in keys and (Key.FN in keys or Key.FI in keys) and Key.DOBY in keys
