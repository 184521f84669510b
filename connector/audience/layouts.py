"""What is read from a record, as data: which place holds which key, in which form. One record is one person.

Source of the narrative layouts: shapes and precedence of the predecessor's decoders. In the dataset layout the fields
lie at the top of the record, in the legacy layout under `data`. The layout `columns` is the customer's own mapping.
"""

from collections.abc import Iterator
from dataclasses import dataclass
from functools import cached_property
from typing import Literal

from connector.audience.keys import DOB, Key, Mode
from connector.audience.rules.countries import normalise_country
from schemas.events import Layout
from schemas.match_keys import ColumnMapping

Path = tuple[str, ...]
"""Where a value stands: the member names from the record inwards."""

Target = Key | Literal["DOB"]
"""What a place is said to hold: a match key, or a whole birth date."""

NO_TYPE = ""

TAKES_NUMBERS = frozenset(
    {
        Key.PHONE,
        Key.DOBY,
        Key.DOBM,
        Key.DOBD,
        Key.EXTERN_ID,
        Key.UID,
        Key.APPUID,
        Key.PAGEUID,
        Key.LOOKALIKE_VALUE,
        Key.DATA_PROCESSING_OPTIONS_COUNTRY,
        Key.DATA_PROCESSING_OPTIONS_STATE,
    }
)
"""Keys whose value may be a whole number. Not the post code: a number has lost its leading zeros."""

TAKES_FRACTIONS = frozenset({Key.LOOKALIKE_VALUE})
"""Keys whose value may be any number."""

_PARTS: dict[str, tuple[Key, ...]] = {DOB: (Key.DOBY, Key.DOBM, Key.DOBD)}


@dataclass(frozen=True)
class TypedAs:
    """A condition: the text at `path` is one of `words`. No text at all counts as `NO_TYPE`.

    `untyped` tells whether the source answers for a field that is no object, so has no type.
    """

    path: Path
    words: frozenset[str]
    untyped: bool


@dataclass(frozen=True)
class Source:
    """A place that may hold a key.

    A place with another type than `when` asks for is somebody else's identifier: not ours to send and no reason to
    complain. `with_initial` is a first name that also gives the initial. `customs` is the country the file comes from
    (alpha-2, lower case), whose custom tells the day from the month in a date.
    """

    path: Path
    key: Target
    mode: Mode
    when: TypedAs | None = None
    with_initial: bool = False
    customs: str | None = None

    @property
    def fills(self) -> tuple[Key, ...]:
        """The match keys a value of this place gives."""
        if self.with_initial:
            return (Key.FN, Key.FI)
        return _PARTS.get(self.key) or (Key(self.key),)

    @property
    def name(self) -> str:
        """What the owner of the file calls the place."""
        return ".".join(self.path)


def column_of(path: Path) -> str:
    """The column of `Records.frame` that holds what stands at *path*: a JSON pointer, so that none is called alike."""
    return "".join("/" + step.replace("~", "~0").replace("/", "~1") for step in path)


@dataclass(frozen=True)
class Reading:
    """What is read from each record. Of sources of the same key the first usable one counts, identifiers all."""

    sources: tuple[Source, ...]
    default_country: str | None = None
    app_ids: tuple[str, ...] = ()
    page_ids: tuple[str, ...] = ()

    @cached_property
    def paths(self) -> tuple[Path, ...]:
        """Every place that is looked at, once: values in the order of the sources, then the types."""
        values = [source.path for source in self.sources]
        kinds = [source.when.path for source in self.sources if source.when is not None]
        return tuple(dict.fromkeys([*values, *kinds]))

    @cached_property
    def headers(self) -> tuple[str, ...]:
        """What the columns of a CSV or TSV file are called that hold `paths`: the order of `Table.positions`."""
        return tuple(".".join(path) for path in self.paths)

    @cached_property
    def columns(self) -> tuple[str, ...]:
        """The text columns of `Records.frame`, in the order of `paths`."""
        return tuple(map(column_of, self.paths))

    @cached_property
    def is_tree(self) -> bool:
        """Whether no place lies within another one: otherwise no schema describes such a record."""
        inner = {path[:depth] for path in self.paths for depth in range(1, len(path))}
        return inner.isdisjoint(self.paths)

    def targets(self, path: Path) -> frozenset[Target]:
        """What the sources at *path* hold; empty for the place of a type."""
        return frozenset(source.key for source in self.sources if source.path == path)


def reading_of(layout: Layout, mapping: ColumnMapping | None = None) -> Reading:
    """The reading of a layout.

    Raises:
        ValueError: The layout `columns` without a mapping, or another one with it.
    """
    match layout, mapping:
        case Layout.NARRATIVE_DATASET, None:
            return _NARRATIVE_DATASET
        case Layout.NARRATIVE_LEGACY, None:
            return _NARRATIVE_LEGACY
        case Layout.COLUMNS, ColumnMapping():
            return _mapped(mapping)
        case _:
            raise ValueError("the layout columns needs a mapping, and no other layout takes one")


def _mapped(mapping: ColumnMapping) -> Reading:
    country = _country(mapping.default_country)
    sources = tuple(
        Source(tuple(name.split(".")), column.key, column.mode, customs=country)
        for name, column in mapping.columns.items()
    )
    return Reading(sources, country, mapping.app_ids, mapping.page_ids)


def _country(code: str | None) -> str | None:
    """A default country as the rules take it: "UK" is a country too."""
    country = normalise_country(code or "")
    return country or None if isinstance(country, str) else None


def _narrative(*wrapper: str) -> Iterator[Source]:
    def typed(field: str, *words: str, untyped: bool = False) -> TypedAs:
        return TypedAs((*wrapper, field, "type"), frozenset(words), untyped)

    def source(key: Target, mode: Mode, *path: str, when: TypedAs | None = None, initial: bool = False) -> Source:
        return Source((*wrapper, *path), key, mode, when, initial)

    email = ("sha256_email",)
    device = ("adid", "idfa", NO_TYPE)
    yield source(Key.EMAIL, Mode.SHA256, "unique_id", "value", when=typed("unique_id", *email))
    yield source(Key.MADID, Mode.RAW, "unique_id", "value", when=typed("unique_id", *device, untyped=True))
    yield source(Key.EMAIL, Mode.SHA256, "hashed_email", "value", when=typed("hashed_email", *email, untyped=True))
    yield source(Key.EMAIL, Mode.SHA256, "sha256_hashed_email", "value")
    for field in ("mobile_id_unique_identifier", "android_advertising_id", "apple_idfa"):
        yield source(Key.MADID, Mode.RAW, field, "value")
    yield source(Key.FN, Mode.RAW, "person_name", "given_name", initial=True)
    yield source(Key.LN, Mode.RAW, "person_name", "family_name")
    yield source(Key.GEN, Mode.RAW, "hl7_gender", "gender")
    yield source("DOB", Mode.RAW, "birthdate")
    yield source(Key.DOBY, Mode.RAW, "birth_year")
    yield source(Key.COUNTRY, Mode.RAW, "iso_3166_1_country")


_NARRATIVE_DATASET = Reading(tuple(_narrative()))
_NARRATIVE_LEGACY = Reading(tuple(_narrative("data")))
