"""The match keys of the contract, and which of them identify a person.

Source: Meta's reference of the `users` edge (multi-key schemas).
"""

from collections.abc import Collection

from schemas.match_keys import DOB, UNHASHED, Mode
from schemas.match_keys import MatchKey as Key

__all__ = ["DOB", "IDENTIFIERS", "PLACES_AND_AGE", "UNHASHED", "Key", "Mode", "identifies"]

IDENTIFIERS = (Key.EMAIL, Key.PHONE, Key.MADID, Key.EXTERN_ID, Key.UID, Key.APPUID, Key.PAGEUID)
"""Keys of which one alone identifies a person. A person may have several of one kind: each becomes a row."""

PLACES_AND_AGE = (Key.ZIP, Key.CT, Key.DOBY)
"""What makes a person of a name: without one of these too many people share it."""


def identifies(keys: Collection[str]) -> bool:
    """Whether a person with values for *keys* can be matched at all.

    One identifier, or the last name with the first (name or initial) and one of post code, city and year of birth.
    Meta counts a row with less as received and matches nobody.
    """
    if any(key in keys for key in IDENTIFIERS):
        return True
    named = Key.LN in keys and (Key.FN in keys or Key.FI in keys)
    return named and any(key in keys for key in PLACES_AND_AGE)
