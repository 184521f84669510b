"""Why a record or a cell does not leave. The values are the slugs that appear in events, tables and documents."""

from enum import Enum


class RowReason(Enum):
    """Why a whole record is rejected."""

    MALFORMED_JSON = "malformed_json"
    """Not JSON, which includes invalid UTF-8, a raw NUL and half a surrogate pair."""
    NOT_AN_OBJECT = "not_an_object"
    """JSON, but a list or a bare value."""
    TOO_DEEP = "too_deep"
    """Nested deeper than 16."""
    LINE_TOO_LONG = "line_too_long"
    """Longer than 1 MiB: told by the planner, such a record is in no chunk."""
    NO_IDENTIFIER = "no_identifier"
    """Nothing in it that Meta could match a person by."""


class CellReason(Enum):
    """Why one value is left out while the rest of its record leaves.

    Not a `StrEnum`: a reason must never pass for a normalised value.
    """

    WRONG_TYPE = "wrong_type"
    """A number, a list... where text is due."""
    NOT_A_HASH = "not_a_hash"
    """Not 64 hexadecimal digits, in a place of hashed values."""
    ALREADY_HASHED = "already_hashed"
    """64 hexadecimal digits, in a place of plain values."""
    JUNK = "junk"
    """A program's word for nothing ("null", "undefined"...), or the hash of one."""
    NOT_AN_EMAIL = "not_an_email"
    NOT_A_DEVICE_ID = "not_a_device_id"
    """Not a UUID, or the all-zero one of a phone that limits tracking."""
    UNREADABLE_DATE = "unreadable_date"
    YEAR_OUT_OF_RANGE = "year_out_of_range"
    UNKNOWN_GENDER = "unknown_gender"
    UNKNOWN_COUNTRY = "unknown_country"
