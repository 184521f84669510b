"""What the owner of a file is told to fix. Words for people: the names of their columns and counts, never a value."""

from collections.abc import Mapping

from connector.audience.keys import Mode
from connector.audience.prepare import ColumnAccount
from connector.audience.reasons import CellReason, RowReason

MIXED_MODES, EMPTY_COLUMN = "mixed_modes", "empty_column"
PHONE_WITHOUT_COUNTRY, MIXED_DATES = "phone_without_country", "mixed_dates"
TOO_MANY_CELLS, TOO_MANY_ROWS = "too_many_cells_refused", "too_many_rows_rejected"
"""Kinds of warnings besides the reasons of cells and rows."""

_ABOUT_CELLS: dict[str, str] = {
    CellReason.WRONG_TYPE.value: (
        "{count} values of {column} are numbers, lists or objects where text is due. Write them as text: as a number, "
        "a post code loses its leading zeros."
    ),
    CellReason.NOT_A_HASH.value: (
        'The values of {column} are not SHA-256 hashes, but the mapping says "sha256". If they are plain, say '
        '"mode": "raw" and they are hashed here; if they are MD5 or SHA-1, export them plain or as SHA-256.'
    ),
    CellReason.ALREADY_HASHED.value: (
        'The values of {column} are SHA-256 hashes already, but the mapping says "raw". Say "mode": "sha256" for '
        "{column}: a hash of a hash matches nobody."
    ),
    MIXED_MODES: (
        "{column} mixes plain values and SHA-256 hashes: {count} of {filled} are not {mode}, as the mapping says. Put "
        "plain values and hashes in a column each; both columns may be mapped to {key}."
    ),
    CellReason.JUNK.value: (
        '{count} cells of {column} hold a program\'s word for nothing ("null", "None", "NaN"...) or the hash of one. '
        "Let the export leave them empty, before anything is hashed."
    ),
    CellReason.NOT_AN_EMAIL.value: (
        "{count} values of {column} are no e-mail addresses. Check that {column} is the column of addresses, one in a "
        "cell, and not hashed in another way than SHA-256."
    ),
    CellReason.NOT_A_DEVICE_ID.value: (
        "{count} values of {column} are no device ids, or the all-zero id that phones with limited tracking share. "
        "Give the advertising id as a UUID, in plain, and leave the all-zero one out."
    ),
    CellReason.NOT_A_PHONE.value: (
        "{count} values of {column} are no phone numbers of their country. Check the country of the rows and the "
        "default country; write one number in a cell, best with + and calling code."
    ),
    PHONE_WITHOUT_COUNTRY: (
        "{count} numbers of {column} say no country, so they will hardly match. Map a column of countries, set "
        '"default_country" in the mapping, or write the numbers with + and calling code.'
    ),
    CellReason.NOT_A_CITY.value: (
        "{count} values of {column} have no Latin letters, the only ones Meta takes in a city. Give the Latin spelling "
        "or take {column} out of the mapping."
    ),
    CellReason.NOT_A_STATE.value: (
        "{count} values of {column} have no Latin letters. Give the two-letter code of US states and the name of "
        "others, not a number."
    ),
    CellReason.NOT_A_POST_CODE.value: (
        "{count} values of {column} are no post codes. Check that it is the right column."
    ),
    CellReason.NOT_AN_ID.value: (
        "{count} values of {column} are no ids of Meta's, which are whole numbers. An id like 1.0158e16 went through a "
        "spreadsheet that rounded it: export it as text."
    ),
    CellReason.NOT_A_VALUE.value: (
        "{count} values of {column} are no numbers of zero or more. Write them like 1234.5, without currency and "
        "without separators of thousands."
    ),
    CellReason.NOT_AN_OPTION.value: (
        '{count} values of {column} are no data processing options. Write [] or ["LDU"], as country 0 or 1, as state 0 '
        "or 1000 to 1013."
    ),
    CellReason.UNREADABLE_DATE.value: (
        "{count} values of {column} are not readable as {date}. Write YYYY-MM-DD, or year, month and day in columns of "
        "their own."
    ),
    CellReason.AMBIGUOUS_DATE.value: (
        "{count} dates of {column} can mean two days, like 03/04: day and month could each be either. Write all dates "
        'as YYYY-MM-DD, or set "default_country" in the mapping to the country whose custom they follow.{formats}'
    ),
    MIXED_DATES: (
        "{column} has dates in different formats. In such a column a date that fits several is likely to be misread. "
        "Write all dates as YYYY-MM-DD.{formats}"
    ),
    CellReason.YEAR_OUT_OF_RANGE.value: (
        "{count} years of {column} lie before 1900 or in the future. Leave a date empty where it is only the default "
        "of a database."
    ),
    CellReason.UNKNOWN_GENDER.value: (
        "{count} values of {column} are no gender Meta takes. Write m or f and leave all else empty: nobody's gender "
        "is guessed."
    ),
    CellReason.UNKNOWN_COUNTRY.value: (
        "{count} values of {column} are no countries. Write the two-letter ISO code, like US or GB."
    ),
    EMPTY_COLUMN: (
        "{column} holds nothing in any of the {count} records. Check that the file has a column or field of exactly "
        "that name."
    ),
}

_ABOUT_ROWS: dict[str, str] = {
    RowReason.MALFORMED_JSON.value: "{count} lines are no JSON. Write one JSON object a line, in UTF-8.",
    RowReason.NOT_AN_OBJECT.value: "{count} lines are JSON, but no objects. Write one JSON object a line.",
    RowReason.TOO_DEEP.value: "{count} records are nested deeper than 16 levels.",
    RowReason.LINE_TOO_LONG.value: "{count} records are longer than 1 MiB.",
    "invalid_utf8": "{count} lines are not UTF-8. Export the file in UTF-8, not in Latin-1, Windows-1252 or UTF-16.",
    "nul": "{count} lines hold a NUL character: the file is damaged or not UTF-8.",
    "wrong_number_of_columns": (
        "{count} lines have more or fewer values than the header has names. Put values that hold the delimiter in "
        "quotes."
    ),
    "malformed_quotes": (
        "{count} lines have a quote that does not close, or text behind it. Double the quotes within a quoted value."
    ),
    RowReason.NO_IDENTIFIER.value: (
        "{count} records have nothing that Meta could match a person by: an e-mail address, phone number, device id or "
        "other id, or last name with first name and one of post code, city and year of birth."
    ),
    RowReason.NO_VALUE.value: "{count} records have no value, which a value-based audience needs for everybody.",
}

_DATE_PARTS = {"DOBY": "a year (YYYY)", "DOBM": "a month (1 to 12)", "DOBD": "a day (1 to 31)"}


def advice(kind: str, column: ColumnAccount | None, count: int, formats: Mapping[str, int] | None = None) -> str:
    """What to do about *count* cells of *column*, or about *count* records."""
    if column is None:
        return _ABOUT_ROWS.get(kind, "{count} records cannot be read.").format(count=count)
    return _ABOUT_CELLS[kind].format(
        count=count,
        column=column.name,
        filled=column.filled,
        key=column.key,
        mode="plain" if column.mode is Mode.RAW else "hashes",
        date=_DATE_PARTS.get(column.key, "a date"),
        formats=_counted(formats or {}),
    )


def refusal_of_column(name: str, refused: int, filled: int, share: float) -> str:
    """Why a file is refused for a column of it."""
    return (
        f"{refused} of the {filled} values of {name} cannot be used ({refused / filled:.0%}; above {share:.0%} the "
        "file is refused). Fix the column or take it out of the mapping."
    )


def refusal_of_rows(rejected: int, records: int, share: float) -> str:
    """Why a file is refused for its records."""
    return (
        f"{rejected} of {records} records would not be sent ({rejected / records:.0%}; above {share:.0%} the file is "
        "refused)."
    )


def _counted(formats: Mapping[str, int]) -> str:
    """The formats that dates were found in, the most frequent first."""
    found = sorted(formats.items(), key=lambda entry: -entry[1])
    return f" Clear ones: {', '.join(f'{count} as {name}' for name, count in found)}." if found else ""
