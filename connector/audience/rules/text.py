"""What counts as white space and as junk, for all rules alike."""

WHITESPACE = (
    "\x00\t\n\x0b\x0c\r\x1c\x1d\x1e\x1f \x85\xa0\u1680"
    + "".join(map(chr, range(0x2000, 0x200C)))
    + ("\u2028\u2029\u202f\u205f\u3000\ufeff")
)
"""What is trimmed: Unicode's white space, NUL (Meta's Python helper drops it) and the invisible marks that spreadsheets
leave behind. Spelled out, because Python, Rust and JavaScript each have their own idea of it."""

JUNK_WORDS = frozenset({"null", "none", "nan", "undefined", "n/a"})
"""What programs write for nothing. Their hashes were found in real audiences (observed in peers' issue trackers)."""


def is_junk(text: str) -> bool:
    """Whether *text* is a program's word for nothing.

    It costs the few people whose name is Null or Nan this one key: hashes of junk never leave.
    """
    return text.strip(WHITESPACE).lower() in JUNK_WORDS
