"""Mobile advertising ids (Android's advertising id, Apple's IDFA)."""

import re

from connector.audience.reasons import CellReason
from connector.audience.rules.text import WHITESPACE

DEVICE_ID = re.compile(r"^([0-9a-f]{8})-?([0-9a-f]{4})-?([0-9a-f]{4})-?([0-9a-f]{4})-?([0-9a-f]{12})\Z")

NOBODY = "00000000-0000-0000-0000-000000000000"
"""What a phone tells when its owner limits ad tracking: shared by millions, so it must match nobody."""


def normalise_device_id(text: str) -> str | CellReason:
    """A UUID in lower case, missing hyphens put back.

    Source: Meta's customer file documentation (lower case, hyphens kept, not hashed).
    """
    trimmed = text.strip(WHITESPACE).lower()
    if not trimmed:
        return ""
    parts = DEVICE_ID.match(trimmed)
    if parts is None:
        return CellReason.NOT_A_DEVICE_ID
    device_id = "-".join(parts.groups())
    return CellReason.NOT_A_DEVICE_ID if device_id == NOBODY else device_id
