"""Cities and states: Latin letters only.

Source: Meta's customer file documentation (CT: "a-z only", no spaces, punctuation or special characters; ST: the two
letters of a US state, elsewhere lower case without them). What an accented letter becomes the documents do not say;
Meta's uploader drops it ("São Paulo" is "sopaulo"), and so do its parameter builder and Python helper: nobody
transliterates, so neither do we. Composition (NFC) is ours: without it the dropped letter would depend on how its
accent is encoded. Digits go too, as documented; Meta's uploader keeps them.
"""

import re
import unicodedata

from connector.audience.reasons import CellReason
from connector.audience.rules.us_states import US_COUNTRIES, US_STATES

_OTHERS = re.compile(r"[^a-z]+")


def normalise_city(text: str) -> str | CellReason:
    """The Latin letters of the name. A name that is all in another script has none, which is said, not passed over."""
    return latin_letters(text) or _nothing_or(CellReason.NOT_A_CITY, text)


def normalise_state(text: str, country: str | None = None) -> str | CellReason:
    """The two-letter code of a state of the US, any other state whole.

    Without a country the name of a US state is one. Meta's uploader sends the names of US states whole, its parameter
    builder cuts all others to two letters ("bayern" to "ba"): neither is followed.
    """
    name = latin_letters(text)
    if not name:
        return _nothing_or(CellReason.NOT_A_STATE, text)
    return US_STATES.get(name, name) if country is None or country in US_COUNTRIES else name


def latin_letters(text: str) -> str:
    """What is left in lower case when all but a to z is taken away."""
    return _OTHERS.sub("", unicodedata.normalize("NFC", text).lower())


def _nothing_or(reason: CellReason, text: str) -> str | CellReason:
    return reason if any(map(str.isalnum, text)) else ""
