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
    INVALID_UTF8 = "invalid_utf8"
    """A line of a table that is not UTF-8: written in another encoding, or cut in the middle."""
    NUL = "nul"
    """A line of a table with a NUL character."""
    WRONG_WIDTH = "wrong_number_of_columns"
    """More or fewer values than the header has names."""
    MALFORMED_QUOTES = "malformed_quotes"
    """A quoted value without its closing quote, or with text after it."""
    NO_IDENTIFIER = "no_identifier"
    """Nothing in it that Meta could match a person by."""
    NO_VALUE = "no_value"
    """No worth of the person, for an audience that is made of it."""


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
    NOT_A_PHONE = "not_a_phone"
    """No phone number of the country it is from, or of any."""
    NOT_A_CITY = "not_a_city"
    """Without Latin letters, the only ones Meta documents for cities."""
    NOT_A_STATE = "not_a_state"
    """Without Latin letters."""
    NOT_A_POST_CODE = "not_a_post_code"
    NOT_AN_ID = "not_an_id"
    """Not the digits of an id of Meta's."""
    NOT_A_VALUE = "not_a_value"
    """Not a number of zero or more, or a number with a currency or separators."""
    NOT_AN_OPTION = "not_an_option"
    """Neither `[]` nor `["LDU"]`, or not the number of a country or state that goes with them."""
    UNREADABLE_DATE = "unreadable_date"
    AMBIGUOUS_DATE = "ambiguous_date"
    """Day and month could each be either ("03/04/1990"): a guess would be wrong for half of the world."""
    YEAR_OUT_OF_RANGE = "year_out_of_range"
    UNKNOWN_GENDER = "unknown_gender"
    UNKNOWN_COUNTRY = "unknown_country"
