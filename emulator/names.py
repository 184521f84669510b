"""Long lists of Meta's names, written as prose is: a literal of a hundred names, one a line, would bury the code."""


def names(text: str) -> frozenset[str]:
    """The blank-separated names in *text*."""
    return frozenset(text.split())
