"""Where in a record the match keys lie, as data. One JSON object is one person.

Source: the shapes and the precedence are those of the predecessor's decoders. In the dataset layout the fields lie at
the top of the record, in the legacy layout under `data`.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import assert_never

from connector.audience.keys import Key
from schemas.events import Layout

SHA256_EMAIL = "sha256_email"
NO_TYPE = ""


@dataclass(frozen=True)
class Source:
    """An object `{"type"?, "value"}` that may hold an identifier; `keys` tells of which key, by its type.

    `keys` is None where the field alone decides. A type that is not listed is somebody else's identifier: not ours to
    send and no reason to complain.
    """

    field: str
    key: Key | None = None
    keys: Mapping[str, Key] | None = None

    @property
    def default(self) -> Key:
        """The key that is told when the field is so wrong that it has no type."""
        if self.key is not None:
            return self.key
        keys = self.keys or {}
        return keys.get(NO_TYPE) or next(iter(keys.values()))

    def types_of(self, key: Key) -> tuple[str, ...] | None:
        """The types under which the field holds *key*: none at all, or None when the type does not matter."""
        if self.keys is None:
            return None if key is self.key else ()
        return tuple(kind for kind, meant in self.keys.items() if meant is key)


SOURCES = (
    Source("unique_id", keys={SHA256_EMAIL: Key.EMAIL, "adid": Key.MADID, "idfa": Key.MADID, NO_TYPE: Key.MADID}),
    Source("hashed_email", keys={SHA256_EMAIL: Key.EMAIL}),
    Source("sha256_hashed_email", key=Key.EMAIL),
    Source("mobile_id_unique_identifier", key=Key.MADID),
    Source("android_advertising_id", key=Key.MADID),
    Source("apple_idfa", key=Key.MADID),
)
"""In order of precedence: the k-th usable value of a key is its k-th identifier."""

NAME, GIVEN_NAME, FAMILY_NAME = "person_name", "given_name", "family_name"
GENDER_OBJECT, GENDER = "hl7_gender", "gender"
BIRTH_DATE, BIRTH_YEAR = "birthdate", "birth_year"
COUNTRY = "iso_3166_1_country"

OBJECTS: Mapping[str, tuple[str, ...]] = {
    **{source.field: ("value",) if source.keys is None else ("type", "value") for source in SOURCES},
    NAME: (GIVEN_NAME, FAMILY_NAME),
    GENDER_OBJECT: (GENDER,),
}
"""The fields that are objects, with the members we read."""

SCALARS = (BIRTH_DATE, BIRTH_YEAR, COUNTRY)
"""The fields that are single values."""


def wrapper(layout: Layout) -> str | None:
    """The field everything lies under, or None when it lies at the top."""
    match layout:
        case Layout.NARRATIVE_DATASET | Layout.COLUMNS:
            return None
        case Layout.NARRATIVE_LEGACY:
            return "data"
        case _:
            assert_never(layout)
