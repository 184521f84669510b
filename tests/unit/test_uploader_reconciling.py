"""Holding Meta's reply against what was sent: each record ends in exactly one place, and nothing is taken on trust."""

import json
from uuid import UUID

import orjson
import pytest
from hypothesis import given
from hypothesis import strategies as st

from connector.audience.payload import Batch
from connector.audience.prepare import Prepared, prepare
from connector.graph.protocol import UsersReply
from schemas.events import MAX_REJECT_SAMPLES, Layout
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
    return prepare(b"\n".join(lines), layout=Layout.NARRATIVE_DATASET, first_record=101, first_line=201)


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
        batch = prepared([1]).batch

        result = reconcile(batch, reply(batch, audience_id="99"), audience_id=AUDIENCE, before=NOTHING)

        assert isinstance(result, Mismatch)
        assert result.foreign

    @pytest.mark.parametrize("before", [0, 10])
    def test_fewer_rows_than_sent_is_a_loss(self, before: int) -> None:
        """The running total of the session has to reach what the session sent."""
        batch = prepared([1, 1]).batch

        result = reconcile(
            batch, reply(batch, received=before + 1), audience_id=AUDIENCE, before=SessionSoFar(sent=before)
        )

        assert isinstance(result, Mismatch)
        assert not result.foreign

    def test_a_repeated_batch_counted_again_is_fine(self) -> None:
        """After a lost answer Meta's totals hold the batch twice: nobody is invalid who was not."""
        batch = prepared([1, 1, 1]).batch

        result = taken(batch, reply(batch, {1}, received=6, invalid=2))

        assert ([(102, 202)], 0) == (list(result.invalid), result.unnumbered)


class TestInvalidRows:
    def test_samples_lead_to_record_and_line(self) -> None:
        """An operator can open the file at the line that Meta refused."""
        batch = prepared([1, 1, 1]).batch

        assert ((101, 201), (103, 203)) == taken(batch, reply(batch, {0, 2})).invalid

    def test_samples_are_compared_as_json(self) -> None:
        """Meta may space and escape the row as it likes."""
        batch = prepared([1]).batch
        spaced = json.dumps(json.loads(batch.row_json(0)), indent=1)

        assert ((101, 201),) == taken(batch, reply(batch, invalid=1, samples=(spaced,))).invalid

    def test_one_good_row_makes_a_record_accepted(self) -> None:
        """A person with a refused and an accepted identifier is in the audience."""
        batch = prepared([2, 2]).batch

        assert ((102, 202),) == taken(batch, reply(batch, {0, 2, 3})).invalid

    def test_more_invalid_than_named_have_no_number(self) -> None:
        """Meta names at most a hundred; the others are counted all the same."""
        batch = prepared([1] * 300).batch

        result = taken(batch, reply(batch, set(range(250))))

        assert (100, 150) == (len(result.invalid), result.unnumbered)

    def test_the_count_of_a_session_runs_over_its_batches(self) -> None:
        """Invalid rows of the first batch are not counted again with the second."""
        batch = prepared([1, 1]).batch

        result = taken(batch, reply(batch, {0}, received=12, invalid=4), SessionSoFar(sent=10, invalid=3))

        assert (1, 0) == (result.invalid_rows, result.unnumbered)

    @given(received=st.integers(3, 10**9), invalid=st.integers(0, 10**9))
    def test_absurd_counts_do_not_break_the_account(self, received: int, invalid: int) -> None:
        """Whatever Meta counts, no batch has more invalid rows than rows."""
        batch = prepared([1, 1, 1]).batch

        assert 0 <= taken(batch, reply(batch, received=received, invalid=invalid)).invalid_rows <= 3


class TestAccount:
    @given(data=st.data(), rows=st.lists(st.integers(1, 3), min_size=1, max_size=12), rejected=st.integers(0, 5))
    def test_every_record_is_in_one_place_however_the_batch_was_cut(
        self, data: st.DataObject, rows: list[int], rejected: int
    ) -> None:
        """Cut anywhere, also through a record's rows: a record is invalid exactly when all its rows are."""
        whole = prepared(rows, rejected)
        bad = data.draw(st.sets(st.integers(0, whole.batch.rows - 1)))
        parts = cut(data, whole.batch, 0, bad)

        counts, reasons, _ = account(whole, parts)

        by_record: dict[int, set[bool]] = {}
        for row in range(whole.batch.rows):
            by_record.setdefault(whole.batch.record_of(row), set()).add(row in bad)
        invalid = sum(1 for seen in by_record.values() if seen == {True})
        assert (len(rows) - invalid, invalid, rejected) == (counts.accepted, counts.invalid, counts.rejected)
        assert invalid + rejected == sum(reasons.values())

    def test_rejects_name_number_line_and_reason(self) -> None:
        """Ours and Meta's stand side by side, without a value."""
        whole = prepared([1, 1], rejected=1)

        _, reasons, rejects = account(whole, [taken(whole.batch, reply(whole.batch, {1}))])

        assert {"no_identifier": 1, META_INVALID: 1} == reasons
        assert [(103, 203, "no_identifier"), (102, 202, META_INVALID)] == [
            (reject.record, reject.line, reject.reason) for reject in rejects
        ]

    def test_samples_are_capped_and_counts_are_complete(self) -> None:
        """An event stays small however bad a file is."""
        whole = prepared([1] * 90, rejected=90)

        counts, _, rejects = account(whole, [taken(whole.batch, reply(whole.batch, set(range(90))))])

        assert (MAX_REJECT_SAMPLES, 0, 90, 90) == (len(rejects), counts.accepted, counts.invalid, counts.rejected)


def cut(data: st.DataObject, batch: Batch, start: int, bad: set[int]) -> list[Reconciled]:
    """Sends *batch*, whose first row is row *start* of the whole, in parts as halving may cut it."""
    if batch.rows == 1 and start in bad and data.draw(st.booleans()):
        return [refused_row(batch)]
    if batch.rows > 1 and data.draw(st.booleans()):
        first, second = batch.halves()
        return [*cut(data, second, start + first.rows, bad), *cut(data, first, start, bad)]
    mine = {row - start for row in bad if start <= row < start + batch.rows}
    return [taken(batch, reply(batch, mine))]
