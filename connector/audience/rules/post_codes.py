"""Post codes.

Source: Meta's customer file documentation (lower case, no spaces; US: the first five digits; UK: area, district and
sector, of which its example "m11ae" is the whole code) and its documentation of customer information parameters (no
dash). Meta's uploader and parameter builder keep inner spaces and cut every country's code at its dash: neither is
followed. A code is text: its leading zeros count.
"""

import re
import unicodedata

from connector.audience.reasons import CellReason
from connector.audience.rules.us_states import US_COUNTRIES

MIN_LENGTH = 2
"""Source: Meta's uploader, which takes nothing shorter for a post code."""

_OTHERS = re.compile(r"[^a-z0-9-]+")
_ZIP_AND_FOUR = re.compile(r"^([0-9]{5})-[0-9]{4}\Z")
_ZIP_AND_MORE = re.compile(r"^([0-9]{5})(?:-[0-9]*|[0-9]{4})\Z")


def normalise_post_code(text: str, country: str | None = None) -> str | CellReason:
    """Lower-case letters and digits; of a US code the first five.

    Five digits, a dash and four are a US code in whatever country's row or none's: nobody else writes so. Nine digits
    without a dash are one only in a row of the US.
    """
    # NFKC: full-width digits, as Japanese keyboards write them, are digits.
    code = _OTHERS.sub("", unicodedata.normalize("NFKC", text).lower())
    is_american = country in US_COUNTRIES
    zip_code = (_ZIP_AND_MORE if is_american else _ZIP_AND_FOUR).match(code)
    plain = zip_code[1] if zip_code else code.replace("-", "")
    if len(plain) >= MIN_LENGTH:
        return plain
    return CellReason.NOT_A_POST_CODE if any(map(str.isalnum, text)) else ""
