"""Pure: the rows of a member upload become people, column by column, and rows that cannot be are named.

A member's identity is its set of non-empty (key, value) pairs, whatever the order or width of the schema; hashes
compare lower-cased. Ten thousand rows of twelve keys take about 20 ms: the emulator must outrun what it measures,
so clean columns are judged whole, and only a request with a doubtful cell is judged row by row.
"""

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from itertools import repeat

import orjson

from emulator.match_keys import ATTRIBUTES, HASHED, IDENTITY_KEYS, Schema, is_hash
from emulator.refusals import invalid_parameter

MOST_SAMPLES = 100
"""Samples of invalid rows in one answer (Meta reference: invalid_entry_samples)."""

DIGEST_BITS = 60
DIGEST_MASK = (1 << DIGEST_BITS) - 1
"""The widest integer CPython keeps in 32 bytes, which is what lets ten million members fit in memory."""

_LOWER_DIGITS = b"0123456789abcdef"
_UPPER_DIGITS = b"ABCDEF"
_END = "\x1f"  # ends a cell in the text a digest is taken of
_ESCAPES = str.maketrans({"\x1e": "\x1e0", _END: "\x1e1"})

Columns = dict[str, Sequence[str]]
Cells = Sequence[object]


@dataclass(frozen=True)
class People:
    """Well-formed rows in columns.

    Attributes:
        size: Number of rows.
        identity: Identity key to its cells; hashes in lower case, an unknown value is an empty string.
        attributes: Attribute key to its cells, as they came.
    """

    size: int
    identity: Columns
    attributes: Mapping[str, Cells]

    def digests(self) -> list[int]:
        """One 60-bit digest a row, equal for equal identities within this process.

        The text hashed has a cell for every known key, in one fixed order, so that neither the order of a schema nor
        keys that are absent rather than empty make a difference. Python's keyed string hash is enough: digests never
        leave the process, and 60 bits make one miscount among ten million members a 1 in 23,000 event.
        """
        pieces: list[Iterable[str]] = []
        gap = ""
        for key in IDENTITY_KEYS:
            if key in self.identity:
                pieces += [repeat(gap, self.size), _escaped(key, self.identity[key])]
                gap = ""
            gap += _END
        pieces.append(repeat(gap, self.size))
        return [hash(text) & DIGEST_MASK for text in map("".join, zip(*pieces, strict=True))]

    def rows(self) -> Iterator[dict[str, object]]:
        """Each row as an object of its non-empty identity cells and its attributes."""
        columns: dict[str, Cells] = {**self.identity, **self.attributes}
        for cells in zip(*columns.values(), strict=True):
            yield {key: cell for key, cell in zip(columns, cells, strict=True) if cell is not None and cell != ""}


@dataclass(frozen=True)
class Batch:
    """What one member request brought.

    Attributes:
        received: Rows in the request.
        invalid: Indices of rows that are no people.
        samples: Up to 100 of them: compact JSON of the row to the reason.
        people: The others; `None` when the rows were only counted.
    """

    received: int
    people: People | None
    invalid: Sequence[int] = ()
    samples: Mapping[str, str] = field(default_factory=dict)

    @property
    def accepted(self) -> int:
        """Rows that became, or ceased to be, members."""
        return self.received - len(self.invalid)


def read_rows(schema: Schema, data: object) -> Batch:
    """Judge the `data` of a payload.

    Args:
        schema: What the cells mean.
        data: A list of rows; with a single-key schema, cells may stand bare.

    Raises:
        Refusal: Code 100, *data* is not a non-empty list.
    """
    if not isinstance(data, list) or not data:
        raise invalid_parameter("Param payload[data] must be a non-empty array")
    rows = [row if isinstance(row, list) else [row] for row in data] if schema.single else data
    people = _whole(schema, rows)
    return Batch(len(rows), people) if people else _one_by_one(schema, rows, data)


def _whole(schema: Schema, rows: list[object]) -> People | None:
    """All rows at once, or `None` when any cell deserves a closer look."""
    if set(map(type, rows)) != {list}:
        return None
    cells: list[list[object]] = rows  # type: ignore[assignment]  # the line above is the proof
    if set(map(len, cells)) != {len(schema.keys)}:
        return None
    identity: Columns = {}
    attributes: dict[str, Cells] = {}
    for key, column in zip(schema.keys, zip(*cells, strict=True), strict=True):
        if key in ATTRIBUTES:
            if not all(_attribute_fault(key, cell) is None for cell in column):
                return None
            attributes[key] = column
            continue
        clean = _clean_column(key, column)
        if clean is None:
            return None
        identity[key] = clean
    if not _all_identified(list(identity.values())):
        return None
    return People(len(rows), identity, attributes)


def _clean_column(key: str, column: Cells) -> Sequence[str] | None:
    """The column in its stored form, or `None` when a cell of it may be malformed."""
    texts: Sequence[str] = column  # type: ignore[assignment]  # joining is the proof, and the cheapest one
    try:
        joined = "".join(texts)
    except TypeError:
        return None
    if key == "EXTERN_ID" and "" in texts:
        return None
    if key not in HASHED:
        return texts
    if not set(map(len, texts)) <= {0, 64}:
        return None
    others = joined.encode().translate(None, _LOWER_DIGITS)
    if not others:
        return texts
    return None if others.translate(None, _UPPER_DIGITS) else [text.lower() for text in texts]


def _all_identified(columns: Sequence[Sequence[str]]) -> bool:
    """Whether every row has a cell that is not empty."""
    return any("" not in column for column in columns) or all(map(any, zip(*columns, strict=True)))


def _one_by_one(schema: Schema, rows: Sequence[object], sent: Sequence[object]) -> Batch:
    good: list[list[object]] = []
    invalid: list[int] = []
    samples: dict[str, str] = {}
    for index, row in enumerate(rows):
        cells = (
            [_stored(key, cell) for key, cell in zip(schema.keys, row, strict=False)] if isinstance(row, list) else []
        )
        reason = _row_fault(schema, row, cells)
        if reason is None:
            good.append(cells)
            continue
        invalid.append(index)
        if len(samples) < MOST_SAMPLES:
            samples[orjson.dumps(sent[index]).decode()] = reason
    columns = dict(zip(schema.keys, zip(*good, strict=True), strict=True)) if good else {}
    people = People(
        len(good),
        {key: [str(cell) for cell in column] for key, column in columns.items() if key not in ATTRIBUTES},
        {key: column for key, column in columns.items() if key in ATTRIBUTES},
    )
    return Batch(len(rows), people, invalid, samples)


def _stored(key: str, cell: object) -> object:
    """A cell in its stored form; what cannot be stored is returned as it is and found by `_cell_fault`."""
    if key in ATTRIBUTES:
        return cell
    if cell is None:
        return ""
    if isinstance(cell, int) and not isinstance(cell, bool):
        return str(cell)
    return cell.lower() if key in HASHED and isinstance(cell, str) else cell


def _row_fault(schema: Schema, row: object, cells: Sequence[object]) -> str | None:
    if not isinstance(row, list) or len(row) != len(schema.keys):
        return "number of values differs from the schema"
    for key, cell in zip(schema.keys, cells, strict=True):
        fault = _attribute_fault(key, cell) if key in ATTRIBUTES else _cell_fault(key, cell)
        if fault is not None:
            return fault
    identity = (cell for key, cell in zip(schema.keys, cells, strict=True) if key not in ATTRIBUTES)
    return None if any(identity) else "no identifier in the row"


def _cell_fault(key: str, cell: object) -> str | None:
    if not isinstance(cell, str):
        return f"invalid value for {key}"
    if key == "EXTERN_ID" and not cell:
        return "empty external ID"  # the wording observed in recorded traffic
    if key in HASHED and cell and not is_hash(cell):
        return f"malformed hash for {key}"
    return None


def _attribute_fault(key: str, cell: object) -> str | None:
    """Customer values are numbers of zero or more; the other attributes are taken as they come."""
    if key != "LOOKALIKE_VALUE" or cell is None or cell == "":
        return None
    try:
        good = not isinstance(cell, bool) and isinstance(cell, int | float | str) and 0 <= float(cell) < float("inf")
    except ValueError:
        good = False
    return None if good else "invalid customer value"


def _escaped(key: str, column: Sequence[str]) -> Sequence[str]:
    """The column with the cell end escaped: free text must not be able to imitate two cells."""
    if key in HASHED:
        return column
    joined = "".join(column)
    if _END not in joined and "\x1e" not in joined:
        return column
    return [cell.translate(_ESCAPES) for cell in column]
