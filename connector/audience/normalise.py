"""One value of one key, by the rule of that key. What the columns do for thousands at once is proven against this."""

from collections.abc import Callable
from hashlib import sha256

from connector.audience.keys import UNHASHED, Key, Mode
from connector.audience.reasons import CellReason
from connector.audience.rules.countries import normalise_country
from connector.audience.rules.dates import LATEST_YEAR, normalise_date, normalise_day, normalise_month, normalise_year
from connector.audience.rules.devices import normalise_device_id
from connector.audience.rules.digests import is_digest, normalise_digest
from connector.audience.rules.emails import normalise_email
from connector.audience.rules.genders import normalise_gender
from connector.audience.rules.ids import normalise_extern_id, normalise_meta_id
from connector.audience.rules.names import normalise_name
from connector.audience.rules.phones import normalise_phone
from connector.audience.rules.places import normalise_city, normalise_state
from connector.audience.rules.post_codes import normalise_post_code
from connector.audience.rules.processing import (
    normalise_options,
    normalise_options_country,
    normalise_options_state,
)
from connector.audience.rules.text import is_junk
from connector.audience.rules.values import normalise_value

__all__ = ["LATEST_YEAR", "digest", "normalise", "normalise_date"]

_RULES: dict[Key, Callable[[str], str | CellReason]] = {
    Key.EMAIL: normalise_email,
    Key.GEN: normalise_gender,
    Key.DOBM: normalise_month,
    Key.DOBD: normalise_day,
    Key.LN: normalise_name,
    Key.FN: normalise_name,
    Key.CT: normalise_city,
    Key.COUNTRY: normalise_country,
    Key.MADID: normalise_device_id,
    Key.EXTERN_ID: normalise_extern_id,
    Key.UID: normalise_meta_id,
    Key.APPUID: normalise_meta_id,
    Key.PAGEUID: normalise_meta_id,
    Key.LOOKALIKE_VALUE: normalise_value,
    Key.DATA_PROCESSING_OPTIONS: normalise_options,
    Key.DATA_PROCESSING_OPTIONS_COUNTRY: normalise_options_country,
    Key.DATA_PROCESSING_OPTIONS_STATE: normalise_options_state,
}

_RULES_BY_COUNTRY: dict[Key, Callable[[str, str | None], str | CellReason]] = {
    Key.PHONE: normalise_phone,
    Key.ST: normalise_state,
    Key.ZIP: normalise_post_code,
}


def normalise(
    key: Key, text: str, *, mode: Mode = Mode.RAW, country: str | None = None, this_year: int = LATEST_YEAR
) -> str | CellReason:
    """The value as it is hashed (or sent, where the key is not), "" when there is none, or why it is unusable.

    Args:
        key: Which rule.
        text: What stands in the file.
        mode: What the place holds. Keys that Meta takes in plain have one mode, raw.
        country: ISO alpha-2 in lower case, of the row or the default: for PHONE, ST and ZIP.
        this_year: Nobody is born later than this.
    """
    if key not in UNHASHED:
        if mode is Mode.SHA256:
            return normalise_digest(text)
        if is_digest(text):
            return CellReason.ALREADY_HASHED
    if is_junk(text):
        return CellReason.JUNK
    if key is Key.FI:
        name = normalise(Key.FN, text)
        return name if isinstance(name, CellReason) else name[:1]
    if key in _RULES_BY_COUNTRY:
        plain = _RULES_BY_COUNTRY[key](text, country)
    elif key is Key.DOBY:
        plain = normalise_year(text, this_year=this_year)
    else:
        plain = _RULES[key](text)
    # Punctuation around it does not make junk a name: "(null)".
    return CellReason.JUNK if isinstance(plain, str) and is_junk(plain) else plain


def digest(plain: str) -> str:
    """SHA-256 of a normalised value over its UTF-8 bytes, as Meta wants it; the empty value stays empty."""
    return sha256(plain.encode()).hexdigest() if plain else ""
