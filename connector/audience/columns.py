"""Thousands of records to cells at once: `reference.person` in columns."""

from collections import Counter
from dataclasses import dataclass, field

import polars as pl

from connector.audience.identifiers import ROW, first_of, further
from connector.audience.judging import Residence, distinct, judge
from connector.audience.keys import IDENTIFIERS, PLACES_AND_AGE, Key, Mode
from connector.audience.layouts import NO_TYPE, TAKES_FRACTIONS, TAKES_NUMBERS, Reading, Source, TypedAs, column_of
from connector.audience.reasons import CellReason, RowReason
from connector.audience.records import LINE, RECORD, Records, RowReject
from connector.audience.residence import country_of_digest
from connector.audience.rules.processing import META_LOCATES
from connector.audience.rules.text import WHITESPACE
from connector.audience.vocabulary import Judged

NOT_TEXT = r"^(?:-?[0-9]+(?:\.[0-9]+)?(?:[eE][+-]?[0-9]+)?$|true$|false$|[\[{])"
"""What a value that was no text looks like once the parser has written it out. Text may look like it too."""

NO_NUMBER = r"^(?:-|[0-9]{16}|[0-9]+[.eE]|true$|false$|[\[{])"
"""The same for a place that takes numbers: a whole number reads the same, text or not, unless it is so long that it may
have been a floating-point number, which no longer knows its last digits."""

SourceReasons = Counter[tuple[int, CellReason]]
"""How often a reason was met, by the number of the source in the reading."""

Cell = tuple[int, int, CellReason]
"""Record, source and reason."""


@dataclass
class Cells:
    """Rows of cells as they leave: `RECORD`, `LINE` and a column per key that has a value, in the order of records.

    `filled` counts the non-empty cells of each source that were asked. `refused` names the refused cells one by one
    and is only kept when asked for.
    """

    frame: pl.DataFrame = field(repr=False)
    rejects: list[RowReject] = field(default_factory=list)
    reasons: SourceReasons = field(default_factory=Counter)
    filled: Counter[int] = field(default_factory=Counter)
    refused: list[Cell] = field(default_factory=list)


def to_cells(
    records: Records, reading: Reading, *, this_year: int, value_based: bool = False, detailed: bool = False
) -> Cells:
    """Normalises and hashes the records of the frame."""
    return _Columns(records, reading, this_year, detailed=detailed).cells(value_based=value_based)


class _Columns:
    """The columns under way."""

    def __init__(self, records: Records, reading: Reading, this_year: int, *, detailed: bool) -> None:
        self._records = records
        self._reading = reading
        self._this_year = this_year
        self._detailed = detailed
        self._countries: pl.Series | None = None
        self._residence: Residence = reading.default_country
        self._attributes: dict[Key, pl.Series] = {}
        self._identifiers: dict[Key, list[pl.Series]] = {}
        self._result = Cells(pl.DataFrame())

    def cells(self, *, value_based: bool) -> Cells:
        numbered = list(enumerate(self._reading.sources))
        # Where people live comes first: the rules of other keys depend on it.
        for number, source in sorted(numbered, key=lambda pair: pair[1].key is not Key.COUNTRY):
            if source.key in IDENTIFIERS:
                self._identify(number, source)
            else:
                self._describe(number, source)
        self._agree_on_processing()
        self._finish(value_based=value_based)
        return self._result

    def _identify(self, number: int, source: Source) -> None:
        found = self._judged(number, source, None)
        if found is not None:
            key = Key(source.key)
            self._identifiers.setdefault(key, []).append(found.values[key])

    def _describe(self, number: int, source: Source) -> None:
        """The first usable value counts: a source is asked only where something it could fill is still empty."""
        known = [self._attributes.get(key) for key in source.fills]
        asked = None
        if all(column is not None for column in known):
            missing = pl.DataFrame(
                [column.is_null().alias(str(i)) for i, column in enumerate(known) if column is not None]
            )
            asked = missing.select(pl.any_horizontal(pl.all())).to_series()
        found = self._judged(number, source, asked)
        if found is None:
            return
        for key in source.fills:
            before = self._attributes.get(key)
            self._attributes[key] = found.values[key] if before is None else first_of([before, found.values[key]])
        if found.plain is not None:
            self._settle_down(found.plain, source)

    def _settle_down(self, countries: pl.Series, source: Source) -> None:
        if source.mode is Mode.SHA256:
            known = {digest: country_of_digest(digest) for digest in countries.unique().drop_nulls()}
            countries = countries.replace_strict(known, default=None, return_dtype=pl.String)
        self._countries = countries if self._countries is None else first_of([self._countries, countries])
        default = self._reading.default_country
        lives = self._countries if default is None else self._countries.fill_null(default)
        self._residence = lives[0] if lives.n_unique() == 1 else lives

    def _judged(self, number: int, source: Source, asked: pl.Series | None) -> Judged | None:
        """What the source gives in the rows where it is *asked* (None: all); None when it holds nothing there."""
        written, wrong = self._texts(source, self._meant(source, asked))
        found = None
        if written.null_count() < len(written):
            found = judge(written, source, residence=self._residence, this_year=self._this_year)
            self._count(number, found)
        if len(wrong):
            self._refuse(number, CellReason.WRONG_TYPE, wrong)
        return found

    def _count(self, number: int, found: Judged) -> None:
        self._result.filled[number] += found.filled
        if found.reason is None:
            return
        for reason, count in found.reason.drop_nulls().value_counts().iter_rows():
            rows = (found.reason == reason).arg_true() if self._detailed else None
            self._refuse(number, CellReason(reason), rows, count)

    def _refuse(self, number: int, reason: CellReason, rows: pl.Series | None, count: int | None = None) -> None:
        refused = count if count is not None else 0 if rows is None else len(rows)
        self._result.reasons[number, reason] += refused
        self._result.filled[number] += refused
        if self._detailed and rows is not None:
            self._result.refused += [(record, number, reason) for record in self._records.frame[RECORD].gather(rows)]

    def _meant(self, source: Source, asked: pl.Series | None) -> pl.Series | None:
        """The rows where the source is asked and of its type."""
        if source.when is None:
            return asked
        meant = self._is_of_type(source.when)
        return meant if asked is None else meant & asked

    def _is_of_type(self, when: TypedAs) -> pl.Series:
        kinds = self._records.frame[column_of(when.path)]
        words = [kind for kind in kinds.unique().drop_nulls() if kind.strip(WHITESPACE).lower() in when.words]
        meant = kinds.is_in(words).fill_null(value=False)
        if NO_TYPE in when.words:
            meant |= kinds.is_null()
        broken = self._records.wrong.get(column_of(when.path))
        return meant if broken is None else meant.scatter(broken, when.untyped)

    def _texts(self, source: Source, meant: pl.Series | None) -> tuple[pl.Series, pl.Series]:
        """The texts of a source in the rows *meant*, and the rows that hold something else."""
        column = column_of(source.path)
        written = self._records.frame[column]
        wrong = self._records.wrong.get(column, _NO_ROWS)
        if meant is not None:
            written = written.to_frame("x").select(pl.when(meant).then("x")).to_series()
            wrong = wrong.filter(meant.gather(wrong))
        if self._records.block is None:
            return written, wrong
        suspects = _suspects(written, source)
        if not len(suspects) or self._records.is_all_text(source.path):
            return written, wrong
        others = self._records.not_text(source.path, suspects, frozenset({source.key}))
        if others:
            written = written.scatter(list(others), list(others.values()))
        return written, pl.Series([row for row, text in others.items() if text is None], dtype=pl.UInt32)

    def _agree_on_processing(self) -> None:
        """`rules.processing.agreed` in columns."""
        country_key, state_key = Key.DATA_PROCESSING_OPTIONS_COUNTRY, Key.DATA_PROCESSING_OPTIONS_STATE
        if country_key not in self._attributes and state_key not in self._attributes:
            return
        height = self._records.frame.height
        nothing = pl.repeat(None, height, dtype=pl.String, eager=True)
        given = pl.DataFrame(
            {"country": self._attributes.get(country_key, nothing), "state": self._attributes.get(state_key, nothing)}
        )
        country, state = pl.col("country"), pl.col("state")
        alone, unnamed = country.is_not_null() & state.is_null(), country.is_null() & state.is_not_null()
        named = pl.when(state == META_LOCATES).then(pl.lit(META_LOCATES)).otherwise(pl.lit("1"))
        agreed = given.select(
            pl.when(alone).then(pl.lit(META_LOCATES)).when(unnamed).then(named).otherwise(country).alias("country"),
            pl.when(alone).then(pl.lit(META_LOCATES)).otherwise(state).alias("state"),
        )
        self._attributes[country_key], self._attributes[state_key] = agreed["country"], agreed["state"]

    def _finish(self, *, value_based: bool) -> None:
        frame = self._records.frame
        firsts = {key: first_of(found) for key, found in self._identifiers.items()}
        cells = {key: (firsts | self._attributes)[key] for key in Key if key in firsts or key in self._attributes}
        numbers = pl.int_range(frame.height, dtype=pl.UInt32, eager=True).alias(ROW)
        people = pl.DataFrame([numbers, frame[RECORD], frame[LINE], *(cells[key].alias(key) for key in cells)])
        people = self._without(people, _is_identified(cells.keys()), RowReason.NO_IDENTIFIER)
        if value_based:
            has_value = (
                pl.col(Key.LOOKALIKE_VALUE).is_not_null() if Key.LOOKALIKE_VALUE in cells else pl.lit(value=False)
            )
            people = self._without(people, has_value, RowReason.NO_VALUE)
        self._result.frame = _one_row_per_identifier(people, further(self._identifiers))

    def _without(self, people: pl.DataFrame, good: pl.Expr, reason: RowReason) -> pl.DataFrame:
        """The people that are *good*; the others are rejected."""
        is_good = people.select(good.alias("good")).to_series()
        if len(is_good) != people.height:
            is_good = pl.repeat(is_good.item(), people.height, dtype=pl.Boolean, eager=True)
        if is_good.all():
            return people
        rejected = people.filter(~is_good).select(RECORD, LINE)
        self._result.rejects += [RowReject(record, line, reason) for record, line in rejected.iter_rows()]
        return people.filter(is_good)


def _suspects(written: pl.Series, source: Source) -> pl.Series:
    """The rows that may have held something else than text."""
    of = distinct(written)
    pattern = NO_NUMBER if source.key in TAKES_NUMBERS - TAKES_FRACTIONS else NOT_TEXT
    if of is not None:
        suspicious = of.filter(of.str.contains(pattern))
        return written.is_in(suspicious.implode()).arg_true() if len(suspicious) else _NO_ROWS
    return written.str.contains(pattern).arg_true()


def _is_identified(keys: object) -> pl.Expr:
    """`keys.identifies` in columns."""
    there = set(keys)  # type: ignore[call-overload]

    def any_of(wanted: tuple[Key, ...]) -> pl.Expr:
        columns = [pl.col(key).is_not_null() for key in wanted if key in there]
        return pl.any_horizontal(columns) if columns else pl.lit(value=False)

    named = any_of((Key.LN,)) & any_of((Key.FN, Key.FI)) & any_of(PLACES_AND_AGE)
    return any_of(IDENTIFIERS) | named


def _one_row_per_identifier(people: pl.DataFrame, more: pl.DataFrame | None) -> pl.DataFrame:
    """Row k of a record carries its k-th identifier of each kind; every row carries all attributes."""
    if more is None:
        return people.drop(ROW)
    own = [key for key in people.columns if key in IDENTIFIERS]
    # An inner join: those who were rejected are not among the people.
    rest = more.join(people.drop(own), on=ROW, how="inner", maintain_order="left")
    return pl.concat([people, rest], how="diagonal").sort(RECORD, maintain_order=True).drop(ROW)


_NO_ROWS = pl.Series(dtype=pl.UInt32)
