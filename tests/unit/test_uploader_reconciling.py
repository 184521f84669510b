"""Holding Meta's reply against what was sent: each record ends in exactly one place, and nothing is taken on trust."""

import json
from uuid import UUID

import orjson
import pytest
from hypothesis import given
from hypothesis import strategies as st

from connector.audience.layouts import reading_of
from connector.audience.payload import Batch
from connector.audience.prepare import Prepared, prepare
from connector.audience.records_ndjson import read_ndjson
from connector.graph.protocol import UsersReply
from schemas.events import MAX_REJECT_SAMPLES, Layout
from schemas.match_keys import ColumnMapping, MappedColumn, MatchKey, Mode
from services.uploader.reconciling import (
    META_INVALID,
    Mismatch,
    Reconciled,
    SessionSoFar,
    account,
    reconcile,
    refused_row,
)

AUDIENCE = "23850000000000001"
FIELDS = ("mobile_id_unique_identifier", "android_advertising_id", "apple_idfa")
NOTHING = SessionSoFar()


def prepared(rows_per_record: list[int], rejected: int = 0) -> Prepared:
    """Records with that many rows (1 to 3) each, numbered from 101, lines from 201; then some that are rejected."""
    lines = []
    for record, rows in enumerate(rows_per_record):
        numbers = (3 * record + row + (0xA << 124) for row in range(rows))
        fields = zip(FIELDS, numbers, strict=False)
        lines.append(orjson.dumps({name: {"value": str(UUID(int=number))} for name, number in fields}))
    lines += [b"{}"] * rejected
    reading = reading_of(Layout.NARRATIVE_DATASET)
    return prepare(read_ndjson(b"\n".join(lines), reading, first_record=101, first_line=201), reading)


def whole_batch(rows_per_record: list[int]) -> Batch:
    """All rows of such records in one batch."""
    (batch,) = prepared(rows_per_record).batches
    return batch


def customers(ids_per_record: list[tuple[int, int]]) -> Prepared:
    """Records with so many e-mails and so many ids of the advertiser's (0 to 2): rows with and without such an id."""
    columns = {
        f"{name}{number}": MappedColumn(key=key, mode=Mode.RAW)
        for name, key in (("email", MatchKey.EMAIL), ("id", MatchKey.EXTERN_ID))
        for number in range(2)
    }
    reading = reading_of(Layout.COLUMNS, ColumnMapping(columns=columns))
    lines = [
        orjson.dumps(
            {f"email{number}": f"p{record}-{number}@example.com" for number in range(emails)}
            | {f"id{number}": f"c{record}-{number}" for number in range(ids)}
        )
        for record, (emails, ids) in enumerate(ids_per_record)
    ]
    return prepare(read_ndjson(b"\n".join(lines), reading, first_record=101, first_line=201), reading)


def reply(batch: Batch, bad: set[int] = frozenset(), **changes: object) -> UsersReply:  # type: ignore[assignment]
    """What Meta says when it refuses the rows *bad* of *batch*."""
    fields: dict[str, object] = {
        "audience_id": AUDIENCE,
        "session_id": "7",
        "received": batch.rows,
        "invalid": len(bad),
        "samples": tuple(batch.row_json(row) for row in sorted(bad)[:100]),
        **changes,
    }
    return UsersReply(**fields)  # type: ignore[arg-type]


def taken(batch: Batch, said: UsersReply, before: SessionSoFar = NOTHING) -> Reconciled:
    """The reconciliation of a reply that fits."""
    result = reconcile(batch, said, audience_id=AUDIENCE, before=before)
    assert isinstance(result, Reconciled)
    return result


class TestMismatches:
    def test_another_audience_is_a_breach(self) -> None:
        """A reply about somebody else's audience is never settled as ours."""
        batch = whole_batch([1])

        result = reconcile(batch, reply(batch, audience_id="99"), audience_id=AUDIENCE, before=NOTHING)

        assert isinstance(result, Mismatch)
        assert result.foreign

    @pytest.mark.parametrize("before", [0, 10])
    def test_fewer_rows_than_sent_is_a_loss(self, before: int) -> None:
        """The running total of the session has to reach what the session sent."""
        batch = whole_batch([1, 1])

        result = reconcile(
            batch, reply(batch, received=before + 1), audience_id=AUDIENCE, before=SessionSoFar(sent=before)
        )

        assert isinstance(result, Mismatch)
        assert not result.foreign

    def test_a_repeated_batch_counted_again_is_fine(self) -> None:
        """After a lost answer Meta's totals hold the batch twice: nobody is invalid who was not."""
        batch = whole_batch([1, 1, 1])

        result = taken(batch, reply(batch, {1}, received=6, invalid=2))

        assert ([(102, 202)], 0) == (list(result.invalid), result.unnumbered)


class TestInvalidRows:
    def test_samples_lead_to_record_and_line(self) -> None:
        """An operator can open the file at the line that Meta refused."""
        batch = whole_batch([1, 1, 1])

        assert ((101, 201), (103, 203)) == taken(batch, reply(batch, {0, 2})).invalid

    def test_samples_are_compared_as_json(self) -> None:
        """Meta may space and escape the row as it likes."""
        batch = whole_batch([1])
        spaced = json.dumps(json.loads(batch.row_json(0)), indent=1)

        assert ((101, 201),) == taken(batch, reply(batch, invalid=1, samples=(spaced,))).invalid

    def test_one_good_row_makes_a_record_accepted(self) -> None:
        """A person with a refused and an accepted identifier is in the audience."""
        whole = prepared([2, 2])
        (batch,) = whole.batches

        counts, _, rejects = account(whole, [taken(batch, reply(batch, {0, 2, 3}))])

        assert (1, 1, [102]) == (counts.accepted, counts.invalid, [reject.record for reject in rejects])

    def test_more_invalid_than_named_have_no_number(self) -> None:
        """Meta names at most a hundred; the others are counted all the same."""
        batch = whole_batch([1] * 300)

        result = taken(batch, reply(batch, set(range(250))))

        assert (100, 150) == (len(result.invalid), result.unnumbered)

    def test_the_count_of_a_session_runs_over_its_batches(self) -> None:
        """Invalid rows of the first batch are not counted again with the second."""
        batch = whole_batch([1, 1])

        result = taken(batch, reply(batch, {0}, received=12, invalid=4), SessionSoFar(sent=10, invalid=3))

        assert (1, 0) == (result.invalid_rows, result.unnumbered)

    @given(received=st.integers(3, 10**9), invalid=st.integers(0, 10**9))
    def test_absurd_counts_do_not_break_the_account(self, received: int, invalid: int) -> None:
        """Whatever Meta counts, no batch has more invalid rows than rows."""
        batch = whole_batch([1, 1, 1])

        assert 0 <= taken(batch, reply(batch, received=received, invalid=invalid)).invalid_rows <= 3


class TestAccount:
    @given(data=st.data(), rows=st.lists(st.integers(1, 3), min_size=1, max_size=12), rejected=st.integers(0, 5))
    def test_every_record_is_in_one_place_however_the_batch_was_cut(
        self, data: st.DataObject, rows: list[int], rejected: int
    ) -> None:
        """Cut anywhere, also through a record's rows: a record is invalid exactly when all its rows are."""
        whole = prepared(rows, rejected)
        bad = data.draw(st.sets(st.integers(0, whole.rows - 1)))

        counts, reasons, _ = account(whole, sent(data, whole, bad))

        invalid = len(only_in(whole, bad))
        assert (len(rows) - invalid, invalid, rejected) == (counts.accepted, counts.invalid, counts.rejected)
        assert invalid + rejected == sum(reasons.values())

    @given(
        data=st.data(),
        ids=st.lists(
            st.tuples(st.integers(0, 2), st.integers(0, 2)).filter(lambda pair: sum(pair) > 0), min_size=1, max_size=8
        ),
    )
    def test_rows_of_a_record_may_lie_in_two_batches(self, data: st.DataObject, ids: list[tuple[int, int]]) -> None:
        """Rows with and without the advertiser's id go in separate calls: one good row in either is enough."""
        whole = customers(ids)
        bad = data.draw(st.sets(st.integers(0, whole.rows - 1)))

        counts, _, rejects = account(whole, sent(data, whole, bad))

        invalid = only_in(whole, bad)
        assert (len(ids) - len(invalid), len(invalid)) == (counts.accepted, counts.invalid)
        assert invalid == [reject.record for reject in rejects]

    def test_rejects_name_number_line_and_reason(self) -> None:
        """Ours and Meta's stand side by side, without a value."""
        whole = prepared([1, 1], rejected=1)

        _, reasons, rejects = account(whole, [taken(whole.batches[0], reply(whole.batches[0], {1}))])

        assert {"no_identifier": 1, META_INVALID: 1} == reasons
        assert [(103, 203, "no_identifier"), (102, 202, META_INVALID)] == [
            (reject.record, reject.line, reject.reason) for reject in rejects
        ]

    def test_samples_are_capped_and_counts_are_complete(self) -> None:
        """An event stays small however bad a file is."""
        whole = prepared([1] * 90, rejected=90)

        counts, _, rejects = account(whole, [taken(whole.batches[0], reply(whole.batches[0], set(range(90))))])

        assert (MAX_REJECT_SAMPLES, 0, 90, 90) == (len(rejects), counts.accepted, counts.invalid, counts.rejected)


def sent(data: st.DataObject, whole: Prepared, bad: set[int]) -> list[Reconciled]:
    """Sends all batches, each in parts as halving may cut it; *bad* counts rows through all of them."""
    parts: list[Reconciled] = []
    start = 0
    for batch in whole.batches:
        parts += cut(data, batch, start, bad)
        start += batch.rows
    return parts


def only_in(whole: Prepared, bad: set[int]) -> list[int]:
    """The records all of whose rows are *bad*."""
    numbers = [batch.record_of(row) for batch in whole.batches for row in range(batch.rows)]
    good = {record for row, record in enumerate(numbers) if row not in bad}
    return sorted(set(numbers) - good)


def cut(data: st.DataObject, batch: Batch, start: int, bad: set[int]) -> list[Reconciled]:
    """Sends *batch*, whose first row is row *start* of the whole, in parts as halving may cut it."""
    if batch.rows == 1 and start in bad and data.draw(st.booleans()):
        return [refused_row(batch)]
    if batch.rows > 1 and data.draw(st.booleans()):
        first, second = batch.halves()
        return [*cut(data, second, start + first.rows, bad), *cut(data, first, start, bad)]
    mine = {row - start for row in bad if start <= row < start + batch.rows}
    return [taken(batch, reply(batch, mine))]
