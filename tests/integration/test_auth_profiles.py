"""Connecting profiles, against the emulator."""

import asyncio
from uuid import uuid4

import pytest

from tests.integration.auth_parts import Auth, Emulator

pytest_plugins = ("tests.integration.auth_fixtures",)


class TestConnecting:
    async def test_a_good_token_makes_a_profile(self, auth: Auth, auth_emulator: Emulator) -> None:
        """A living token of our app with both scopes, for an account that is ready, becomes a profile."""
        account = auth_emulator.account(name="Example Shop")

        answer = await auth.connect(account, auth_emulator.token(expires_in=3_600), company_id=42, name=f"p{uuid4()}")

        assert 201 == answer.status, answer.json
        profile = answer.json
        assert (42, "connected", account, "Example Shop") == (
            profile["company_id"],
            profile["status"],
            profile["ad_account"]["id"],
            profile["ad_account"]["name"],
        )
        assert {"ads_management", "business_management"} <= set(profile["token"]["scopes"])
        assert profile["token"]["expires_at"] is not None
        assert auth_emulator.seed["user_id"] == profile["user"]["id"]
        shown = await auth.ask("ingest", "GET", f"/internal/v1/profiles/{profile['id']}")
        assert profile == shown.json

    async def test_a_token_that_never_expires_has_no_end(self, auth: Auth, auth_emulator: Emulator) -> None:
        """Meta's 0 means never, not 1970."""
        answer = await auth.connect(auth_emulator.account(), auth_emulator.token(expires_in=0))

        assert (201, None) == (answer.status, answer.json["token"]["expires_at"])

    async def test_the_same_name_again_replaces_the_token(self, auth: Auth, auth_emulator: Emulator) -> None:
        """Reconnecting keeps the profile's id, and leases carry the new token."""
        account, first, second = auth_emulator.account(), auth_emulator.token(), auth_emulator.token()
        name = f"p{uuid4()}"
        before = await auth.connect(account, first, company_id=1, name=name)
        audience = (await auth.resolve(before.json, f"connection:{uuid4()}")).json["audience_id"]

        after = await auth.connect(account, second, company_id=1, name=name)

        assert (201, 200, before.json["id"]) == (before.status, after.status, after.json["id"])
        assert second == (await auth.lease(after.json, audience)).json["token"]

    async def test_connecting_at_once_makes_one_profile(self, auth: Auth, auth_emulator: Emulator) -> None:
        """Two clicks are one profile."""
        account, token, name = auth_emulator.account(), auth_emulator.token(), f"p{uuid4()}"

        answers = await asyncio.gather(*(auth.connect(account, token, company_id=1, name=name) for _ in range(5)))

        assert [200, 200, 200, 200, 201] == sorted(answer.status for answer in answers)
        assert 1 == len({answer.json["id"] for answer in answers})

    async def test_another_ad_account_needs_another_profile(self, auth: Auth, auth_emulator: Emulator) -> None:
        """A profile's audiences stay with the account they were made in."""
        token, name = auth_emulator.token(), f"p{uuid4()}"
        await auth.connect(auth_emulator.account(), token, company_id=1, name=name)

        answer = await auth.connect(auth_emulator.account(), token, company_id=1, name=name)

        assert (409, "ad_account_differs") == (answer.status, answer.code)

    async def test_found_by_name_and_company(self, auth: Auth, auth_emulator: Emulator) -> None:
        """Operators know profiles by name; the same name in another company is another profile."""
        account, token, name = auth_emulator.account(), auth_emulator.token(), f"p{uuid4()}"
        mine = (await auth.connect(account, token, company_id=1, name=name)).json["id"]
        other = (await auth.connect(account, token, company_id=2, name=name)).json["id"]

        both = await auth.ask("cli", "GET", f"/internal/v1/profiles?name={name}")
        one = await auth.ask("cli", "GET", f"/internal/v1/profiles?name={name}&company_id=2")

        assert [mine, other] == [record["id"] for record in both.json["records"]]
        assert [other] == [record["id"] for record in one.json["records"]]


class TestRefusingTokens:
    async def test_dead_token(self, auth: Auth, auth_emulator: Emulator) -> None:
        """A token Meta calls invalid is not kept, and Meta's reason is told."""
        token = auth_emulator.token()
        auth_emulator.kill(token, 460)

        answer = await auth.connect(auth_emulator.account(), token)

        assert (409, "token_dead") == (answer.status, answer.code)
        assert "190/460" in answer.json["error"]["message"]

    async def test_unknown_token(self, auth: Auth, auth_emulator: Emulator) -> None:
        """What Meta cannot read as a token is none."""
        answer = await auth.connect(auth_emulator.account(), "not-a-token")

        assert (409, "token_dead") == (answer.status, answer.code)

    async def test_token_of_another_app(self, auth: Auth, auth_emulator: Emulator) -> None:
        """A valid token that was issued to somebody else's app is refused: having a token proves nothing."""
        token = {"app_id": "999", "type": "USER", "is_valid": True, "expires_at": 0}
        auth_emulator.fail({"status": 200, "body": {"data": {**token, "scopes": []}}}, path="/debug_token")

        answer = await auth.connect(auth_emulator.account(), auth_emulator.token())

        assert (409, "token_of_other_app") == (answer.status, answer.code)

    @pytest.mark.parametrize("missing", ["ads_management", "business_management"])
    async def test_missing_scope(self, auth: Auth, auth_emulator: Emulator, missing: str) -> None:
        """A person may untick a permission in the dialog; both are needed and the missing one is named."""
        scopes = [scope for scope in ("ads_management", "business_management", "public_profile") if scope != missing]

        answer = await auth.connect(auth_emulator.account(), auth_emulator.token(scopes=scopes))

        assert (409, "permission_missing") == (answer.status, answer.code)
        assert missing in answer.json["error"]["message"]

    async def test_restricted_to_other_accounts(self, auth: Auth, auth_emulator: Emulator) -> None:
        """A token whose ads_management was restricted to other ad accounts does not do for this one."""
        granular = [{"scope": "ads_management", "target_ids": ["5"]}]
        token = {
            "app_id": auth_emulator.seed["app_id"],
            "type": "USER",
            "is_valid": True,
            "expires_at": 0,
            "user_id": "1",
        }
        scopes = ["ads_management", "business_management"]
        data = {**token, "scopes": scopes, "granular_scopes": granular}
        auth_emulator.fail({"status": 200, "body": {"data": data}}, path="/debug_token")

        answer = await auth.connect(auth_emulator.account(), auth_emulator.token())

        assert (409, "permission_missing") == (answer.status, answer.code)

    async def test_foreign_ad_account(self, auth: Auth, auth_emulator: Emulator) -> None:
        """An ad account the token's owner has no role on is not connected."""
        answer = await auth.connect("act_99999999999", auth_emulator.token())

        assert (409, "permission_missing") == (answer.status, answer.code)

    async def test_terms_not_accepted(self, auth: Auth, auth_emulator: Emulator) -> None:
        """Missing terms are told with the address at which they are accepted."""
        account = auth_emulator.account(terms=False)

        answer = await auth.connect(account, auth_emulator.token())

        assert (409, "terms_missing") == (answer.status, answer.code)
        assert f"act={account.removeprefix('act_')}" in answer.json["error"]["advice"]

    async def test_no_business(self, auth: Auth, auth_emulator: Emulator) -> None:
        """A personal ad account cannot hold customer lists."""
        answer = await auth.connect(auth_emulator.account(business=False), auth_emulator.token())

        assert (409, "business_missing") == (answer.status, answer.code)

    async def test_meta_is_down(self, auth: Auth, auth_emulator: Emulator) -> None:
        """An error page of Meta is never taken for a verdict on the token."""
        auth_emulator.fail({"status": 503, "body": "<html>sorry</html>"}, path="/debug_token")

        answer = await auth.connect(auth_emulator.account(), auth_emulator.token())

        assert (503, "graph_unavailable") == (answer.status, answer.code)

    async def test_our_own_credentials_are_refused(self, auth: Auth, auth_emulator: Emulator) -> None:
        """A wrong app secret is our fault, and no customer is asked to reconnect for it."""
        auth_emulator.fail({"code": 190, "status": 400}, path="/debug_token")

        answer = await auth.connect(auth_emulator.account(), auth_emulator.token())

        assert (503, "graph_unavailable") == (answer.status, answer.code)
        assert "FBC_GRAPH__APP_SECRET" in answer.json["error"]["advice"]


class TestAsking:
    @pytest.mark.parametrize(
        ("field", "value"),
        [
            ("company_id", -1),
            ("name", " "),
            ("ad_account_id", "123"),
            ("token", ""),
            ("customer_file_source", "SOMEBODY"),
        ],
    )
    async def test_wrong_fields_are_named(self, auth: Auth, field: str, value: object) -> None:
        """A wrong field is named in the answer."""
        body = {
            "company_id": 1,
            "name": "n",
            "ad_account_id": "act_1",
            "token": "canary-token",
            "customer_file_source": "USER_PROVIDED_ONLY",
            field: value,
        }

        answer = await auth.ask("cli", "POST", "/internal/v1/profiles", body)

        assert (422, "invalid_request") == (answer.status, answer.code)
        assert field in answer.json["error"]["message"]
        assert "canary-token" not in str(answer.json)

    async def test_the_file_source_has_no_default(self, auth: Auth) -> None:
        """A legal statement is made, not assumed."""
        body = {"company_id": 1, "name": "n", "ad_account_id": "act_1", "token": "t"}

        answer = await auth.ask("cli", "POST", "/internal/v1/profiles", body)

        assert (422, "invalid_request") == (answer.status, answer.code)
        assert "customer_file_source" in answer.json["error"]["message"]

    async def test_unknown_profile(self, auth: Auth) -> None:
        """What is not there is 404."""
        answer = await auth.ask("cli", "GET", f"/internal/v1/profiles/{uuid4()}")

        assert (404, "unknown_profile") == (answer.status, answer.code)
