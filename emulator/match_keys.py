"""Pure: the match keys of a member upload, and the schema that orders them (Meta reference: custom audience users)."""

import re
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property

import orjson

from emulator.refusals import invalid_parameter

HASHED_KEYS = (
    "EMAIL",
    "PHONE",
    "GEN",
    "DOBY",
    "DOBM",
    "DOBD",
    "LN",
    "FN",
    "FI",
    "CT",
    "ST",
    "ZIP",
    "COUNTRY",
    "F5FIRST",  # sent by Meta's Data File Uploader, not in the public list
    "F5LAST",  # same
    "EMAIL_SHA256",
    "PHONE_SHA256",
)
PLAIN_KEYS = ("EXTERN_ID", "MADID", "MOBILE_ADVERTISER_ID", "UID", "APPUID", "PAGEUID")
IDENTITY_KEYS = HASHED_KEYS + PLAIN_KEYS
"""Keys that make up who a member is, in the order digests are taken."""

ATTRIBUTE_KEYS = (
    "LOOKALIKE_VALUE",
    "DATA_PROCESSING_OPTIONS",
    "DATA_PROCESSING_OPTIONS_COUNTRY",
    "DATA_PROCESSING_OPTIONS_STATE",
)
"""Keys that say something about a member and are no part of who it is."""

HASHED = frozenset(HASHED_KEYS)
ATTRIBUTES = frozenset(ATTRIBUTE_KEYS)
KNOWN = frozenset(IDENTITY_KEYS + ATTRIBUTE_KEYS)

_HASH = re.compile(r"[0-9a-fA-F]{64}")


def is_hash(text: str) -> bool:
    """Whether *text* is a well-formed SHA-256 in hex of any case."""
    return _HASH.fullmatch(text) is not None


@dataclass(frozen=True)
class Schema:
    """The keys of a payload in row order.

    Attributes:
        keys: One or more known keys, without repetition.
        single: The style: one string (cells may stand bare) or an array. Meta types an audience by its first upload
            and refuses the other style afterwards.
    """

    keys: tuple[str, ...]
    single: bool

    @cached_property
    def text(self) -> str:
        """A stable text of the schema, for comparing schemas and inventing session ids."""
        return ",".join(self.keys)


def read_schema(value: object) -> Schema:
    """Read the `schema` of a payload.

    Raises:
        Refusal: Code 100, it is missing, empty, repeats a key or names an unknown one.
    """
    if isinstance(value, str) and value.startswith("["):
        value = _array(value)
    single = isinstance(value, str)
    keys: Sequence[object] = [value] if isinstance(value, str) else value if isinstance(value, list) else []
    if not keys:
        raise invalid_parameter("Param payload[schema] must be a string or a non-empty array of strings")
    names = tuple(key for key in keys if isinstance(key, str))
    if len(names) != len(keys) or len(set(names)) != len(names):
        raise invalid_parameter("Param payload[schema] must name each key once")
    unknown = [key for key in names if key not in KNOWN]
    if unknown:
        raise invalid_parameter(f"Param payload[schema] has an unknown key {unknown[0]!r}")
    if not any(key not in ATTRIBUTES for key in names):
        raise invalid_parameter("Param payload[schema] has no key that identifies a person")
    return Schema(names, single)


def _array(text: str) -> object:
    """An array sent as JSON text; what is none is left to fail as an unknown key."""
    try:
        return orjson.loads(text)
    except orjson.JSONDecodeError:
        return text
