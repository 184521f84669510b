"""Texts that come again from block to block, as names, cities and post codes do: judged and hashed when first met.

Only what is new in a block is decided anew, and remembered where it is much. A column of which nearly every text is
another one is not remembered.
"""

from collections import deque
from collections.abc import Callable
from dataclasses import dataclass, field

import polars as pl

from connector.audience.keys import Key

_REPEATS = 50
"""One text in so many of a sample is a repetition where a column repeats itself: by the birthday problem, a sample of
1,000 with 20 repetitions comes of about 25,000 texts that are equally frequent, or of some that are."""

_NEW = 5
"""Where more than one text in so many is new, all are decided together and remembered."""

_WORTH = 200
"""Where one text in so many is new, these are remembered too: the next block has them again."""

_MANY, _MANY_BYTES = 16_384, 1 << 18
"""Of one place so many texts are remembered, of so many bytes together: 4 MB with what they give."""

_LARGE, _LARGEST = 512, 8
"""Of vocabularies with more texts than the first so many are kept at once, in all places of all files."""


@dataclass(frozen=True)
class Judged:
    """What a place gives in each row: the keys its source fills, as sent, and why there is none.

    All are null where there is nothing to tell; `reason` is None when nothing was refused. `plain` is the country
    before hashing, which other keys need, and None for every other key.
    """

    values: dict[Key, pl.Series] = field(repr=False)
    plain: pl.Series | None = field(repr=False)
    reason: pl.Series | None = field(repr=False)

    @property
    def filled(self) -> int:
        """In how many rows there is a value."""
        first = next(iter(self.values.values()))
        return len(first) - first.null_count()


def looked_up(once: Judged, places: pl.Series) -> Judged:
    """What was found once, for every row by its place."""
    return Judged(
        values={key: found[places] for key, found in once.values.items()},
        plain=None if once.plain is None else once.plain[places],
        reason=None if once.reason is None else once.reason[places],
    )


def repeats_itself(sample: pl.Series) -> bool:
    """Whether the texts of a column come again often enough to be remembered."""
    texts = sample.drop_nulls()
    return (len(texts) - texts.n_unique()) * _REPEATS >= len(texts) > 0


class _Known:
    """Texts and what they give, row by row."""

    def __init__(self, texts: pl.Series, once: Judged) -> None:
        self.texts = texts
        self.once = once
        # An expression keeps the table of the texts; a cast by the type builds it anew, 1.5 ms for 12,000 of them.
        self._place = pl.all().cast(pl.Enum(texts), strict=False).to_physical()

    def places(self, written: pl.Series) -> pl.Series:
        """Where each of the texts *written* stands; null for what is not known."""
        return written.to_frame().select(self._place).to_series()


class Vocabulary:
    """The texts that a place is known to hold, and what they give. Any thread may replace it by a newer one."""

    def __init__(self) -> None:
        self._known: _Known | None = None

    def look_up(self, written: pl.Series, decide: Callable[[pl.Series], Judged]) -> Judged | None:
        """What the texts give, new ones by *decide*; None where there are too many of these."""
        known = self._known
        if known is None:
            return None
        places = known.places(written)
        new = places.null_count() - written.null_count()
        if new * _NEW > len(written):
            return None
        found = looked_up(known.once, places)
        if not new:
            return found
        rows = (places.is_null() & written.is_not_null()).arg_true()
        fresh = written[rows]
        others = decide(fresh)
        if new * _WORTH >= len(written):
            self._learn_more(known, fresh, others)
        return _amended(found, rows, others)

    def learn(self, texts: pl.Series, once: Judged) -> None:
        """Remembers, beside what was known while there is room for both."""
        known = self._known
        if (known is None or not self._learn_more(known, texts, once)) and _fits(texts):
            self._keep(texts, once)

    def _learn_more(self, known: _Known, texts: pl.Series, once: Judged) -> bool:
        """Whether there is room for both."""
        both = pl.concat([known.texts.alias(texts.name), texts])
        if not _fits(both):
            return False
        is_first = both.is_first_distinct()
        self._keep(both.filter(is_first), _filtered(_joined(known.once, once), is_first))
        return True

    def _keep(self, texts: pl.Series, once: Judged) -> None:
        self._known = _Known(texts, once)
        if len(texts) > _LARGE:
            _keep_large(self)

    def forget(self) -> None:
        """Makes room."""
        self._known = None


_large: deque[Vocabulary] = deque()


def _keep_large(vocabulary: Vocabulary) -> None:
    if vocabulary in _large:
        return
    _large.append(vocabulary)
    if len(_large) > _LARGEST:
        _large.popleft().forget()


def _fits(texts: pl.Series) -> bool:
    return len(texts) <= _MANY and int(texts.str.len_bytes().sum()) <= _MANY_BYTES


def _filtered(judged: Judged, kept: pl.Series) -> Judged:
    return Judged(
        values={key: found.filter(kept) for key, found in judged.values.items()},
        plain=None if judged.plain is None else judged.plain.filter(kept),
        reason=None if judged.reason is None else judged.reason.filter(kept),
    )


def _joined(first: Judged, second: Judged) -> Judged:
    """One after the other."""
    return _merged(first, second, lambda one, other: pl.concat([one, other]))


def _amended(found: Judged, rows: pl.Series, others: Judged) -> Judged:
    """*found*, in some of its rows as in *others*."""
    return _merged(found, others, lambda one, other: one.scatter(rows, other))


def _merged(first: Judged, second: Judged, merge: Callable[[pl.Series, pl.Series], pl.Series]) -> Judged:
    """Both, which are of one place."""
    plain = None
    if first.plain is not None and second.plain is not None:
        plain = merge(first.plain, second.plain)
    reason = None
    if first.reason is not None or second.reason is not None:
        reason = merge(_reasons(first), _reasons(second))
    return Judged({key: merge(found, second.values[key]) for key, found in first.values.items()}, plain, reason)


def _reasons(judged: Judged) -> pl.Series:
    if judged.reason is not None:
        return judged.reason
    height = len(next(iter(judged.values.values())))
    return pl.repeat(None, height, dtype=pl.String, eager=True)
