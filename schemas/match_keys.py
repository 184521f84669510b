"""What a column of a file means: the match keys and the mapping of a file's columns to them.

Source of the keys: Meta's reference of the `users` edge (multi-key schemas).
"""

import re
from enum import StrEnum
from typing import Annotated, Literal

from pydantic import BaseModel, ConfigDict, Field, StringConstraints, field_validator, model_validator

MAX_MAPPED_COLUMNS = 64
"""Columns one mapping may name: every chunk event carries the mapping, and there are 22 keys."""

MAX_SCOPED_IDS = 50


class MatchKey(StrEnum):
    """A match key. The order here is the order of the columns in every request."""

    EMAIL = "EMAIL"
    PHONE = "PHONE"
    GEN = "GEN"
    DOBY = "DOBY"
    DOBM = "DOBM"
    DOBD = "DOBD"
    LN = "LN"
    FN = "FN"
    FI = "FI"
    CT = "CT"
    ST = "ST"
    ZIP = "ZIP"
    COUNTRY = "COUNTRY"
    MADID = "MADID"
    EXTERN_ID = "EXTERN_ID"
    UID = "UID"
    APPUID = "APPUID"
    PAGEUID = "PAGEUID"
    LOOKALIKE_VALUE = "LOOKALIKE_VALUE"
    DATA_PROCESSING_OPTIONS = "DATA_PROCESSING_OPTIONS"
    DATA_PROCESSING_OPTIONS_COUNTRY = "DATA_PROCESSING_OPTIONS_COUNTRY"
    DATA_PROCESSING_OPTIONS_STATE = "DATA_PROCESSING_OPTIONS_STATE"


UNHASHED = frozenset(list(MatchKey)[list(MatchKey).index(MatchKey.MADID) :])
"""Sent as they are. Meta's documentation says so; some of its own tools hash device ids, which then match nobody."""

DOB = "DOB"
"""A whole birth date: no key of Meta's, it becomes DOBY, DOBM and DOBD."""


class Mode(StrEnum):
    """What a column holds: plain values that we hash, or SHA-256 hashes (64 hexadecimal digits). Never guessed."""

    RAW = "raw"
    SHA256 = "sha256"


class MappedColumn(BaseModel):
    """What one column holds."""

    model_config = ConfigDict(frozen=True, extra="ignore")

    key: MatchKey | Literal["DOB"]
    mode: Mode

    @model_validator(mode="after")
    def _hashed_only_where_meta_hashes(self) -> "MappedColumn":
        """A key that Meta takes in plain has no hashed form; a hashed birth date cannot be taken apart."""
        if self.mode is Mode.SHA256 and (self.key == DOB or self.key in UNHASHED):
            why = "a hashed date has no parts" if self.key == DOB else "Meta takes it as it is"
            raise ValueError(f"{self.key} cannot have the mode sha256: {why}")
        return self


ColumnName = Annotated[str, StringConstraints(min_length=1, max_length=256)]
ScopedId = Annotated[str, StringConstraints(pattern=r"^[0-9]{1,32}$")]
CountryCode = Annotated[str, StringConstraints(pattern=r"^[A-Za-z]{2}$")]


class ColumnMapping(BaseModel):
    """The layout `columns`: which column of the file holds which key.

    Several columns may hold the same key: the order here is their precedence. A name with dots is a path into nested
    objects, except in CSV and TSV, where it is the header as written. `default_country` (ISO alpha-2) reads phone
    numbers, states and post codes of rows without a country. `app_ids` belong to UID and APPUID, `page_ids` to PAGEUID.
    """

    model_config = ConfigDict(frozen=True, extra="ignore")

    columns: Annotated[dict[ColumnName, MappedColumn], Field(min_length=1, max_length=MAX_MAPPED_COLUMNS)]
    default_country: CountryCode | None = None
    delimiter: Annotated[str, StringConstraints(min_length=1, max_length=1)] | None = None
    app_ids: Annotated[tuple[ScopedId, ...], Field(max_length=MAX_SCOPED_IDS)] = ()
    page_ids: Annotated[tuple[ScopedId, ...], Field(max_length=MAX_SCOPED_IDS)] = ()

    @field_validator("delimiter")
    @classmethod
    def _delimits(cls, delimiter: str | None) -> str | None:
        """A delimiter is one ASCII character that is no letter, digit, quote or line end."""
        if delimiter is not None and (not delimiter.isascii() or re.match(r'[0-9A-Za-z"\r\n\x00]', delimiter)):
            raise ValueError("a delimiter is one ASCII character, and no letter, digit, quote or line end")
        return delimiter
