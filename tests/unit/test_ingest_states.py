"""States of files and deliveries: when a delivery has ended, how it ended, and that the sums are sums."""

from itertools import product

import pytest
from hypothesis import given
from hypothesis import strategies as st

from schemas.events import DeliveryState, Reason, Totals
from services.ingest.states import (
    NO_VALID_RECORD,
    FileFacts,
    FileState,
    Planning,
    Settlement,
    assess,
    ended,
    file_reason,
    file_state,
    may_follow,
    settlement_applies,
    total,
)

DIED = Reason(code="object_changed", message="changed", advice="plan again")
TOKEN = Reason(code="token_dead", message="token", advice="reconnect")
UNREADABLE = Reason(code="object_missing", message="missing", advice="write it")
PER_CHUNK = 10


def facts(
    planning: Planning = Planning.PLANNED,
    *,
    accepted: int = 0,
    refused: int = 0,
    opened: int = 0,
    waiting: int = 0,
    dead: int = 0,
) -> FileFacts:
    """A file with so many chunks in each settlement; `refused` ones were delivered without one accepted record."""
    chunks = accepted + refused + opened + waiting + dead
    return FileFacts(
        planning=planning,
        totals=Totals(
            records=PER_CHUNK * chunks,
            accepted=PER_CHUNK * accepted,
            rejected=PER_CHUNK * refused,
            waiting=PER_CHUNK * waiting,
            dead=PER_CHUNK * dead,
        ),
        chunks=chunks,
        open=opened,
        waiting=waiting,
        dead=dead,
        plan_failure=UNREADABLE if planning is Planning.FAILED else None,
        death=DIED if dead else None,
        wait=TOKEN if waiting else None,
    )


small = st.integers(0, 2)
any_file = st.builds(
    facts, st.sampled_from(Planning), accepted=small, refused=small, opened=small, waiting=small, dead=small
)
any_files = st.lists(any_file, min_size=1, max_size=4)


class TestEnd:
    @given(any_files)
    def test_ended_exactly_when_all_is_planned_and_settled(self, files: list[FileFacts]) -> None:
        """No open or waiting chunk and no unplanned file: ended. Anything else: not."""
        finished = all(
            file.planning in {Planning.PLANNED, Planning.FAILED} and file.open == 0 and file.waiting == 0
            for file in files
        )
        assert finished == ended(assess(files).state)

    @given(any_files)
    def test_delivered_means_that_every_valid_record_arrived(self, files: list[FileFacts]) -> None:
        """Something was accepted, nothing died, every file was planned; rejected rows do not matter."""
        arrived = (
            all(file.planning is Planning.PLANNED and not (file.open or file.waiting or file.dead) for file in files)
            and total([file.totals for file in files]).accepted > 0
        )
        assert arrived == (assess(files).state is DeliveryState.DELIVERED)

    @given(any_files)
    def test_failed_means_that_nothing_arrived_and_nothing_will(self, files: list[FileFacts]) -> None:
        """A delivery with one accepted record is never failed, one without is never anything better."""
        state = assess(files).state
        if ended(state):
            assert (state is DeliveryState.FAILED) == (total([file.totals for file in files]).accepted == 0)

    @given(any_files)
    def test_what_did_not_go_well_is_explained(self, files: list[FileFacts]) -> None:
        """Waiting, failed and partly delivered carry a reason with advice; the others need none."""
        verdict = assess(files)
        unwell = {DeliveryState.WAITING, DeliveryState.FAILED, DeliveryState.PARTLY_DELIVERED}
        assert (verdict.state in unwell) == (verdict.reason is not None)
        assert verdict.reason is None or verdict.reason.advice

    @pytest.mark.parametrize(
        ("files", "state", "code"),
        [
            ([facts(accepted=1)], DeliveryState.DELIVERED, None),
            ([facts(accepted=1, refused=1)], DeliveryState.DELIVERED, None),
            ([facts(accepted=1), facts(refused=1)], DeliveryState.DELIVERED, None),
            ([facts(refused=2)], DeliveryState.FAILED, "no_valid_record"),
            ([facts(accepted=1, dead=1)], DeliveryState.PARTLY_DELIVERED, "object_changed"),
            ([facts(accepted=1), facts(Planning.FAILED)], DeliveryState.PARTLY_DELIVERED, "object_missing"),
            ([facts(Planning.FAILED), facts(dead=1)], DeliveryState.FAILED, "object_missing"),
            ([facts(dead=1)], DeliveryState.FAILED, "object_changed"),
            ([facts(accepted=1, waiting=1)], DeliveryState.WAITING, "token_dead"),
            ([facts(waiting=1, opened=1)], DeliveryState.UPLOADING, None),
            ([facts(waiting=1), facts(Planning.PENDING)], DeliveryState.PLANNING, None),
        ],
    )
    def test_cases_a_person_would_name(self, files: list[FileFacts], state: DeliveryState, code: str | None) -> None:
        """The rules, said in examples."""
        verdict = assess(files)
        assert (state, code) == (verdict.state, verdict.reason.code if verdict.reason else None)


class TestFile:
    @given(any_file)
    def test_a_file_of_refused_records_only_has_failed_for_its_owner(self, file: FileFacts) -> None:
        """Delivered means that somebody arrived and nobody was given up."""
        if file_state(file) is FileState.DELIVERED:
            assert file.totals.accepted > 0
            assert file.dead == 0

    @given(any_file)
    def test_failed_and_waiting_files_say_why(self, file: FileFacts) -> None:
        """A reason exists exactly where an owner would ask for one."""
        assert (file_reason(file) is not None) == (file_state(file) in {FileState.FAILED, FileState.WAITING})

    def test_the_reason_is_the_nearest_one(self) -> None:
        """A plan that failed explains more than the chunks before it; a death more than refused records."""
        assert UNREADABLE == file_reason(facts(Planning.FAILED, dead=1))
        assert DIED == file_reason(facts(refused=1, dead=1))
        assert NO_VALID_RECORD == file_reason(facts(refused=1))
        assert TOKEN == file_reason(facts(accepted=1, waiting=1))


class TestSums:
    @given(any_files)
    def test_an_ended_delivery_accounts_for_every_record(self, files: list[FileFacts]) -> None:
        """The sum of the places is the number of records: accepted + invalid + rejected + waiting + dead."""
        sums = total([file.totals for file in files])
        if ended(assess(files).state):
            assert sums.records == sums.accepted + sums.invalid + sums.rejected + sums.waiting + sums.dead

    def test_nothing_sums_to_nothing(self) -> None:
        """A delivery without files has no records."""
        assert Totals() == total([])


class TestTransitions:
    @pytest.mark.parametrize(("before", "after"), list(product(DeliveryState, DeliveryState)))
    def test_an_end_is_final_and_nothing_is_accepted_twice(self, before: DeliveryState, after: DeliveryState) -> None:
        """No way leads out of an ended state, or back to the first one."""
        allowed = not ended(before) and (after is not DeliveryState.ACCEPTED or before is DeliveryState.ACCEPTED)
        assert allowed == may_follow(before, after)

    def test_four_states_end_a_delivery(self) -> None:
        """The contract names them."""
        assert {"delivered", "partly_delivered", "failed", "cancelled"} == {
            state.value for state in DeliveryState if ended(state)
        }

    @pytest.mark.parametrize(
        ("current", "settled_before", "applies"),
        [
            (Settlement.OPEN, False, True),
            (Settlement.OPEN, True, False),
            (Settlement.WAITING, False, True),
            (Settlement.WAITING, True, False),
            (Settlement.DELIVERED, False, False),
            (Settlement.DELIVERED, True, False),
            (Settlement.DEAD, False, False),
            (Settlement.DEAD, True, False),
        ],
    )
    def test_a_chunk_settles_once(self, current: Settlement, settled_before: bool, applies: bool) -> None:  # noqa: FBT001 -- a table
        """What waits may go on; what was delivered or given up never changes; a repeated outcome does nothing."""
        assert applies == settlement_applies(current, settled_before=settled_before)
