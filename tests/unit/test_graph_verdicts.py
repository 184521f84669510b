"""What each answer of Meta is taken for: a test per row of the table, in the order of Meta's error reference."""

import pytest
from hypothesis import assume, given
from hypothesis import strategies as st

from connector.graph.errors import GraphError
from connector.graph.protocol import Garbled, Meta, NoAnswer, Refusal
from connector.graph.usage import BusinessUse, Usage
from connector.graph.verdicts import (
    DEFAULT_ACCOUNT_WAIT,
    DEFAULT_APP_WAIT,
    HALVE_AFTER,
    REMEDIES,
    SCORE_WAIT,
    TABLE,
    WHY,
    Impossible,
    Remedy,
    RetryLater,
    Split,
    Throttled,
    ThrottleScope,
    Trouble,
    Unknown,
    WaitForPerson,
    WaitScope,
    classify,
    remedy,
)

ACCOUNT, APP = ThrottleScope.ACCOUNT, ThrottleScope.APP


def refused(code: int, subcode: int | None = None, *, transient: bool = False, status: int = 400) -> Refusal:
    """An error envelope with that code."""
    error = GraphError(code, subcode, "OAuthException", transient, "", "words that decide nothing", "trace")
    return Refusal(error, Meta(status, Usage()))


def verdict(code: int, subcode: int | None = None) -> Trouble:
    """What a persistent refusal is taken for."""
    return classify(refused(code, subcode))


class TestPassingTrouble:
    @pytest.mark.parametrize(
        ("code", "subcode"),
        [(1, None), (2, None), (960, None), (5000, None), (21009, None), (104, None), (2650, 1870145), (2650, 1870148)],
    )
    def test_is_tried_again(self, code: int, subcode: int | None) -> None:
        """Meta's own trouble costs an attempt and nothing else."""
        assert isinstance(verdict(code, subcode), RetryLater)

    def test_metas_catch_all_is_halved_in_the_end(self) -> None:
        """Code 1 is also what a batch gets that is too much: after a few attempts its halves are sent."""
        assert RetryLater("unknown_at_meta", HALVE_AFTER) == verdict(1)

    @pytest.mark.parametrize("status", [200, 204, 408, 500, 502, 503, 599])
    def test_garbled_answers_of_servers_that_try_are_tried_again(self, status: int) -> None:
        """HTML or nothing with such a status is infrastructure."""
        assert RetryLater("garbled_answer") == classify(Garbled("HTML", Meta(status, Usage())))

    @pytest.mark.parametrize("sent", [True, False])
    def test_no_answer_is_tried_again(self, *, sent: bool) -> None:
        """Sending members twice changes nothing, so a lost answer is not a question."""
        assert RetryLater("no_answer") == classify(NoAnswer("time-out", sent=sent))

    @pytest.mark.parametrize("code", [100, 105, 2635, 987654])
    def test_what_meta_calls_transient_is_tried_again(self, code: int) -> None:
        """is_transient outweighs a code that would end the chunk."""
        assert RetryLater("transient") == classify(refused(code, transient=True))


class TestSplit:
    @pytest.mark.parametrize("transient", [True, False])
    def test_oversized_requests_are_halved(self, *, transient: bool) -> None:
        """1/99 is no passing trouble, whatever is_transient says: the same request would be refused again."""
        assert isinstance(classify(refused(1, 99, transient=transient)), Split)

    def test_a_gateway_may_refuse_the_size(self) -> None:
        """413 comes without an envelope."""
        assert isinstance(classify(Garbled("HTML", Meta(413, Usage()))), Split)


class TestThrottles:
    @pytest.mark.parametrize("subcode", [None, 1504022])
    @pytest.mark.parametrize("code", [4, 341])
    def test_the_apps_budget_pauses_everybody(self, code: int, subcode: int | None) -> None:
        """4 and 341 meter the app."""
        assert Throttled(APP, DEFAULT_APP_WAIT) == verdict(code, subcode)

    @pytest.mark.parametrize(
        ("code", "subcode"),
        [
            (32, None),
            (613, None),
            (613, 1996),
            (613, 5044001),
            (613, 1487632),
            (613, 1487225),
            *((code, 2446079) for code in range(80000, 80015)),
        ],
    )
    def test_an_accounts_budget_pauses_the_account(self, code: int, subcode: int | None) -> None:
        """All others meter one ad account."""
        assert Throttled(ACCOUNT, DEFAULT_ACCOUNT_WAIT) == verdict(code, subcode)

    @pytest.mark.parametrize(("code", "subcode"), [(17, None), (17, 2446079), (613, 1487742)])
    def test_an_accounts_score_needs_five_minutes(self, code: int, subcode: int | None) -> None:
        """It decays over that time, and blocks for as long."""
        assert Throttled(ACCOUNT, SCORE_WAIT) == verdict(code, subcode)

    @pytest.mark.parametrize("account", ["act_7", None])
    def test_metas_own_estimate_is_taken(self, account: str | None) -> None:
        """A stated time replaces ours, also with is_transient."""
        usage = Usage((BusinessUse("7", "custom_audience", 100, 420),))
        answer = Refusal(refused(80003, transient=True).error, Meta(400, usage))

        assert Throttled(ACCOUNT, 420, stated=True) == classify(answer, account)

    @pytest.mark.parametrize(("code", "account"), [(80003, "act_8"), (4, "act_7")])
    def test_an_estimate_for_somebody_else_is_not(self, code: int, account: str) -> None:
        """The header may name other accounts, and no account's estimate is about the app."""
        answer = Refusal(refused(code).error, Meta(400, Usage((BusinessUse("7", "custom_audience", 100, 420),))))

        assert verdict(code) == classify(answer, account)

    @pytest.mark.parametrize(("code", "scope"), [(80003, ACCOUNT), (4, APP)])
    def test_retry_after_is_taken(self, code: int, scope: ThrottleScope) -> None:
        """It is about the call that was refused, whatever budget that was."""
        answer = Refusal(refused(code).error, Meta(400, Usage(retry_after=90)))

        assert Throttled(scope, 90, stated=True) == classify(answer, "act_7")

    @pytest.mark.parametrize(("percent", "seconds", "stated"), [(100, 120, True), (40, SCORE_WAIT, False)])
    def test_a_spent_score_names_its_time(self, percent: float, seconds: float, *, stated: bool) -> None:
        """reset_time_duration is when the score is back at zero; it says nothing when the score is not spent."""
        answer = Refusal(refused(17, 2446079).error, Meta(400, Usage(account_percent=percent, account_reset=120)))

        assert Throttled(ACCOUNT, seconds, stated=stated) == classify(answer, "act_7")

    def test_429_without_an_envelope_is_a_throttle(self) -> None:
        """The servers before Graph write no envelopes."""
        answer = Garbled("HTML", Meta(429, Usage(retry_after=30)))

        assert Throttled(ACCOUNT, 30, stated=True) == classify(answer)


class TestPeople:
    @pytest.mark.parametrize("subcode", [None, 458, 459, 460, 463, 464, 467, 492, 493, 999])
    def test_a_dead_token_stops_the_token(self, subcode: int | None) -> None:
        """190 with any subcode, known or new."""
        found = verdict(190, subcode)

        assert isinstance(found, WaitForPerson)
        assert WaitScope.TOKEN == found.scope

    def test_a_dead_token_is_not_brought_back_by_is_transient(self) -> None:
        """Where a person is named, a retry would only burn calls."""
        assert isinstance(classify(refused(190, 463, transient=True)), WaitForPerson)

    @pytest.mark.parametrize(
        ("code", "subcode", "cause", "scope"),
        [
            (102, None, "session_invalid", WaitScope.TOKEN),
            (3, None, "app_capability_missing", WaitScope.APP),
            (10, None, "permission_missing", WaitScope.TOKEN),
            (294, None, "permission_missing", WaitScope.TOKEN),
            (200, None, "permission_missing", WaitScope.TOKEN),
            (299, None, "permission_missing", WaitScope.TOKEN),
            (200, 4711, "permission_missing", WaitScope.TOKEN),
            (270, None, "app_in_development", WaitScope.ACCOUNT),
            (275, None, "ad_account_invalid", WaitScope.ACCOUNT),
            (200, 1870090, "terms_missing", WaitScope.ACCOUNT),
            (200, 1870034, "terms_missing", WaitScope.ACCOUNT),
            (200, 1870092, "terms_missing", WaitScope.ACCOUNT),
            (2655, None, "terms_missing", WaitScope.ACCOUNT),
            (2663, None, "terms_missing", WaitScope.ACCOUNT),
            (2664, None, "terms_missing", WaitScope.ACCOUNT),
            (200, 1870050, "business_missing", WaitScope.ACCOUNT),
            (2654, None, "audience_create_refused", WaitScope.ACCOUNT),
            (2654, 1713092, "no_write_access", WaitScope.ACCOUNT),
            (368, None, "policy_block", WaitScope.ACCOUNT),
            (368, 1404078, "policy_block", WaitScope.ACCOUNT),
            (368, 2859015, "policy_block", WaitScope.ACCOUNT),
            (100, 1713230, "audience_flagged", WaitScope.AUDIENCE),
            (100, 1713228, "audience_flagged", WaitScope.AUDIENCE),
            (100, 1713231, "audience_flagged", WaitScope.AUDIENCE),
            (471, None, "audience_flagged", WaitScope.AUDIENCE),
            (1487301, None, "audience_not_shared", WaitScope.AUDIENCE),
            (100, 33, "unreachable", WaitScope.AUDIENCE),
        ],
    )
    def test_what_a_person_has_to_mend_names_cause_and_scope(
        self, code: int, subcode: int | None, cause: str, scope: WaitScope
    ) -> None:
        """Permissions, terms and policy wait; everything with the same scope waits with them."""
        found = verdict(code, subcode)

        assert isinstance(found, WaitForPerson)
        assert (cause, scope) == (found.cause, found.scope)


class TestImpossible:
    @pytest.mark.parametrize(
        ("code", "subcode", "reason"),
        [
            (100, None, "invalid_parameter"),
            (100, 2804001, "invalid_parameter"),
            (100, 2460003, "blocked_by_integrity"),
            (105, None, "too_many_parameters"),
            (194, None, "missing_parameter"),
            (200, 1870047, "audience_too_small"),
            (200, 1870065, "audience_disabled"),
            (803, None, "audience_gone"),
            (1487366, None, "audience_gone"),
            (2500, None, "unparsable_request"),
            (2635, None, "version_ended"),
            (2650, None, "schema_kind"),
            (2650, 1870144, "replace_too_large"),
            (2650, 1870147, "replace_out_of_order"),
            (2650, 1870158, "replace_expired"),
            (2650, 1870159, "replace_finished"),
            (2656, None, "lookalikes_depend"),
        ],
    )
    def test_what_never_works_says_why(self, code: int, subcode: int | None, reason: str) -> None:
        """A defect, a gone audience or a refused operation ends at once."""
        found = verdict(code, subcode)

        assert isinstance(found, Impossible)
        assert reason == found.reason

    def test_a_removal_that_leaves_too_few_is_not_tried_again(self) -> None:
        """200/1870047 is final, whatever is_transient says: the same removal is refused again."""
        found = classify(refused(200, 1870047, transient=True))

        assert isinstance(found, Impossible)
        assert ("audience_too_small", True) == (found.reason, found.final)


class TestReplacements:
    @pytest.mark.parametrize(
        ("subcode", "expected"),
        [
            (1870145, Remedy.WAIT),
            (1870147, Remedy.FIRST_BATCH),
            (1870158, Remedy.RESTART),
            (1870159, Remedy.RESTART),
            (1870148, Remedy.RESTART),
            (1870144, Remedy.ADD_AND_REMOVE),
            (None, None),
            (4711, None),
        ],
    )
    def test_have_a_remedy_for_each_refusal(self, subcode: int | None, expected: Remedy | None) -> None:
        """The subcodes of Meta's usersreplace reference say what to do with the session."""
        assert expected == remedy(refused(2650, subcode).error)

    def test_have_remedies_for_their_codes_only(self) -> None:
        """The same subcode with another code says nothing about a session."""
        assert remedy(refused(100, 1870158).error) is None


class TestUnknown:
    def test_a_new_code_is_unknown_and_named(self) -> None:
        """Nobody has described it: it is no success, no retry loop, and its label goes into the alarm."""
        assert Unknown("987654/12") == verdict(987654, 12)

    @pytest.mark.parametrize("status", [302, 400, 403, 404])
    def test_a_garbled_4xx_is_unknown(self, status: int) -> None:
        """A page that says "no" without saying why."""
        assert Unknown(f"http_{status}") == classify(Garbled("HTML", Meta(status, Usage())))

    @given(code=st.integers(-(2**31), 2**31), subcode=st.none() | st.integers(0, 2**31), transient=st.booleans())
    def test_no_code_outside_the_table_is_more_than_unknown(
        self, *, code: int, subcode: int | None, transient: bool
    ) -> None:
        """Nothing is guessed from the neighbourhood of a code; 200 to 299 are the one family."""
        assume((code, None) not in TABLE and (code, subcode) not in TABLE and code not in range(200, 300))

        found = classify(refused(code, subcode, transient=transient))

        assert found == (RetryLater("transient") if transient else Unknown(refused(code, subcode).error.label))


class TestTheTable:
    def test_reasons_and_remedies_are_about_rows(self) -> None:
        """Nothing is explained that is not decided."""
        assert set(WHY) | set(REMEDIES) <= set(TABLE)

    def test_every_row_can_be_shown_to_a_person(self) -> None:
        """Causes and reasons are slugs for events; advice is there and short enough for one."""
        for found in TABLE.values():
            match found:
                case WaitForPerson(cause, _, advice) | Impossible(cause, advice, _):
                    assert cause.replace("_", "").isalnum()
                    assert 0 < len(advice) <= 512
                case _:
                    assert not isinstance(found, Unknown)
