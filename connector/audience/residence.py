"""Which country a person lives in, where the country itself arrives hashed.

There are few enough codes that a hash of one is as good as the code: a phone number beside it is read as of there.
"""

from functools import cache
from itertools import product
from string import ascii_lowercase

from connector.audience.normalise import digest


def country_of_digest(hashed: str) -> str | None:
    """The alpha-2 code in lower case whose SHA-256 *hashed* is; None when it is of something else."""
    return _by_digest().get(hashed)


@cache
def _by_digest() -> dict[str, str]:
    """Every two letters: codes come and go, and the rule for countries lets all of them pass."""
    codes = ("".join(letters) for letters in product(ascii_lowercase, repeat=2))
    return {digest(code): code for code in codes}
