"""First and last names. The initial (FI) is the first character of the normalised first name.

Source: Meta's customer file documentation (lower case, no punctuation, UTF-8 kept) and, where it is silent about inner
spaces, Meta's Data File Uploader, which removes them. Accents stay. Composition (NFC) is ours: without it one name has
two hashes. Meta's Python helper, which drops every letter outside a-z, is deliberately not followed.
"""

import unicodedata

NAME_CATEGORIES = frozenset("LMN")
"""Letters, marks and numbers stay (Unicode general categories); punctuation, symbols and white space go."""


class _Kept(dict[int, int | None]):
    """A table for `str.translate` that decides about a character when it first meets it.

    It cannot grow beyond the number of Unicode characters.
    """

    def __missing__(self, code: int) -> int | None:
        kept = code if unicodedata.category(chr(code))[0] in NAME_CATEGORIES else None
        self[code] = kept
        return kept


_KEPT = _Kept()
_KEPT_LINES = _Kept({ord("\n"): ord("\n")})


def normalise_name(text: str) -> str:
    """Composed, without anything but letters, marks and numbers, lower case. May be empty."""
    return _normalised(text, _KEPT)


def normalise_names(texts: list[str]) -> list[str]:
    """`normalise_name` of each, in one sweep: several times faster, since each step runs over one long string.

    A line feed is neither composed nor cased with its neighbours, so the lines do not influence each other.
    """
    if not texts:
        return []
    return _normalised("\n".join(text.replace("\n", " ") for text in texts), _KEPT_LINES).split("\n")


def _normalised(text: str, kept: _Kept) -> str:
    bare = unicodedata.normalize("NFC", text).translate(kept)
    # Composed again: removing what stood between can bring a letter and its accent together, and some letters
    # have a composed form in lower case only.
    return unicodedata.normalize("NFC", bare.lower())
