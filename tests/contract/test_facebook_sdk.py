"""Meta's own SDK, facebook_business 26.0.3, judges the emulator: every operation of it that concerns audiences.

What is asserted is twofold: the SDK understood the answer (return values, exceptions), and the emulator understood the
request (its log and its members).
"""

import hashlib
import json
from collections.abc import Iterator
from typing import Any

import pytest
from facebook_business.adobjects.adaccount import AdAccount
from facebook_business.adobjects.customaudience import CustomAudience
from facebook_business.adobjects.user import User
from facebook_business.api import FacebookAdsApi, FacebookRequest, FacebookResponse
from facebook_business.exceptions import FacebookRequestError
from facebook_business.session import FacebookSession

from tests.contract.emulator_parts import EmulatorProcess, emulator_process, hashed

Schema = CustomAudience.Schema
VERSION = "v26.0"


@pytest.fixture(scope="module")
def process() -> Iterator[EmulatorProcess]:
    """One emulator that keeps rows, for the whole module."""
    with emulator_process("--keep", "rows") as emulator:
        yield emulator


@pytest.fixture
def emulator(process: EmulatorProcess) -> EmulatorProcess:
    """The emulator, fresh."""
    process.ask("POST", "/reset")
    return process


@pytest.fixture
def api(emulator: EmulatorProcess, monkeypatch: pytest.MonkeyPatch) -> Iterator[FacebookAdsApi]:
    """The SDK, pointed at the emulator as its users would; everything it keeps globally is put back."""
    monkeypatch.setattr(FacebookSession, "GRAPH", emulator.graph)
    monkeypatch.setattr(FacebookAdsApi, "_default_api", None)
    seed = emulator.seed
    session = FacebookSession(seed["app_id"], seed["app_secret"], seed["token"], timeout=20)
    made = FacebookAdsApi(session, VERSION)
    FacebookAdsApi.set_default_api(made)
    yield made
    session.requests.close()


@pytest.fixture
def account(api: FacebookAdsApi, emulator: EmulatorProcess) -> AdAccount:
    """The first ad account of the seed."""
    return AdAccount(emulator.seed["ad_accounts"][0], api=api)


@pytest.fixture
def audience(account: AdAccount) -> CustomAudience:
    """A new audience, made by the SDK."""
    return create(account)


def create(account: AdAccount, name: str = "Spring", fields: list[str] | None = None, **params: Any) -> Any:
    """Create an audience with the SDK."""
    told = {"name": name, "subtype": "CUSTOM", "customer_file_source": "USER_PROVIDED_ONLY", **params}
    return account.create_custom_audience(fields=fields or [], params=told)


def members(emulator: EmulatorProcess, audience: CustomAudience, schema: Any, data: list[Any]) -> int:
    """How many of these rows are members, by the emulator's own account."""
    asked = {"schema": schema, "data": data}
    return int(emulator.ask("POST", f"/audiences/{audience.get_id()}/contains", asked)["members"])


class TestAudiences:
    def test_create(self, emulator: EmulatorProcess, account: AdAccount) -> None:
        """The SDK builds its object from the answer, with the fields it asked for in the body."""
        made = create(
            account,
            fields=["id", "name"],
            description="People of spring",
            is_value_based=True,
            retention_days=30,
            audience_labels=["AT_RISK"],
        )
        kept = emulator.ask("GET", "/audiences")[0]

        assert ("Spring", kept["id"]) == (made["name"], made.get_id())
        assert (True, 30, "People of spring") == (kept["is_value_based"], kept["retention_days"], kept["description"])
        assert [("POST", f"/{VERSION}/{account.get_id()}/customaudiences")] == emulator.seen()

    def test_read(self, audience: CustomAudience) -> None:
        """One audience is read with the fields asked for."""
        read = audience.api_get(fields=["name", "retention_days", "is_value_based", "operation_status"])

        assert ("Spring", 0, False) == (read["name"], read["retention_days"], read["is_value_based"])
        assert 200 == read["operation_status"]["code"]

    def test_update(self, audience: CustomAudience) -> None:
        """An update is understood as a success and read back."""
        audience.api_update(params={"name": "Autumn"})

        assert "Autumn" == audience.api_get(fields=["name"])["name"]

    def test_delete(self, emulator: EmulatorProcess, audience: CustomAudience) -> None:
        """A deleted audience is gone; reading it raises 100/33."""
        audience.api_delete()
        with pytest.raises(FacebookRequestError) as refused:
            audience.api_get(fields=["name"])

        assert (400, 100, 33) == status_codes(refused.value)
        assert [] == emulator.ask("GET", "/audiences")

    def test_list_in_pages(self, emulator: EmulatorProcess, account: AdAccount) -> None:
        """The SDK's cursor walks all pages, newest first, and stops."""
        names = [f"Audience {number}" for number in range(5)]
        for name in names:
            create(account, name)
        cursor = account.get_custom_audiences(fields=["name"], params={"limit": 2})

        assert names[::-1] == [one["name"] for one in cursor]
        assert 5 == cursor.total()
        assert 3 == sum(1 for call in emulator.seen() if call[0] == "GET")

    def test_an_empty_list(self, account: AdAccount) -> None:
        """An answer without paging is the end, not an error."""
        assert [] == list(account.get_custom_audiences(fields=["name"]))

    def test_read_many_is_refused(self, audience: CustomAudience) -> None:
        """`get_by_ids` is dead since the ids query was removed: HTTP 500, code 100."""
        with pytest.raises(FacebookRequestError) as refused:
            CustomAudience.get_by_ids([audience.get_id()], fields=["name"])

        assert (500, 100, None) == status_codes(refused.value)

    def test_read_many_as_it_was(self, emulator: EmulatorProcess, audience: CustomAudience) -> None:
        """Switched back, it answers an object keyed by id, as before October 2026."""
        emulator.ask("PUT", "/switches", {"ids_refused": False})

        assert ["Spring"] == [one["name"] for one in CustomAudience.get_by_ids([audience.get_id()], fields=["name"])]

    def test_share(self, audience: CustomAudience) -> None:
        """Sharing and taking back are understood as successes."""
        assert audience.share_audience(["11", "22"]).json()["success"]
        assert audience.unshare_audience(["11"]).json()["success"]
        assert ["22"] == [row["account_id"] for row in audience.get_ad_accounts(fields=["account_id"])]

    def test_sessions(self, audience: CustomAudience) -> None:
        """The sessions edge lists what was uploaded, as strings."""
        session = {"session_id": 5, "batch_seq": 1, "last_batch_flag": True, "estimated_num_total": 1}
        audience.add_users(["EMAIL"], [[hashed(1)]], is_raw=True, pre_hashed=True, session=session)
        rows = list(audience.get_sessions(fields=["session_id", "num_received", "stage"]))

        assert [("5", "1", "uploading")] == [(row["session_id"], row["num_received"], row["stage"]) for row in rows]


class TestMembers:
    def test_single_key_helper(self, emulator: EmulatorProcess, audience: CustomAudience) -> None:
        """The old helper hashes addresses and sends them bare; the same people are members and can be removed."""
        people = ["One@Example.com ", "two@example.com"]
        hashes = [hashlib.sha256(one.strip().lower().encode()).hexdigest() for one in people]
        added = audience.add_users(Schema.email_hash, people).json()

        assert (2, 0) == (added["num_received"], added["num_invalid_entries"])
        assert 2 == members(emulator, audience, "EMAIL_SHA256", hashes)

        audience.remove_users(Schema.email_hash, people[:1])

        assert 1 == emulator.count(audience.get_id())
        assert ("DELETE", f"/{VERSION}/{audience.get_id()}/users") == emulator.seen()[-1]

    def test_multi_key_helper(self, emulator: EmulatorProcess, audience: CustomAudience) -> None:
        """The helper hashes empty cells and MADID too, which the emulator must not mind, and leaves EXTERN_ID plain."""
        keys = Schema.MultiKeySchema
        schema = [keys.extern_id, keys.email, keys.fn, keys.madid]
        people = [["crm-1", "one@example.com", "Ada", "0f1e2d3c-0000-4000-8000-000000000001"], ["crm-2", "", "", ""]]
        session = {"session_id": 1, "batch_seq": 1, "last_batch_flag": True, "estimated_num_total": 2}
        added = audience.add_users(schema, people, is_raw=True, session=session).json()
        empty = hashlib.sha256(b"").hexdigest()

        assert ("1", 2, 0) == (added["session_id"], added["num_received"], added["num_invalid_entries"])
        assert 1 == members(emulator, audience, schema, [["crm-2", empty, empty, empty]])

    def test_generated_call(self, emulator: EmulatorProcess, audience: CustomAudience) -> None:
        """`create_user` takes a payload as it is and returns an object with the answer's counts."""
        payload = {"schema": ["EMAIL", "FN"], "data": [[hashed(1), ""], ["bad", hashed(2)]]}
        answer = audience.create_user(params={"payload": payload, "session": {"session_id": 3, "batch_seq": 1}})

        assert (audience.get_id(), "3", 2, 1) == (
            answer["audience_id"],
            answer["session_id"],
            answer["num_received"],
            answer["num_invalid_entries"],
        )
        assert {json.dumps(["bad", hashed(2)], separators=(",", ":"))} == set(answer["invalid_entry_samples"])
        assert 1 == emulator.count(audience.get_id())

    def test_generated_removal(self, emulator: EmulatorProcess, audience: CustomAudience) -> None:
        """`delete_users` puts the payload into the query; it is read there."""
        payload = {"schema": ["EMAIL"], "data": [[hashed(1)]]}
        audience.create_user(params={"payload": payload})
        audience.delete_users(params={"payload": payload})

        assert 0 == emulator.count(audience.get_id())

    def test_replace(self, emulator: EmulatorProcess, audience: CustomAudience) -> None:
        """`create_users_replace` exchanges the whole membership at the end of its session."""
        before, after = [[hashed(1)], [hashed(2)]], [[hashed(3)]]
        audience.create_user(params={"payload": {"schema": ["EMAIL"], "data": before}})
        session = {"session_id": 9, "batch_seq": 1, "last_batch_flag": True}
        payload = {"schema": ["EMAIL"], "data": after}
        answer = audience.create_users_replace(params={"payload": payload, "session": session})

        assert ("9", 1) == (answer["session_id"], answer["num_received"])
        assert (1, 1) == (
            emulator.count(audience.get_id()),
            members(emulator, audience, ["EMAIL"], after),
        )

    def test_ten_thousand_rows(self, emulator: EmulatorProcess, audience: CustomAudience) -> None:
        """The largest request, form-encoded by the SDK, arrives whole."""
        rows = [[hashed(number), hashed(number % 7)] for number in range(10_000)]
        answer = audience.create_user(params={"payload": {"schema": ["EMAIL", "FN"], "data": rows}})

        assert (10_000, 0) == (answer["num_received"], answer["num_invalid_entries"])
        assert 10_000 == emulator.count(audience.get_id())


class TestPeopleAndTokens:
    def test_me(self, emulator: EmulatorProcess, api: FacebookAdsApi) -> None:
        """The token's user has an id and a name."""
        user = User(fbid="me", api=api).api_get(fields=["id", "name"])

        assert emulator.seed["user_id"] == user["id"]
        assert user["name"]

    def test_ad_accounts(self, emulator: EmulatorProcess, api: FacebookAdsApi) -> None:
        """All ad accounts arrive over two pages, with what makes an account usable."""
        fields = ["id", "account_id", "name", "account_status", "business", "user_tos_accepted", "tos_accepted"]
        cursor = User(fbid="me", api=api).get_ad_accounts(fields=fields, params={"limit": 2})
        accounts = list(cursor)

        assert emulator.seed["ad_accounts"] == [one["id"] for one in accounts]
        assert all(one["business"]["id"] and one["user_tos_accepted"]["custom_audience_tos"] == 1 for one in accounts)
        assert (3, 2) == (cursor.total(), len(emulator.seen()))

    def test_debug_token(self, emulator: EmulatorProcess, api: FacebookAdsApi) -> None:
        """The app token overrides the session's in the query, whose proof does not fit it: that must not matter."""
        app_token = f"{emulator.seed['app_id']}|{emulator.seed['app_secret']}"
        params = {"input_token": emulator.seed["token"], "access_token": app_token}
        data = api.call("GET", ("debug_token",), params=params).json()["data"]

        assert (True, emulator.seed["user_id"]) == (data["is_valid"], data["user_id"])
        assert {"ads_management", "business_management"} <= set(data["scopes"])

    def test_long_lived_exchange(self, emulator: EmulatorProcess, api: FacebookAdsApi) -> None:
        """The exchanged token works."""
        params = {
            "grant_type": "fb_exchange_token",
            "client_id": emulator.seed["app_id"],
            "client_secret": emulator.seed["app_secret"],
            "fb_exchange_token": emulator.seed["token"],
        }
        answer = api.call("GET", ("oauth", "access_token"), params=params).json()
        session = FacebookSession(emulator.seed["app_id"], emulator.seed["app_secret"], answer["access_token"])
        user = User(fbid="me", api=FacebookAdsApi(session, VERSION)).api_get(fields=["id"])
        session.requests.close()

        assert (5_183_944, emulator.seed["user_id"]) == (answer["expires_in"], user["id"])

    def test_wrong_proof(self, emulator: EmulatorProcess) -> None:
        """A session with a wrong app secret is refused with code 100."""
        session = FacebookSession(emulator.seed["app_id"], "not-the-secret", emulator.seed["token"])
        session.GRAPH = emulator.graph
        with pytest.raises(FacebookRequestError) as refused:
            FacebookAdsApi(session, VERSION).call("GET", ("me",))
        session.requests.close()

        assert (400, 100, None) == status_codes(refused.value)

    def test_revoke(self, emulator: EmulatorProcess, api: FacebookAdsApi) -> None:
        """Revoking all permissions is a success and kills the token: 190/458."""
        assert api.call("DELETE", (emulator.seed["user_id"], "permissions")).json()["success"]
        with pytest.raises(FacebookRequestError) as refused:
            api.call("GET", ("me",))

        assert (400, 190, 458) == status_codes(refused.value)


class TestBatch:
    def test_callbacks(self, emulator: EmulatorProcess, api: FacebookAdsApi, audience: CustomAudience) -> None:
        """Success and failure callbacks fire for the right items; nothing is left over."""
        heard: list[tuple[str, Any]] = []

        def success(answer: FacebookResponse) -> None:
            heard.append(("success", answer.json()))

        def failure(answer: FacebookResponse) -> None:
            heard.append(("failure", answer.error().api_error_code()))

        batch = api.new_batch()
        user = emulator.seed["user_id"]
        batch.add(
            "POST", (audience.get_id(),), params={"description": "by batch & co"}, success=success, failure=failure
        )
        batch.add("GET", (audience.get_id(),), params={"fields": "description"}, success=success, failure=failure)
        batch.add("GET", ("999",), success=success, failure=failure)
        batch.add("DELETE", (user, "permissions"), params={"permission": "ads_read"}, success=success, failure=failure)
        batch.add("DELETE", (user, "permissions"), success=success, failure=failure)

        assert batch.execute() is None
        assert [
            ("success", {"success": True}),
            ("success", {"description": "by batch & co", "id": audience.get_id()}),
            ("failure", 100),
            ("success", {"success": True}),
            ("success", {"success": True}),
        ] == heard

    def test_a_generated_request(self, api: FacebookAdsApi, audience: CustomAudience) -> None:
        """A request object may be put into a batch."""
        read: list[Any] = []
        request = FacebookRequest(node_id=audience.get_id(), method="GET", endpoint="/", api=api, api_type="NODE")
        request.add_param("fields", "name")
        batch = api.new_batch()
        batch.add_request(request, success=lambda answer: read.append(answer.json()["name"]))
        batch.execute()

        assert ["Spring"] == read

    def test_unfinished_items_are_handed_back(self, emulator: EmulatorProcess, api: FacebookAdsApi) -> None:
        """A null comes back as a new batch of the items to send again."""
        emulator.ask("POST", "/faults", {"match": {"path": "/me"}, "answer": {"hang": True}})
        heard: list[Any] = []
        batch = api.new_batch()
        batch.add("GET", ("me",), success=lambda answer: heard.append(answer.json()["id"]))
        rest = batch.execute()

        assert (1, []) == (len(rest), heard)
        assert rest.execute() is None
        assert [emulator.seed["user_id"]] == heard


class TestErrorDrill:
    @pytest.mark.parametrize(
        ("answer", "status", "transient"),
        [
            ({"code": 190, "subcode": 463}, 400, False),
            ({"code": 200, "subcode": 1870090}, 400, False),
            ({"code": 200, "subcode": 1870047}, 400, False),
            ({"code": 613, "subcode": 1487742}, 400, False),
            ({"code": 80003, "subcode": 2446079}, 400, False),
            ({"code": 2650, "subcode": 1870145}, 400, False),
            ({"code": 1}, 500, True),
            ({"code": 2}, 503, True),
            ({"code": 2, "transient": False, "status": 500}, 500, False),
        ],
        ids=str,
    )
    def test_envelopes(
        self,
        emulator: EmulatorProcess,
        audience: CustomAudience,
        answer: dict[str, Any],
        status: int,
        transient: bool,  # noqa: FBT001 - a table column
    ) -> None:
        """The SDK reads code, subcode, transience and status out of each scripted error; nobody became a member."""
        emulator.ask("POST", "/faults", {"match": {"path": "/users"}, "answer": answer})
        with pytest.raises(FacebookRequestError) as refused:
            audience.create_user(params={"payload": {"schema": ["EMAIL"], "data": [[hashed(1)]]}})

        assert (status, answer["code"], answer.get("subcode")) == status_codes(refused.value)
        assert transient is refused.value.api_transient_error()
        assert 0 == emulator.count(audience.get_id())

    def test_a_throttle_carries_usage(self, emulator: EmulatorProcess, audience: CustomAudience) -> None:
        """The business-use-case header of a throttle is keyed by the bare account number and states the wait."""
        answer = {"code": 80003, "subcode": 2446079}
        emulator.ask("POST", "/faults", {"match": {"path": "/users"}, "answer": answer})
        with pytest.raises(FacebookRequestError) as refused:
            audience.create_user(params={"payload": {"schema": ["EMAIL"], "data": [[hashed(1)]]}})
        header = json.loads(refused.value.http_headers()["x-business-use-case-usage"])
        usage = header[emulator.seed["ad_accounts"][0].removeprefix("act_")][0]

        assert ("custom_audience", 100, True) == (
            usage["type"],
            usage["call_count"],
            usage["estimated_time_to_regain_access"] > 0,
        )

    def test_audience_size_too_low(self, emulator: EmulatorProcess, audience: CustomAudience) -> None:
        """The scripted refusal of a removal has the title seen on the live edge."""
        answer = {"code": 200, "subcode": 1870047}
        emulator.ask("POST", "/faults", {"match": {"method": "DELETE"}, "answer": answer})
        with pytest.raises(FacebookRequestError) as refused:
            audience.delete_users(params={"payload": {"schema": ["EMAIL"], "data": [[hashed(1)]]}})

        assert "Audience Size too Low" == refused.value.body()["error"]["error_user_title"]

    def test_html_is_a_success_to_the_sdk(self, emulator: EmulatorProcess, audience: CustomAudience) -> None:
        """Known trap: the SDK takes an HTML page with HTTP 503 for a success, which is why the product has a client."""
        answer = {"status": 503, "body": "<html>We are sorry</html>"}
        emulator.ask("POST", "/faults", {"match": {"path": "/users"}, "answer": answer})
        heard = audience.add_users(["EMAIL"], [[hashed(1)]], is_raw=True, pre_hashed=True)

        assert (503, True) == (heard.status(), heard.is_success())
        assert 0 == emulator.count(audience.get_id())


def status_codes(error: FacebookRequestError) -> tuple[int, int, int | None]:
    """HTTP status, code and subcode as the SDK read them."""
    return error.http_status(), error.api_error_code(), error.api_error_subcode()
