"""Everything but members: who may call, what objects say of themselves, and how the Graph API says no."""

import hashlib
import hmac
from typing import Any

import pytest

from emulator.calls import CallLog
from emulator.emulation import Answer
from emulator.world import LONG_LIVED, digest_of
from tests.unit.emulator_parts import START, Desk, Heard, hashed


def proof(desk: Desk, message: str | None = None) -> str:
    """The app secret proof of a message, the seed's token by default; computed here, not by the emulator."""
    secret = desk.world.app.secret.encode()
    return hmac.new(secret, (message or desk.token).encode(), hashlib.sha256).hexdigest()


class TestTokens:
    def test_unknown_and_missing(self) -> None:
        """Any token but an issued one is 190; none at all is 104, or 2500 for `me`."""
        desk = Desk()

        assert (190, None) == desk.ask("GET", desk.account, access_token="nobody").error
        assert (190, None) == desk.ask("GET", "me", access_token="nobody").error
        assert (104, None) == desk.ask("GET", desk.account, access_token=None).error
        assert (2500, None) == desk.ask("GET", "me", access_token=None).error

    def test_expiry(self) -> None:
        """A token past its lifetime is 190/463, on the emulated clock."""
        desk = Desk()
        token = desk.world.issue(desk.world.seed.user_id, {"ads_read"}, 60).text

        assert 200 == desk.ask("GET", desk.account, access_token=token).status

        desk.passed += 60

        assert (190, 463) == desk.ask("GET", desk.account, access_token=token).error

    @pytest.mark.parametrize(
        ("given", "code"),
        [("right", None), ("wrong", 100), ("", 100)],
    )
    def test_proof(self, given: str, code: int | None) -> None:
        """A right proof passes, a wrong one is code 100."""
        desk = Desk()
        heard = desk.ask("GET", "me", appsecret_proof=proof(desk) if given == "right" else given)

        assert code == (heard.json.get("error") or {}).get("code")

    def test_timed_proof(self) -> None:
        """The time-bound proof holds for five minutes."""
        desk = Desk()
        stamp = int(START)
        timed = {"appsecret_proof": proof(desk, f"{desk.token}|{stamp}"), "appsecret_time": stamp}

        assert 200 == desk.ask("GET", "me", **timed).status

        desk.passed += 301

        assert (100, None) == desk.ask("GET", "me", **timed).error

    def test_required_proof(self) -> None:
        """With the app setting on, a call without a proof is code 100."""
        desk = Desk()
        desk.emulation.switches.proof_required = True

        assert (100, None) == desk.ask("GET", "me").error
        assert 200 == desk.ask("GET", "me", appsecret_proof=proof(desk)).status

    def test_scopes(self) -> None:
        """Reading takes ads_read, changing takes ads_management: code 200 with HTTP 403 otherwise."""
        desk = Desk()
        token = desk.world.issue(desk.world.seed.user_id, {"ads_read"}, 0).text

        assert 200 == desk.ask("GET", f"{desk.account}/customaudiences", access_token=token).status
        heard = desk.ask("POST", f"{desk.account}/customaudiences", name="x", access_token=token)
        assert (403, (200, None)) == (heard.status, heard.error)

    def test_revoking_everything_kills_the_tokens(self) -> None:
        """DELETE permissions kills all of the user's tokens with 190/458, and debug_token says so."""
        desk = Desk()
        user, app = desk.world.seed.user_id, desk.world.app.token

        assert {"success": True} == desk.ask("DELETE", f"{user}/permissions", access_token=app).json
        assert (190, 458) == desk.ask("GET", "me").error
        data = desk.ask("GET", "debug_token", input_token=desk.token, access_token=app).json["data"]
        assert (False, 458) == (data["is_valid"], data["error"]["subcode"])

    @pytest.mark.parametrize(("path", "params"), [("/ads_read", {}), ("", {"permission": "ads_read"})])
    def test_revoking_one(self, path: str, params: dict[str, Any]) -> None:
        """One permission may go; the token lives and says it was declined."""
        desk = Desk()
        desk.ask("DELETE", f"me/permissions{path}", **params)
        rows = {row["permission"]: row["status"] for row in desk.ask("GET", "me/permissions").json["data"]}

        assert ("declined", "granted") == (rows["ads_read"], rows["ads_management"])

    def test_somebody_elses_permissions(self) -> None:
        """A user may not revoke another user's permissions."""
        desk = Desk()
        token = desk.world.issue(desk.world.user("42").id, {"ads_read"}, 0).text
        heard = desk.ask("DELETE", f"{desk.world.seed.user_id}/permissions", access_token=token)

        assert (200, None) == heard.error
        assert 200 == desk.ask("GET", "me").status


class TestExchanges:
    def exchange(self, desk: Desk, **params: object) -> Heard:
        """Ask for a token with the app's credentials."""
        given = {"client_id": desk.world.app.app_id, "client_secret": desk.world.app.secret, "access_token": None}
        return desk.ask("GET", "oauth/access_token", **(given | params))

    def test_long_lived(self) -> None:
        """A living token becomes one of sixty days with the same permissions."""
        desk = Desk()
        short = desk.world.issue(desk.world.seed.user_id, {"ads_management"}, 60).text
        heard = self.exchange(desk, grant_type="fb_exchange_token", fb_exchange_token=short)

        assert (LONG_LIVED, "bearer") == (heard.json["expires_in"], heard.json["token_type"])
        fresh = desk.world.tokens[heard.json["access_token"]]
        assert ({"ads_management"}, START + LONG_LIVED) == (fresh.scopes, fresh.expires_at)

    def test_a_dead_token_stays_dead(self) -> None:
        """An expired token cannot be exchanged."""
        desk = Desk()
        short = desk.world.issue(desk.world.seed.user_id, {"ads_management"}, 60).text
        desk.passed += 60

        assert (190, 463) == self.exchange(desk, grant_type="fb_exchange_token", fb_exchange_token=short).error

    def test_app_token(self) -> None:
        """The app's own token is its id and secret."""
        desk = Desk()

        assert desk.world.app.token == self.exchange(desk, grant_type="client_credentials").json["access_token"]

    @pytest.mark.parametrize(
        ("wrong", "code"),
        [({"client_id": "1"}, 101), ({"client_secret": "x"}, 1), ({"code": "x"}, 100), ({"grant_type": "magic"}, 100)],
    )
    def test_refusals(self, wrong: dict[str, str], code: int) -> None:
        """Wrong credentials, codes and grants are refused with HTTP 400."""
        heard = self.exchange(Desk(), **wrong)

        assert (400, code) == (heard.status, heard.error[0])

    def test_debug_token(self) -> None:
        """A living token tells what it is; an unknown one answers HTTP 200 and is not valid."""
        desk = Desk()
        app = desk.world.app.token
        # The Python SDK sends the session's proof here although the token is the app's: it must not matter.
        data = desk.ask("GET", "debug_token", input_token=desk.token, access_token=app, appsecret_proof="no").json[
            "data"
        ]
        unknown = desk.ask("GET", "debug_token", input_token="nobody", access_token=app)

        assert (True, "USER", desk.world.seed.user_id) == (data["is_valid"], data["type"], data["user_id"])
        assert {"ads_management", "business_management"} <= set(data["scopes"])
        assert (200, False) == (unknown.status, unknown.json["data"]["is_valid"])

    def test_system_user(self) -> None:
        """A system user's token never expires unless sixty days are asked for."""
        desk = Desk()
        asked = {"business_app": desk.world.app.app_id, "scope": "ads_management"}
        endless = desk.ask("POST", "me/access_tokens", **asked).json
        sixty = desk.ask("POST", "me/access_tokens", **asked, set_token_expires_in_60_days="true").json

        assert 0 == desk.world.tokens[endless["access_token"]].expires_at
        assert ("SYSTEM_USER", 60 * 86400) == (desk.world.tokens[sixty["access_token"]].kind, sixty["expires_in"])


class TestAudiences:
    def test_types_of_values(self) -> None:
        """Booleans and numbers read back as such although forms sent text: the Data File Uploader compares strictly."""
        desk = Desk()
        audience = desk.audience(is_value_based="false", retention_days="0", audience_labels='["AT_RISK"]')
        fields = "id,is_value_based,retention_days,customer_file_source,audience_labels"

        assert {
            "id": audience,
            "is_value_based": False,
            "retention_days": 0,
            "customer_file_source": "USER_PROVIDED_ONLY",
            "audience_labels": ["AT_RISK"],
        } == desk.ask("GET", audience, fields=fields).json

    def test_only_what_is_asked(self) -> None:
        """Without fields there is just the id; an unknown field is code 100; nested fields are picked."""
        desk = Desk()
        audience = desk.audience()

        assert {"id": audience} == desk.ask("GET", audience).json
        assert (100, None) == desk.ask("GET", audience, fields="id,colour").error
        business = desk.ask("GET", audience, fields="owner_business{id}").json["owner_business"]
        assert ["id"] == list(business)

    def test_create_answers_asked_fields(self) -> None:
        """The Python SDK puts the fields it wants into the body of the POST."""
        desk = Desk()
        heard = desk.ask("POST", f"{desk.account}/customaudiences", name="Spring", fields="id,name")

        assert "Spring" == heard.json["name"]

    @pytest.mark.parametrize(
        "wrong",
        [
            {"name": None},
            {"subtype": "NOPE"},
            {"customer_file_source": "X"},
            {"retention_days": 181},
            {"is_value_based": 7},
        ],
        ids=str,
    )
    def test_bad_parameters(self, wrong: dict[str, Any]) -> None:
        """A missing name or a value outside its enumeration is code 100."""
        desk = Desk()
        heard = desk.ask("POST", f"{desk.account}/customaudiences", **{"name": "x", "subtype": "CUSTOM", **wrong})

        assert (100, None) == heard.error
        assert {} == desk.world.audiences

    def test_list(self) -> None:
        """Newest first, filtered by name, with a total when asked."""
        desk = Desk()
        ids = [desk.audience(name=name) for name in ("Spring", "Summer", "Spring sale")]
        filtering = [{"field": "name", "operator": "CONTAIN", "value": "spring"}]
        listed = desk.ask("GET", f"{desk.account}/customaudiences", fields="id", summary="true").json
        found = desk.ask("GET", f"{desk.account}/customaudiences", filtering=filtering).json["data"]

        assert list(reversed(ids)) == [one["id"] for one in listed["data"]]
        assert {"total_count": 3} == listed["summary"]
        assert [ids[2], ids[0]] == [one["id"] for one in found]
        assert {"data": []} == desk.ask("GET", f"act_{list(desk.world.accounts)[1]}/customaudiences").json

    def test_update_and_delete(self) -> None:
        """An update is read back; a deleted audience is 100/33."""
        desk = Desk()
        audience = desk.audience()

        assert {"success": True} == desk.ask("POST", audience, name="Autumn", retention_days="30").json
        read = desk.ask("GET", audience, fields="name,retention_days").json
        assert ("Autumn", 30) == (read["name"], read["retention_days"])
        assert {"success": True} == desk.ask("DELETE", audience).json
        assert (100, 33) == desk.ask("GET", audience).error

    def test_a_seed_of_lookalikes_stays(self) -> None:
        """Deleting an audience that a lookalike depends on is 2656."""
        desk = Desk()
        seed = desk.audience()
        desk.audience(subtype="LOOKALIKE", origin_audience_id=seed)

        assert (2656, None) == desk.ask("DELETE", seed).error

    def test_fetch_or_create(self) -> None:
        """With enable_fetch_or_create a second creation finds the first audience."""
        desk = Desk()
        first = desk.audience()

        assert first == desk.audience(enable_fetch_or_create=True)
        assert first != desk.audience()

    def test_sharing(self) -> None:
        """An audience is shared with ad accounts and taken back, under either name of the edge."""
        desk = Desk()
        audience = desk.audience()
        shared = desk.ask("POST", f"{audience}/adaccounts", adaccounts='["11","act_22"]').json
        desk.ask("DELETE", f"{audience}/ad_accounts", adaccounts=["11"])

        assert (True, ["11", "22"]) == (shared["success"], [one["ad_acct_id"] for one in shared["sharing_data"]])
        rows = desk.ask("GET", f"{audience}/shared_account_info").json["data"]
        assert ["22"] == [row["account_id"] for row in rows]

    def test_flagged_fields_must_be_fixed(self) -> None:
        """An edit of a flagged audience has to fix what is flagged: 100/1713231."""
        desk = Desk()
        audience = desk.audience()
        found = desk.world.audiences[audience]
        found.operation_status, found.violations = 471, ["name"]

        assert (100, 1713231) == desk.ask("POST", audience, description="x").error
        assert 200 == desk.ask("POST", audience, name="Better").status

    def test_limit_of_an_account(self) -> None:
        """The 501st customer list of an ad account is refused with 2654; other kinds are not lists."""
        desk = Desk()
        for number in range(500):
            desk.audience(name=f"A{number}")
        heard = desk.ask("POST", f"{desk.account}/customaudiences", name="x", subtype="CUSTOM")

        assert (2654, None) == heard.error
        assert desk.audience(subtype="WEBSITE")

    def test_sizes_are_vague(self) -> None:
        """Small audiences show -1, larger ones bounds around the truth."""
        desk = Desk("digests")
        audience = desk.audience()
        bounds = "approximate_count_lower_bound,approximate_count_upper_bound"
        small = desk.ask("GET", audience, fields=bounds).json
        desk.upload(audience, [[hashed(number)] for number in range(1234)])
        large = desk.ask("GET", audience, fields=bounds).json

        assert (-1, -1) == (small["approximate_count_lower_bound"], small["approximate_count_upper_bound"])
        assert (1200, 1300) == (large["approximate_count_lower_bound"], large["approximate_count_upper_bound"])


class TestAccounts:
    def test_paging(self) -> None:
        """The ad accounts come in pages; terms and business are those a usable account has."""
        desk = Desk()
        fields = "id,name,business,tos_accepted,user_tos_accepted"
        first = desk.ask("GET", "me/adaccounts", limit=2, fields=fields, summary="true").json
        rest = desk.ask("GET", "me/adaccounts", limit=2, after=first["paging"]["cursors"]["after"]).json

        assert (2, 1, 3) == (len(first["data"]), len(rest["data"]), first["summary"]["total_count"])
        assert "next" not in rest["paging"]
        assert {"custom_audience_tos": 1} == first["data"][0]["user_tos_accepted"] == first["data"][0]["tos_accepted"]
        assert {"id", "name"} == set(first["data"][0]["business"])

    def test_without_terms_or_business(self) -> None:
        """Creating needs a business (1870050) and accepted terms (1870090)."""
        desk = Desk()
        people = {desk.world.seed.user_id}
        lone = desk.world.open_account("Lone", people, business=False)
        wild = desk.world.open_account("Wild", people, terms=False)

        assert (200, 1870050) == desk.ask("POST", f"act_{lone.id}/customaudiences", name="x").error
        assert (200, 1870090) == desk.ask("POST", f"act_{wild.id}/customaudiences", name="x").error

    def test_somebody_elses_account(self) -> None:
        """An ad account without a role is 100/33, as one that does not exist."""
        desk = Desk()
        other = desk.world.open_account("Other", {desk.world.user("42").id})

        assert (100, 33) == desk.ask("GET", f"act_{other.id}").error
        assert (100, 33) == desk.ask("GET", "act_1").error


class TestProtocolRules:
    def test_the_ids_query_is_refused(self) -> None:
        """HTTP 500 with code 100, not transient, until it is switched back."""
        desk = Desk()
        audience = desk.audience()
        heard = desk.ask("GET", "/", ids=f"{audience},{desk.account}")

        assert (500, (100, None), False) == (heard.status, heard.error, heard.json["error"]["is_transient"])

        desk.emulation.switches.ids_refused = False

        assert {audience, desk.account} == set(desk.ask("GET", "/", ids=f"{audience},{desk.account}").json)

    @pytest.mark.parametrize("version", ["v24.0", "v25.0", "v26.0", "v27.0"])
    def test_versions_served(self, version: str) -> None:
        """Every version from v24.0 is served."""
        desk = Desk()
        answer = desk.reply("GET", f"/{version}/{desk.account}/customaudiences").answer

        assert answer is not None
        assert 200 == answer.status
        assert ("X-Ad-Api-Version-Warning" in answer.headers) is (version == "v24.0")

    @pytest.mark.parametrize("path", ["/v23.0/{}/customaudiences", "/{}/customaudiences"], ids=["expired", "none"])
    def test_versions_refused(self, path: str) -> None:
        """Marketing calls of an expired version, or without one, are 2635."""
        desk = Desk()
        answer = desk.reply("GET", path.format(desk.account)).answer

        assert answer is not None
        assert (400, 2635) == (answer.status, answer.code)

    @pytest.mark.parametrize(
        ("method", "path", "status", "error"),
        [
            ("GET", "me/nothing", 400, (2500, None)),
            ("GET", "999", 400, (100, 33)),
            ("GET", "nobody", 404, (803, None)),
            ("POST", "me/adaccounts", 400, (100, 33)),
            ("GET", "", 400, (100, 33)),
        ],
    )
    def test_nothing_there(self, method: str, path: str, status: int, error: tuple[int, int | None]) -> None:
        """Unknown edges, objects, aliases and methods each have their refusal."""
        heard = Desk().ask(method, path)

        assert (status, error) == (heard.status, heard.error)

    def test_error_headers(self) -> None:
        """The trace id of an error is its request id header; 4xx repeat the message; nothing is cached."""
        heard = Desk().ask("GET", "999")

        assert heard.headers["x-fb-request-id"] == heard.json["error"]["fbtrace_id"]
        assert "no-store" == heard.headers["Cache-Control"]
        assert heard.headers["WWW-Authenticate"].startswith('OAuth "Facebook Platform" "invalid_request" "(#100)')
        assert "v26.0" == heard.headers["facebook-api-version"]


class TestBatch:
    def test_items_are_served_in_order(self) -> None:
        """Each item is answered in its place with code, headers and body text, failures among them."""
        desk = Desk()
        audience = desk.audience()
        items = [
            {"method": "GET", "relative_url": f"{audience}?fields=name"},
            {"method": "POST", "relative_url": f"v26.0/{audience}", "body": "name=By%20batch"},
            {"method": "GET", "relative_url": "999"},
            {"method": "GET", "relative_url": "me", "body": "access_token=nobody"},
        ]
        heard = desk.ask("POST", "/", batch=items, appsecret_proof=proof(desk))

        assert [200, 200, 400, 400] == [item["code"] for item in heard.json]
        assert f'{{"name":"Spring","id":"{audience}"}}' == heard.json[0]["body"]
        assert "By batch" == desk.world.audiences[audience].name
        assert {"name": "facebook-api-version", "value": "v26.0"} in heard.json[0]["headers"]

    def test_an_item_may_come_back_unfinished(self) -> None:
        """An item scripted to hang is a null in its place; others are answered, without headers if so asked."""
        desk = Desk()
        desk.emulation.faults.add({"match": {"path": "999"}, "answer": {"hang": True}})
        items = [{"method": "GET", "relative_url": "999"}, {"method": "GET", "relative_url": "me"}]
        heard = desk.ask("POST", "/", batch=items, include_headers="false")

        assert heard.json[0] is None
        assert {"code", "body"} == set(heard.json[1])

    @pytest.mark.parametrize("batch", [None, [], "x", [1], [{"method": "GET"}], [{"relative_url": "me"}] * 51], ids=str)
    def test_refused(self, batch: object) -> None:
        """No batch, an empty one, one of no objects, or more than fifty items: code 100."""
        assert (100, None) == Desk().ask("POST", "/", batch=batch).error

    def test_batches_do_not_nest(self) -> None:
        """A batch inside a batch is refused."""
        inner = {"method": "POST", "relative_url": "/", "body": 'batch=[{"method":"GET","relative_url":"me"}]'}

        assert [400] == [item["code"] for item in Desk().ask("POST", "/", batch=[inner]).json]

    @pytest.mark.parametrize("path", ["/", "/v24.0", "/v26.0/"])
    def test_paths(self, path: str) -> None:
        """The Java SDK posts batches without a version, Node's without a slash; items may carry their own version."""
        desk = Desk()
        items = [{"method": "GET", "relative_url": f"v26.0/{desk.account}"}]
        answer = desk.reply("POST", path, batch=items).answer

        assert isinstance(answer, Answer)
        assert b'"code":200' in answer.body


class TestReset:
    def test_everything_goes_but_the_credentials(self) -> None:
        """After a reset the seed works and nothing else does; no audience id is used twice."""
        desk = Desk()
        audience = desk.audience()
        other = desk.world.issue(desk.world.seed.user_id, {"ads_read"}, 0).text
        desk.ask("DELETE", "me/permissions")
        desk.emulation.faults.add({"answer": {"code": 2}})
        desk.emulation.reset()

        assert (0, []) == (desk.emulation.calls.seen, desk.emulation.faults.list())
        assert 200 == desk.ask("GET", "me").status
        assert (190, None) == desk.ask("GET", "me", access_token=other).error
        assert {"data": []} == desk.ask("GET", f"{desk.account}/customaudiences").json
        assert audience != desk.audience()


class TestCallLog:
    def test_since_and_bound(self) -> None:
        """`since` leaves out what was seen; beyond the bound the oldest are dropped and numbers go on."""
        desk = Desk()
        desk.emulation.calls = CallLog(bound=3)
        for _ in range(5):
            desk.ask("GET", "me")
        log = desk.emulation.calls

        assert [3, 4, 5] == [line.seq for line in log.since(0)]
        assert [5] == [line.seq for line in log.since(4)]
        assert [] == log.since(5)

    def test_a_token_is_a_digest(self) -> None:
        """The log names a token by the first twelve digits of its SHA-256."""
        desk = Desk()
        desk.ask("GET", "me")

        assert hashlib.sha256(desk.token.encode()).hexdigest()[:12] == desk.emulation.calls.since(0)[0].token
        assert digest_of(desk.token) == desk.emulation.calls.since(0)[0].token
