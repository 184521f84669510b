"""Resolving destinations: an audience found or created once, against the emulator."""

import asyncio
from typing import Any
from uuid import uuid4

import pytest

from tests.integration.auth_parts import Answer, Auth, Emulator, RunAuth

pytest_plugins = ("tests.integration.auth_fixtures",)

CREATE = ("POST", "/customaudiences")


def connection() -> str:
    return f"connection:{uuid4()}"


@pytest.fixture
async def profile(auth: Auth, auth_emulator: Emulator) -> dict[str, Any]:
    """A profile on an ad account of its own, with a token of its own (in `secret`)."""
    token = auth_emulator.token()
    answer = await auth.connect(auth_emulator.account(), token)
    return {**answer.json, "secret": token}


class TestCreating:
    async def test_a_first_delivery_creates_the_audience(
        self, auth: Auth, auth_emulator: Emulator, profile: dict[str, Any]
    ) -> None:
        """Nobody has to make an audience by hand; it states where its data come from."""
        account = profile["ad_account"]["id"]

        answer = await auth.resolve(profile, connection(), audience_name="  Spring Newsletter ")

        assert 200 == answer.status, answer.json
        (made,) = auth_emulator.audiences(account)
        assert {
            "profile_id": profile["id"],
            "ad_account_id": account,
            "audience_id": made["id"],
            "audience_name": "Spring Newsletter",
            "value_based": False,
            "created": True,
        } == answer.json
        assert ("Spring Newsletter", "CUSTOM", "USER_PROVIDED_ONLY") == (
            made["name"],
            made["subtype"],
            made["customer_file_source"],
        )

    @pytest.mark.parametrize("kind", ["connection", "subscription"])
    async def test_the_default_name_tells_the_origin(self, auth: Auth, profile: dict[str, Any], kind: str) -> None:
        """An audience nobody named is called after what fills it."""
        origin = uuid4()

        answer = await auth.resolve(profile, f"{kind}:{origin}")

        assert f"{kind.capitalize()} {origin} Audience" == answer.json["audience_name"]

    async def test_a_crowd_creates_one(self, auth: Auth, auth_emulator: Emulator, profile: dict[str, Any]) -> None:
        """Twenty first deliveries at once make one audience, with one call, and all are told of it."""
        origin = connection()

        answers = await asyncio.gather(*(auth.resolve(profile, origin) for _ in range(20)))

        assert [200] * 20 == [answer.status for answer in answers]
        assert 1 == len({answer.json["audience_id"] for answer in answers})
        assert 1 == sum(answer.json["created"] for answer in answers)
        assert 1 == len(auth_emulator.calls(profile["ad_account"]["id"], *CREATE))

    async def test_a_crowd_on_two_processes_creates_one(
        self, auth: Auth, auth_emulator: Emulator, profile: dict[str, Any], run_auth: RunAuth
    ) -> None:
        """The promise holds between replicas, also while Meta is slow: the second waits and need not even look."""
        origin, account = connection(), profile["ad_account"]["id"]
        with run_auth() as (url, log):
            other = Auth(url, auth.keys, log, auth.session)
            auth_emulator.fail({"delay_ms": 400}, method="POST", account=account)
            answers = await asyncio.gather(*(one.resolve(profile, origin) for _ in range(10) for one in (auth, other)))

        assert [200] * 20 == [answer.status for answer in answers]
        assert 1 == len({answer.json["audience_id"] for answer in answers})
        assert 1 == sum(answer.json["created"] for answer in answers)
        assert 1 == len(auth_emulator.calls(account, *CREATE))
        assert [] == auth_emulator.calls(account, "GET", "/customaudiences")

    async def test_two_origins_have_two_audiences(self, auth: Auth, profile: dict[str, Any]) -> None:
        """The same name twice is no reason to mix two connections' people."""
        first = await auth.resolve(profile, connection(), audience_name="Same Name")
        second = await auth.resolve(profile, connection(), audience_name="Same Name")

        assert first.json["audience_id"] != second.json["audience_id"]

    async def test_refused_names_create_nothing(
        self, auth: Auth, auth_emulator: Emulator, profile: dict[str, Any]
    ) -> None:
        """A name Meta would flag, or that holds personal data, is refused before anything exists."""
        answer = await auth.resolve(profile, connection(), audience_name="Diabetes patients")

        assert (422, "audience_name_refused") == (answer.status, answer.code)
        assert [] == auth_emulator.audiences(profile["ad_account"]["id"])


class TestSticking:
    async def test_later_deliveries_find_it(self, auth: Auth, auth_emulator: Emulator, profile: dict[str, Any]) -> None:
        """The second delivery goes where the first went, without a call to Meta, whatever name it brings."""
        origin = connection()
        first = await auth.resolve(profile, origin, audience_name="First")
        calls = len(auth_emulator.tell("GET", "/calls"))

        second = await auth.resolve(profile, origin, audience_name="Second")

        assert (first.json["audience_id"], "First", False) == (
            second.json["audience_id"],
            second.json["audience_name"],
            second.json["created"],
        )
        assert calls == len(auth_emulator.tell("GET", "/calls"))

    async def test_a_named_audience_takes_over(self, auth: Auth, profile: dict[str, Any]) -> None:
        """Naming another audience moves the origin, and what was planned for the old one may still be sent."""
        other = (await auth.resolve(profile, connection())).json["audience_id"]
        origin = connection()
        old = (await auth.resolve(profile, origin)).json["audience_id"]

        moved = await auth.resolve(profile, origin, audience_id=other)
        later = await auth.resolve(profile, origin)

        assert (200, other, False) == (moved.status, moved.json["audience_id"], moved.json["created"])
        assert other == later.json["audience_id"]
        assert [200, 200] == [(await auth.lease(profile, audience)).status for audience in (old, other)]


class TestNaming:
    async def test_an_existing_audience_is_used(
        self, auth: Auth, auth_emulator: Emulator, profile: dict[str, Any]
    ) -> None:
        """A customer's own customer list is verified and used; nothing is created."""
        own = await auth.resolve(profile, connection(), audience_name="Their Own")
        made = len(auth_emulator.calls(profile["ad_account"]["id"], *CREATE))

        answer = await auth.resolve(profile, connection(), audience_id=own.json["audience_id"])

        assert (200, "Their Own", False) == (answer.status, answer.json["audience_name"], answer.json["created"])
        assert made == len(auth_emulator.calls(profile["ad_account"]["id"], *CREATE))

    async def test_missing(self, auth: Auth, profile: dict[str, Any]) -> None:
        """An audience that is not there is told so."""
        answer = await auth.resolve(profile, connection(), audience_id="12345")

        assert (422, "audience_not_found") == (answer.status, answer.code)

    async def test_of_another_account(self, auth: Auth, auth_emulator: Emulator, profile: dict[str, Any]) -> None:
        """An audience of another ad account is refused even when the token reaches it."""
        other = (await auth.connect(auth_emulator.account(), profile["secret"])).json
        stranger = (await auth.resolve(other, connection())).json["audience_id"]

        answer = await auth.resolve(profile, connection(), audience_id=stranger)

        assert (422, "audience_of_other_account") == (answer.status, answer.code)
        assert (403, "binding_refused") == _said(await auth.lease(profile, stranger))

    async def test_a_value_based_audience_is_told_so(
        self, auth: Auth, auth_emulator: Emulator, profile: dict[str, Any]
    ) -> None:
        """Who delivers to a value-based audience learns it, now and from what is remembered: it needs values."""
        origin = connection()
        own = await _made(auth, auth_emulator, profile, subtype="CUSTOM", is_value_based=True)

        named = await auth.resolve(profile, origin, audience_id=own)
        later = await auth.resolve(profile, origin)

        assert [(200, True), (200, True)] == [(one.status, one.json["value_based"]) for one in (named, later)]

    async def test_not_a_customer_list(self, auth: Auth, auth_emulator: Emulator, profile: dict[str, Any]) -> None:
        """People cannot be added to a lookalike."""
        lookalike = await _made(auth, auth_emulator, profile, subtype="LOOKALIKE")

        answer = await auth.resolve(profile, connection(), audience_id=lookalike)

        assert (422, "audience_not_custom") == (answer.status, answer.code)


class TestUnansweredCreate:
    async def test_is_found_again(self, auth: Auth, auth_emulator: Emulator, profile: dict[str, Any]) -> None:
        """A create whose answer was lost is found by its description: one audience, not two."""
        account, origin = profile["ad_account"]["id"], connection()
        auth_emulator.fail({"reset": "after"}, method="POST", account=account)

        answer = await auth.resolve(profile, origin)

        (made,) = auth_emulator.audiences(account)
        assert (200, made["id"], True) == (answer.status, answer.json["audience_id"], answer.json["created"])

    async def test_is_found_by_the_next_attempt(
        self, auth: Auth, auth_emulator: Emulator, profile: dict[str, Any]
    ) -> None:
        """When the look-up fails as well, the intent is remembered and the next attempt begins with it."""
        account, origin = profile["ad_account"]["id"], connection()
        auth_emulator.fail({"reset": "after"}, method="POST", account=account)
        auth_emulator.fail({"status": 503, "body": "<html>sorry</html>"}, method="GET", account=account)

        failed = await auth.resolve(profile, origin)
        answer = await auth.resolve(profile, origin)

        (made,) = auth_emulator.audiences(account)
        assert (503, "graph_unavailable") == _said(failed)
        assert (200, made["id"]) == (answer.status, answer.json["audience_id"])
        assert 1 == len(auth_emulator.calls(account, *CREATE))

    async def test_a_namesake_is_not_taken_for_it(
        self, auth: Auth, auth_emulator: Emulator, profile: dict[str, Any]
    ) -> None:
        """A customer's older audience of the same name is never filled by mistake."""
        account, origin = profile["ad_account"]["id"], connection()
        older = (await auth.resolve(profile, connection(), audience_name="Customers")).json["audience_id"]
        auth_emulator.fail({"reset": "before"}, method="POST", account=account)

        failed = await auth.resolve(profile, origin, audience_name="Customers")
        await asyncio.sleep(float(failed.headers["Retry-After"]))
        answer = await auth.resolve(profile, origin, audience_name="Customers")

        assert (503, 200) == (failed.status, answer.status)
        assert older != answer.json["audience_id"]
        assert 2 == len(auth_emulator.audiences(account))

    async def test_is_repeated_only_after_a_while(
        self, auth: Auth, auth_emulator: Emulator, profile: dict[str, Any], run_auth: RunAuth
    ) -> None:
        """A create that may still take effect at Meta is not repeated at once, and the answer says how long."""
        account, origin = profile["ad_account"]["id"], connection()
        auth_emulator.fail({"reset": "before"}, method="POST", account=account)
        with run_auth(FBC_DESTINATIONS__SETTLE="60") as (url, log):
            slow = Auth(url, auth.keys, log, auth.session)
            first, second = await slow.resolve(profile, origin), await slow.resolve(profile, origin)

        assert [(503, "graph_unavailable")] * 2 == [_said(first), _said(second)]
        assert 50 < int(second.headers["Retry-After"]) <= 60
        assert 1 == len(auth_emulator.calls(account, *CREATE))

    async def test_is_repeated_then(self, auth: Auth, auth_emulator: Emulator, profile: dict[str, Any]) -> None:
        """What never happened is done after the time the answer named, once."""
        account, origin = profile["ad_account"]["id"], connection()
        auth_emulator.fail({"reset": "before"}, method="POST", account=account)

        first = await auth.resolve(profile, origin)
        await asyncio.sleep(float(first.headers["Retry-After"]))
        answer = await auth.resolve(profile, origin)

        assert 503 == first.status
        assert (200, True) == (answer.status, answer.json["created"])
        assert 1 == len(auth_emulator.audiences(account))


class TestMetaSaysNo:
    @pytest.mark.parametrize(
        ("fault", "said"),
        [
            ({"status": 400, "code": 200, "subcode": 1870090}, (409, "terms_missing")),
            ({"status": 403, "code": 200}, (409, "permission_missing")),
            ({"status": 400, "code": 100}, (422, "audience_name_refused")),
            ({"status": 400, "code": 100, "subcode": 33}, (409, "permission_missing")),
            ({"status": 400, "code": 80003, "subcode": 2446079}, (503, "throttled")),
            ({"status": 500, "code": 2, "transient": True}, (503, "graph_unavailable")),
            ({"status": 400, "code": 987654}, (503, "graph_unavailable")),
            ({"status": 200, "body": "<html>ok</html>"}, (503, "graph_unavailable")),
            ({"status": 200, "body": {"message": "made"}}, (503, "graph_unavailable")),
        ],
    )
    async def test_is_told(
        self, auth: Auth, auth_emulator: Emulator, profile: dict[str, Any], fault: dict[str, object], said: object
    ) -> None:
        """Each refusal has its own name, and none of them is taken for an audience."""
        auth_emulator.fail(fault, method="POST", account=profile["ad_account"]["id"])

        answer = await auth.resolve(profile, connection())

        assert said == _said(answer)

    async def test_a_dead_token_is_remembered_until_the_profile_is_reconnected(
        self, auth: Auth, auth_emulator: Emulator, profile: dict[str, Any]
    ) -> None:
        """The first refusal is enough: nothing asks Meta again, no lease is given, reconnecting mends it."""
        origin, account = connection(), profile["ad_account"]["id"]
        audience = (await auth.resolve(profile, connection())).json["audience_id"]
        auth_emulator.kill(profile["secret"], 458)

        first = await auth.resolve(profile, origin)
        calls = len(auth_emulator.tell("GET", "/calls"))
        second = await auth.resolve(profile, origin)
        lease = await auth.lease(profile, audience)

        assert [(409, "token_dead")] * 3 == [_said(first), _said(second), _said(lease)]
        assert "reconnect" in second.json["error"]["advice"]
        assert calls == len(auth_emulator.tell("GET", "/calls"))
        shown = await auth.ask("cli", "GET", f"/internal/v1/profiles/{profile['id']}")
        assert ("token_dead", "token_dead") == (shown.json["status"], shown.json["reason"]["code"])

        again = await auth.connect(
            account, auth_emulator.token(), company_id=profile["company_id"], name=profile["name"]
        )
        mended = await auth.resolve(profile, origin)

        assert ("connected", None) == (again.json["status"], again.json["reason"])
        assert 200 == mended.status

    async def test_a_late_refusal_does_not_kill_the_new_token(
        self, auth: Auth, auth_emulator: Emulator, profile: dict[str, Any]
    ) -> None:
        """A refusal of the old token that arrives after the customer reconnected is about the old token only."""
        account = profile["ad_account"]["id"]
        auth_emulator.kill(profile["secret"], 460)
        auth_emulator.fail({"delay_ms": 600}, method="POST", account=account)
        late = asyncio.create_task(auth.resolve(profile, connection()))
        async with asyncio.timeout(10):
            while not auth_emulator.calls(account, *CREATE):  # noqa: ASYNC110 -- what another process logs has no event
                await asyncio.sleep(0.02)

        again = await auth.connect(
            account, auth_emulator.token(), company_id=profile["company_id"], name=profile["name"]
        )

        assert not late.done()
        assert (409, "token_dead") == _said(await late)
        shown = await auth.ask("cli", "GET", f"/internal/v1/profiles/{profile['id']}")
        assert (200, "connected") == (again.status, shown.json["status"])


class TestAsking:
    async def test_another_company(self, auth: Auth, profile: dict[str, Any]) -> None:
        """A profile serves its own company only."""
        answer = await auth.resolve({**profile, "company_id": profile["company_id"] + 1}, connection())

        assert (403, "wrong_company") == _said(answer)

    async def test_unknown_profile(self, auth: Auth, profile: dict[str, Any]) -> None:
        """A profile that is not there is told so."""
        answer = await auth.resolve({**profile, "id": str(uuid4())}, connection())

        assert (404, "unknown_profile") == _said(answer)

    @pytest.mark.parametrize("origin", ["connection:1", "dataset:6f2cfa1e-52d5-5a0f-9d0b-1f3f0c5b1e11", ""])
    async def test_malformed_origin(self, auth: Auth, profile: dict[str, Any], origin: str) -> None:
        """Only connections and subscriptions have audiences."""
        answer = await auth.resolve(profile, origin)

        assert (422, "invalid_request") == _said(answer)


def _said(answer: Answer) -> tuple[int, str]:
    return answer.status, answer.code


async def _made(auth: Auth, emulator: Emulator, profile: dict[str, Any], **fields: object) -> str:
    """The id of an audience that the customer made without us."""
    url = f"{emulator.graph}/v26.0/{profile['ad_account']['id']}/customaudiences"
    headers = {"Authorization": f"Bearer {profile['secret']}"}
    body = {"name": "Their Own", "customer_file_source": "USER_PROVIDED_ONLY", **fields}
    async with auth.session.post(url, json=body, headers=headers) as made:
        return str((await made.json())["id"])
