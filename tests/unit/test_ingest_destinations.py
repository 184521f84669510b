"""What auth's answers mean for a delivery: a yes, a no, a person, or later. Never a guess."""

import json
from typing import Any
from uuid import UUID

import pytest
from hypothesis import given
from hypothesis import strategies as st

from schemas.events import DeliveryKind, DeliveryRequested, FileRef, QuickSettings
from services.auth.questions import ResolveDestination, read
from services.auth.refusals import Code
from services.auth.routes import STATUS
from services.ingest.destinations import REFUSALS, Refused, Waits, decipher, question
from services.ingest.patience import TryLater
from services.ingest.plan import Destination

PROFILE = UUID("5b0f9c1e-7a44-4f0e-9f61-0d8b3f3f2c11")
CONNECTION = UUID("c0a8f1d2-1c57-4a44-8a8e-6f6f0b1f9d22")


def resolved(**changes: Any) -> bytes:
    """Auth's 200."""
    document = {
        "profile_id": str(PROFILE),
        "ad_account_id": "act_1",
        "audience_id": "23",
        "audience_name": "Demo",
        "created": True,
        **changes,
    }
    return json.dumps(document).encode()


def failure(code: str) -> bytes:
    """Auth's error body."""
    return json.dumps({"error": {"code": code, "message": "why", "advice": "what to do"}}).encode()


class TestDecipher:
    def test_a_destination_is_taken(self) -> None:
        """Ad account and audience, as auth resolved them."""
        assert Destination("act_1", "23") == decipher(PROFILE, 200, {}, resolved())

    @pytest.mark.parametrize(("status", "code"), sorted(REFUSALS))
    def test_refusals_end_the_delivery_in_auths_words(self, status: int, code: str) -> None:
        """Code, message and advice come through."""
        answer = decipher(PROFILE, status, {}, failure(code))
        assert isinstance(answer, Refused)
        assert (code, "why", "what to do") == (answer.reason.code, answer.reason.message, answer.reason.advice)

    @pytest.mark.parametrize(
        "code", ["token_dead", "profile_disabled", "terms_missing", "permission_missing", "business_missing"]
    )
    def test_what_a_person_can_mend_waits(self, code: str) -> None:
        """A dead token is not a failed delivery."""
        answer = decipher(PROFILE, 409, {}, failure(code))
        assert isinstance(answer, Waits)
        assert code == answer.reason.code

    @pytest.mark.parametrize(
        ("status", "body"),
        [
            (503, failure("graph_unavailable")),
            (503, failure("throttled")),
            (401, failure("unidentified")),
            (403, failure("caller_refused")),
            (404, failure("not_found")),
            (409, b"<html>"),
            (422, failure("something_new")),
            (500, b"<html>"),
            (302, b""),
            (200, b"{}"),
            (200, b"not json"),
            (200, resolved(ad_account_id="1")),
            (200, resolved(audience_id=None)),
            (200, resolved(profile_id=str(CONNECTION))),
        ],
    )
    def test_what_nobody_recognises_is_asked_again(self, status: int, body: bytes) -> None:
        """Busy, broken, misconfigured, half an answer, or one about another profile: neither yes nor no."""
        with pytest.raises(TryLater):
            decipher(PROFILE, status, {}, body)

    @pytest.mark.parametrize(("value", "asked"), [("7", 7.0), ("999999", 3600.0), ("soon", None), ("", None)])
    def test_retry_after_is_honoured_within_bounds(self, value: str, asked: float | None) -> None:
        """Seconds, at most an hour; anything else is as if it were not there."""
        with pytest.raises(TryLater) as caught:
            decipher(PROFILE, 503, {"Retry-After": value}, failure("throttled"))
        assert asked == caught.value.asked

    @given(st.integers(100, 599), st.binary(max_size=200))
    def test_no_bytes_crash_it(self, status: int, body: bytes) -> None:
        """Whatever stands between us and auth may answer."""
        with pytest.raises(TryLater):
            decipher(PROFILE, status, {}, body)


class TestContract:
    """Both sides of one route, held against each other."""

    @pytest.mark.parametrize(("status", "code"), sorted(REFUSALS))
    def test_auth_answers_each_refusal_with_the_status_we_expect(self, status: int, code: str) -> None:
        """A code that moved to another status would be asked again for hours instead of told."""
        assert status == STATUS[Code(code)]

    def test_auth_understands_the_question(self) -> None:
        """Its own model reads what we write."""
        event = DeliveryRequested(
            revision=1,
            kind=DeliveryKind.SUBSCRIPTION_DELIVERY,
            company_id=3,
            profile_id=PROFILE,
            subscription_id=CONNECTION,
            quick_settings=QuickSettings(audience_name="Demo"),
            files=(FileRef(name="a", store="local", key="a"),),
        )
        asked = read(ResolveDestination, question(event))
        assert (PROFILE, 3, f"subscription:{CONNECTION}") == (asked.profile_id, asked.company_id, asked.origin)
        assert (None, "Demo") == (asked.audience_id, asked.audience_name)


class TestQuestion:
    def test_it_says_who_and_what_for_and_leaves_out_what_was_not_chosen(self) -> None:
        """Profile, company and origin always; an audience only when the delivery names one."""
        event = DeliveryRequested(
            revision=1,
            kind=DeliveryKind.SNAPSHOT_APPENDED,
            company_id=3,
            profile_id=PROFILE,
            connection_id=CONNECTION,
            files=(FileRef(name="a", store="local", key="a"),),
        )
        plain = {"profile_id": str(PROFILE), "company_id": 3, "origin": f"connection:{CONNECTION}"}
        named = event.model_copy(update={"quick_settings": QuickSettings(audience_id="23", audience_name="Demo")})
        assert plain == json.loads(question(event))
        assert plain | {"audience_id": "23", "audience_name": "Demo"} == json.loads(question(named))
