"""The time, handed in where a moment is recorded, so that a test can say what time it is."""

from collections.abc import Callable
from datetime import UTC, datetime

Clock = Callable[[], datetime]


def utc_now() -> datetime:
    """The current moment, with its zone."""
    return datetime.now(UTC)
