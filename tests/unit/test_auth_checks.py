"""The decisions of auth: what a token, an account, an audience, a binding must be, and what Meta's troubles mean."""

from collections.abc import Mapping
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from typing import Any
from uuid import UUID

import pytest
from pydantic import SecretStr, ValidationError

from connector.graph import verdicts
from connector.graph.verdicts import TABLE, Trouble
from schemas.events import ProfileStatus, Reason
from services.auth.announcing import announcement
from services.auth.answers import (
    AccountDocument,
    AudiencePage,
    CreatedAudience,
    DebuggedToken,
    Inspected,
    SeenAccount,
    SeenAudience,
)
from services.auth.connecting import check_account, check_token
from services.auth.destinations import check_audience, description_of
from services.auth.issue import LeaseRequest, appsecret_proof, check_binding, check_usable, lease_end
from services.auth.meta import refusal_of
from services.auth.profiles import AdAccount, CustomerFileSource, Grant, Profile
from services.auth.questions import AskLease, ConnectProfile, FindProfiles, read, read_query
from services.auth.refusals import Code, Refusal
from services.auth.routes import STATUS, refused

NOW = datetime(2026, 11, 24, 12, tzinfo=UTC)
ACCOUNT = "act_1001"
PROFILE = Profile(
    id=UUID(int=7),
    company_id=42,
    name="main",
    description=None,
    status=ProfileStatus.CONNECTED,
    reason=None,
    ad_account=AdAccount(ACCOUNT, "Example Shop", "5", "Example Inc"),
    customer_file_source=CustomerFileSource.USER_PROVIDED_ONLY,
    grant=Grant("9", "Example Person", ("ads_management", "business_management"), None, None),
    token_version=1,
    sequence=3,
    created_at=NOW,
    updated_at=NOW,
)
REQUEST = LeaseRequest(PROFILE.id, 42, ACCOUNT, "2385", "7/0/1")
TOKEN = Inspected(
    app_id="11",
    kind="USER",
    is_valid=True,
    expires_at=None,
    data_access_expires_at=None,
    scopes=("ads_management", "business_management", "public_profile"),
    accounts=None,
    reason="",
)
SEEN = SeenAccount(ACCOUNT, "Example Shop", "5", "Example Inc", accepted_terms=True, user_accepted_terms=True)


def until(seconds: float) -> Profile:
    return replace(PROFILE, grant=replace(PROFILE.grant, expires_at=NOW + timedelta(seconds=seconds)))


class TestProof:
    def test_vector(self) -> None:
        """HMAC-SHA256 in hex, key app secret, message token: RFC 4231 test case 2."""
        proof = appsecret_proof(SecretStr("Jefe"), SecretStr("what do ya want for nothing?"))

        assert "5bdcc146bf60754e6a042426089575c75a003f089d2739839dec58b964ec3843" == proof.get_secret_value()
        assert "5bdcc146" not in repr(proof)


class TestBinding:
    def test_what_belongs_together_passes(self) -> None:
        """The profile's own company, account and audience are fine."""
        check_binding(PROFILE, REQUEST, audience_known=True)

    @pytest.mark.parametrize(
        ("request_", "known", "code"),
        [
            (replace(REQUEST, company_id=43), True, Code.WRONG_COMPANY),
            (replace(REQUEST, ad_account_id="act_1002"), True, Code.BINDING_REFUSED),
            (REQUEST, False, Code.BINDING_REFUSED),
        ],
    )
    def test_one_stranger_is_enough(self, request_: LeaseRequest, known: bool, code: Code) -> None:  # noqa: FBT001 -- a case's parameter
        """One name that does not belong refuses the whole."""
        with pytest.raises(Refusal) as caught:
            check_binding(PROFILE, request_, audience_known=known)

        assert code is caught.value.code


class TestUsable:
    @pytest.mark.parametrize(
        ("status", "code"),
        [
            (ProfileStatus.TOKEN_DEAD, Code.TOKEN_DEAD),
            (ProfileStatus.DISABLED, Code.PROFILE_DISABLED),
            (ProfileStatus.ARCHIVED, Code.PROFILE_DISABLED),
        ],
    )
    def test_only_connected_ones(self, status: ProfileStatus, code: Code) -> None:
        """Every other status has its refusal, with advice."""
        with pytest.raises(Refusal) as caught:
            check_usable(replace(PROFILE, status=status), NOW)

        assert code is caught.value.code
        assert caught.value.advice

    def test_an_expired_token_is_dead(self) -> None:
        """At the very second of its end, and not one before."""
        check_usable(until(1), NOW)
        with pytest.raises(Refusal, match="expired"):
            check_usable(until(0), NOW)

    @pytest.mark.parametrize(("profile", "seconds"), [(PROFILE, 300), (until(60), 60), (until(600), 300)])
    def test_leases_are_short(self, profile: Profile, seconds: int) -> None:
        """A lease ends after its time, or with the token if that is sooner."""
        assert NOW + timedelta(seconds=seconds) == lease_end(profile, NOW, timedelta(seconds=300))


class TestToken:
    def test_a_good_one_passes(self) -> None:
        """Alive, ours, with both scopes."""
        check_token(TOKEN, "11", ACCOUNT, NOW)
        check_token(replace(TOKEN, kind="SYSTEM_USER", accounts=frozenset({"1001"})), "11", ACCOUNT, NOW)

    @pytest.mark.parametrize(
        ("token", "code"),
        [
            (replace(TOKEN, app_id="12"), Code.TOKEN_OF_OTHER_APP),
            (replace(TOKEN, app_id="12", is_valid=False), Code.TOKEN_OF_OTHER_APP),
            (replace(TOKEN, app_id=None, is_valid=False), Code.TOKEN_DEAD),
            (replace(TOKEN, app_id=None), Code.TOKEN_DEAD),
            (replace(TOKEN, is_valid=False), Code.TOKEN_DEAD),
            (replace(TOKEN, expires_at=NOW), Code.TOKEN_DEAD),
            (replace(TOKEN, kind="PAGE"), Code.PERMISSION_MISSING),
            (replace(TOKEN, kind=None), Code.PERMISSION_MISSING),
            (replace(TOKEN, scopes=("ads_management",)), Code.PERMISSION_MISSING),
            (replace(TOKEN, scopes=()), Code.PERMISSION_MISSING),
            (replace(TOKEN, accounts=frozenset()), Code.PERMISSION_MISSING),
            (replace(TOKEN, accounts=frozenset({"1002"})), Code.PERMISSION_MISSING),
        ],
    )
    def test_refused_ones(self, token: Inspected, code: Code) -> None:
        """Each fault has its name."""
        with pytest.raises(Refusal) as caught:
            check_token(token, "11", ACCOUNT, NOW)

        assert code is caught.value.code

    def test_missing_scopes_are_listed_in_order(self) -> None:
        """All missing scopes are named at once, alphabetically."""
        with pytest.raises(Refusal, match="ads_management, business_management"):
            check_token(replace(TOKEN, scopes=()), "11", ACCOUNT, NOW)


class TestAccount:
    def test_a_ready_one_passes(self) -> None:
        """A business owns it and the person accepted the terms."""
        assert PROFILE.ad_account == check_account(SEEN, "USER")

    def test_terms_are_per_person(self) -> None:
        """Somebody else's acceptance is not this person's; for a system user, who cannot accept, it counts."""
        seen = replace(SEEN, user_accepted_terms=False)

        with pytest.raises(Refusal) as caught:
            check_account(seen, "USER")

        assert Code.TERMS_MISSING is caught.value.code
        assert ACCOUNT == check_account(seen, "SYSTEM_USER").id

    def test_nobody_accepted(self) -> None:
        """Without any acceptance a system user does not help."""
        with pytest.raises(Refusal, match="terms"):
            check_account(replace(SEEN, user_accepted_terms=False, accepted_terms=False), "SYSTEM_USER")

    def test_no_business(self) -> None:
        """A personal account is refused."""
        with pytest.raises(Refusal) as caught:
            check_account(replace(SEEN, business_id=None), "USER")

        assert Code.BUSINESS_MISSING is caught.value.code


class TestAudience:
    def test_the_prefix_does_not_matter(self) -> None:
        """Meta writes account ids without `act_` in audiences."""
        assert "2385" == check_audience(SeenAudience("2385", "n", "1001", "CUSTOM"), PROFILE).id

    @pytest.mark.parametrize(
        ("account", "subtype", "code"),
        [
            ("1002", "CUSTOM", Code.AUDIENCE_OF_OTHER_ACCOUNT),
            ("1001", "LOOKALIKE", Code.AUDIENCE_NOT_CUSTOM),
            ("1001", "", Code.AUDIENCE_NOT_CUSTOM),
        ],
    )
    def test_refused_ones(self, account: str, subtype: str, code: Code) -> None:
        """Another account's, or no customer list."""
        with pytest.raises(Refusal) as caught:
            check_audience(SeenAudience("2385", "n", account, subtype), PROFILE)

        assert code is caught.value.code

    def test_descriptions_are_short(self) -> None:
        """Predecessors cut descriptions at 100 characters: ours must survive that, or it would not be found again."""
        assert len(description_of(UUID(int=1), f"subscription:{UUID(int=2)}")) <= 100


class TestAnswers:
    @pytest.mark.parametrize(
        ("data", "accounts"),
        [
            ({"granular_scopes": [{"scope": "ads_management"}]}, None),
            ({"granular_scopes": [{"scope": "business_management", "target_ids": ["1"]}]}, None),
            ({"granular_scopes": [{"scope": "ads_management", "target_ids": [1, "2"]}]}, {"1", "2"}),
            ({"granular_scopes": [{"scope": "ads_management", "target_ids": []}]}, set()),
            ({}, None),
        ],
    )
    def test_restrictions_of_a_token(self, data: Mapping[str, Any], accounts: set[str] | None) -> None:
        """Only a restriction of ads_management counts, and an empty one allows nothing."""
        document = {"data": {"is_valid": True, "app_id": 11, **data}}

        assert accounts == DebuggedToken.model_validate(document).inspected().accounts

    def test_times_of_a_token(self) -> None:
        """Zero is never, seconds are UTC."""
        document = {"data": {"is_valid": True, "expires_at": 0, "data_access_expires_at": 1_795_521_600}}

        seen = DebuggedToken.model_validate(document).inspected()

        assert (None, datetime(2026, 11, 24, 12, tzinfo=UTC)) == (seen.expires_at, seen.data_access_expires_at)

    @pytest.mark.parametrize(
        ("terms", "accepted"),
        [({"custom_audience_tos": 1}, True), ({"custom_audience_tos": 0}, False), ([], False), (None, False)],
    )
    def test_terms_of_an_account(self, terms: object, accepted: bool) -> None:  # noqa: FBT001 -- a case's parameter
        """Terms are accepted by a 1; an empty list is PHP's empty map."""
        document = {"id": ACCOUNT, "user_tos_accepted": terms}

        assert accepted is AccountDocument.model_validate(document).seen().user_accepted_terms

    @pytest.mark.parametrize("document", [{}, {"id": None}, {"id": True}, {"id": "12; DROP"}, {"id": "1" * 40}])
    def test_a_create_without_an_id_is_none(self, document: Mapping[str, Any]) -> None:
        """Whatever is no id is not taken for an audience."""
        with pytest.raises(ValidationError):
            CreatedAudience.model_validate(document)

    @pytest.mark.parametrize(
        ("paging", "cursor"),
        [
            ({"cursors": {"after": "c"}, "next": "https://example.test"}, "c"),
            ({"cursors": {"after": "c"}}, None),
            ({"next": "https://example.test"}, None),
            (None, None),
        ],
    )
    def test_the_last_page_has_no_next(self, paging: object, cursor: str | None) -> None:
        """Cursors are there on the last page too: only `next` says that there is more."""
        assert cursor == AudiencePage.model_validate({"data": [], "paging": paging}).next_cursor()


class TestMetasTroubles:
    @pytest.mark.parametrize("trouble", TABLE.values(), ids=[str(key) for key in TABLE])
    def test_every_row_has_a_refusal(self, trouble: Trouble) -> None:
        """No verdict is left without a meaning, and none becomes a success."""
        refusal = refusal_of(trouble, "1/2", ACCOUNT, Code.AUDIENCE_NOT_FOUND)

        assert refusal.message
        assert 400 <= STATUS[refusal.code] < 600

    @pytest.mark.parametrize(
        ("key", "code"),
        [
            ((190, 460), Code.TOKEN_DEAD),
            ((102, None), Code.TOKEN_DEAD),
            ((200, None), Code.PERMISSION_MISSING),
            ((200, 1870090), Code.TERMS_MISSING),
            ((2663, None), Code.TERMS_MISSING),
            ((80003, None), Code.THROTTLED),
            ((4, None), Code.THROTTLED),
            ((2, None), Code.GRAPH_UNAVAILABLE),
            ((100, 33), Code.AUDIENCE_NOT_FOUND),
            ((368, None), Code.PERMISSION_MISSING),
        ],
    )
    def test_what_callers_switch_on(self, key: tuple[int, int | None], code: Code) -> None:
        """The families keep their names."""
        label = f"{key[0]}" if key[1] is None else f"{key[0]}/{key[1]}"

        assert code is refusal_of(TABLE[key], label, ACCOUNT, Code.AUDIENCE_NOT_FOUND).code

    def test_unknown_is_no_answer(self) -> None:
        """What nobody recognises is asked again, and never blamed on the customer."""
        refusal = refusal_of(verdicts.Unknown("31337"), "31337", ACCOUNT, Code.AUDIENCE_NOT_FOUND)

        assert Code.GRAPH_UNAVAILABLE is refusal.code

    def test_a_throttle_says_how_long(self) -> None:
        """Meta's own estimate reaches the caller."""
        throttled = verdicts.Throttled(verdicts.ThrottleScope.ACCOUNT, 120)

        assert "120" == refused(refusal_of(throttled, "80003", ACCOUNT, Code.AUDIENCE_NOT_FOUND)).headers["Retry-After"]


class TestApi:
    def test_every_code_has_a_status(self) -> None:
        """A refusal nobody gave a status would be a crash."""
        assert set(Code) == set(STATUS)

    @pytest.mark.parametrize("code", Code)
    def test_retry_after_is_for_what_passes(self, code: Code) -> None:
        """A waiting time is told in whole seconds, rounded up, and only when it is known."""
        assert "Retry-After" not in refused(Refusal(code, "m")).headers
        assert "3" == refused(Refusal(code, "m", retry_after=2.1)).headers["Retry-After"]

    def test_tokens_in_questions_are_hidden(self) -> None:
        """A question can be shown without showing the token."""
        body = {
            "company_id": 1,
            "name": "n",
            "ad_account_id": ACCOUNT,
            "token": "canary",
            "customer_file_source": "USER_PROVIDED_ONLY",
        }

        assert "canary" not in repr(ConnectProfile.model_validate(body))

    @pytest.mark.parametrize("body", [b"", b"[]", b"canary", b'{"profile_id":"canary"}', b'{"canary":1}', b"\xff"])
    def test_a_wrong_body_is_not_repeated(self, body: bytes) -> None:
        """Errors name fields, never values."""
        with pytest.raises(Refusal) as caught:
            read(AskLease, body)

        assert Code.INVALID_REQUEST is caught.value.code
        assert "canary" not in caught.value.message.replace("canary: Extra", "")

    def test_a_query_is_typed(self) -> None:
        """Numbers in a query are numbers; what is unknown is refused."""
        assert 5 == read_query(FindProfiles, {"company_id": "5"}).company_id
        with pytest.raises(Refusal):
            read_query(FindProfiles, {"company_id": "x"})
        with pytest.raises(Refusal):
            read_query(FindProfiles, {"surprise": "1"})


class TestAnnouncement:
    def test_is_the_state(self) -> None:
        """The event is keyed by the profile and identified by its change; telling it again is the same event."""
        reason = Reason(code="token_dead", message="m", advice="a")
        dead = replace(PROFILE, status=ProfileStatus.TOKEN_DEAD, reason=reason)

        first, again = announcement(dead, NOW), announcement(dead, NOW + timedelta(hours=1))

        assert str(PROFILE.id).encode() == first.key
        assert first.value == again.value
        assert dict(first.headers)["ce_id"] == dict(again.headers)["ce_id"]
        assert dict(first.headers)["ce_id"] != dict(announcement(replace(dead, sequence=4), NOW).headers)["ce_id"]
