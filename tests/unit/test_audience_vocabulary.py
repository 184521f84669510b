"""Texts that come again: what is remembered of a place never changes what its texts give."""

import polars as pl
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from connector.audience import vocabulary
from connector.audience.clear_phones import WRITTEN
from connector.audience.judging import _decide, distinct, judge
from connector.audience.keys import Key, Mode
from connector.audience.layouts import Source
from connector.audience.vocabulary import Judged, Vocabulary, repeats_itself

YEAR = 2026
SOURCES = [
    Source(("ln",), Key.LN, Mode.RAW),
    Source(("fn",), Key.FN, Mode.RAW, with_initial=True),
    Source(("zip",), Key.ZIP, Mode.RAW),
    Source(("country",), Key.COUNTRY, Mode.RAW),
    Source(("born",), "DOB", Mode.RAW),
    Source(("email",), Key.EMAIL, Mode.SHA256),
]
TEXTS = ["Ann", " ANN.", "Núñez", "null", "", " ", "a" * 64, "A1" * 32, "94105", "94105-1234", "US", "Atlantis", "DE"]
TEXTS += ["1990-02-03", "1990-02-31", "x\ny", "\0", "O'Brien"]

texts = st.one_of(st.sampled_from(TEXTS), st.text(max_size=3), st.none())
blocks = st.lists(st.lists(texts, min_size=1, max_size=30), min_size=1, max_size=5)


def series(block: list[str | None]) -> pl.Series:
    """A column."""
    return pl.Series(WRITTEN, block, dtype=pl.String)


def rows(judged: Judged) -> list[tuple[object, ...]]:
    """What a place gives, row by row."""
    columns = [*judged.values.values()]
    for column in (judged.plain, judged.reason):
        columns.append(pl.repeat(None, len(columns[0]), dtype=pl.String, eager=True) if column is None else column)
    return list(zip(*columns, strict=True))


def afresh(block: list[str | None], source: Source) -> list[tuple[object, ...]]:
    """The same without a memory."""
    return rows(_decide(series(block).to_frame(), source, "us", YEAR))


@settings(max_examples=400, deadline=None)
@given(blocks, st.sampled_from(SOURCES), st.sampled_from([1, 6, 16_384]), st.sampled_from([1, 16_384]))
def test_memory_changes_nothing(block: list[list[str | None]], source: Source, many: int, large: int) -> None:
    """Block after block, whatever was met before and however little is remembered."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(vocabulary, "_MANY", many)
        patch.setattr(vocabulary, "_LARGE", large)
        patch.setattr(vocabulary, "_LARGEST", 2)
        for each in block:
            found = judge(series(each), source, residence="us", this_year=YEAR)
            # A text of nothing is no reason and no value, remembered or not.
            assert rows(found) == afresh(each, source)


@settings(max_examples=300, deadline=None)
@given(blocks, st.sampled_from(SOURCES), st.sampled_from([3, 10, 16_384]))
def test_what_was_learnt_is_told(block: list[list[str | None]], source: Source, many: int) -> None:
    """What was learnt in any order, and new texts beside it, give what they give alone."""

    def decide(column: pl.Series) -> Judged:
        return _decide(column.alias(WRITTEN).to_frame(), source, "us", YEAR)

    known = Vocabulary()
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(vocabulary, "_MANY", many)
        patch.setattr(vocabulary, "_NEW", 1)
        for each in block:
            found = known.look_up(series(each), decide)
            assert found is None or rows(found) == afresh(each, source)
            of = series(each).unique().drop_nulls()
            known.learn(of, decide(of))


def test_new_texts_are_met_once() -> None:
    """Those of one block are known in the next, if they are more than a few; what was known stays."""
    decided: list[str] = []

    def decide(column: pl.Series) -> Judged:
        decided.extend(column)
        return Judged({Key.LN: column}, None, None)

    def met(*numbers: int) -> list[str]:
        decided.clear()
        texts = series([f"name{n}" for n in numbers])
        found = known.look_up(texts, decide)
        assert found is not None
        assert found.values[Key.LN].to_list() == texts.to_list()
        return list(decided)

    known = Vocabulary()
    first = series([f"name{n}" for n in range(300)])
    known.learn(first, decide(first))
    assert ["name300", "name301"] == met(*range(302))
    assert [] == met(*range(302))
    assert ["name302"] == met(*range(303))
    assert ["name302"] == met(*range(303))


def test_a_column_of_different_texts_is_not_remembered() -> None:
    """Addresses, numbers: they come once."""
    assert not repeats_itself(series([f"person{n}@example.com" for n in range(1_000)]))
    assert not repeats_itself(series([None] * 900 + [f"person{n}@example.com" for n in range(100)]))
    assert repeats_itself(series([f"name{n % 980}" for n in range(1_000)]))


def test_few_large_vocabularies_are_kept() -> None:
    """The oldest makes room: files of ever other columns cannot fill the memory."""

    def count(column: pl.Series) -> Judged:
        return Judged({Key.LN: column}, None, None)

    many = series([f"name{n}" for n in range(600)])
    kept = [Vocabulary() for _ in range(vocabulary._LARGEST + 1)]
    for each in kept:
        each.learn(many, count(many))
    assert [each.look_up(many, count) is not None for each in kept] == [False, *[True] * vocabulary._LARGEST]


def test_long_texts_are_not_remembered() -> None:
    """Neither is a file of them a way to fill the memory."""
    long = series([f"{n}" + "x" * 10_000 for n in range(100)])
    known = Vocabulary()
    known.learn(long, Judged({Key.LN: long}, None, None))
    assert known.look_up(long, lambda column: Judged({Key.LN: column}, None, None)) is None


def test_empty_cells_are_no_repetition() -> None:
    """A column that is mostly empty is not one of few texts: it may be the second place of e-mail addresses."""
    sparse = [None, None, None]
    assert distinct(series([text for n in range(300) for text in (*sparse, f"person{n}@example.com")])) is None
    assert distinct(series([text for _ in range(300) for text in (*sparse, "US")])) is not None
